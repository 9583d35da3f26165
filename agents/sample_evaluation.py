"""Evaluates a policy on samples of a rollout."""

from __future__ import annotations

import torch
from gymnasium import spaces
from torch import Tensor

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.cam_encoder import CamEncoder
from camal_rl.agents.config import AttentionTarget
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


def image_gradients(
    policy: CamPolicy, samples: CamalRolloutSamples, create_graph: bool = False
) -> tuple[ActionEvaluation, dict[AttentionTarget, Tensor]]:
    """Evaluate samples, and return each score's gradient with respect to the images; ``.grad`` does not change.

    Args:
        policy: the policy.
        samples: ``B`` samples.
        create_graph: whether the gradients can be differentiated.

    Returns:
        The evaluation, with its graph, and a tensor of the images' shape for each attention target.
    """
    given = samples.observations
    images = (given if given.is_floating_point() else given.float()).detach().requires_grad_()
    evaluation = evaluate_samples(policy, samples._replace(observations=images), 0)
    gradients: dict[AttentionTarget, Tensor] = {}
    for target in policy.attention_targets:
        score = evaluation.score(target).sum()
        (gradients[target],) = torch.autograd.grad(score, images, retain_graph=True, create_graph=create_graph)
    return evaluation, gradients
