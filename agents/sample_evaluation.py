"""Evaluates a policy on samples of a rollout."""

from __future__ import annotations

from gymnasium import spaces

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.cam_encoder import CamEncoder
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.rollout_buffer import CamalRolloutSamples


def evaluate_samples(
    policy: CamPolicy, samples: CamalRolloutSamples, num_attention_frames: int | None = None
) -> ActionEvaluation:
    """Evaluate actions in the format of the rollout buffer, where discrete actions are a column.

    Args:
        policy: the policy.
        samples: ``B`` samples.
        num_attention_frames: number of first samples for which maps can be computed; ``None`` means all.
    """
    observations, actions = samples.observations, samples.actions
    if isinstance(policy.action_space, spaces.Discrete):
        actions = actions.long().flatten()
    if not isinstance(policy.features_extractor, CamEncoder):
        observations = observations.contiguous()  # as in SB3; a CamEncoder converts them itself
    return policy.evaluate_for_attention(observations, actions, num_attention_frames)
