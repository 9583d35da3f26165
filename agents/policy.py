"""The actor-critic policy with attention maps of value and policy."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import ClassVar, cast

from stable_baselines3.common.distributions import CategoricalDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.attentive_policy import AttentivePolicy
from camal_rl.agents.config import ACTOR_CRITIC_TARGETS, AttentionTarget
from camal_rl.agents.encoded_images import EncodedImages
from camal_rl.closed_form import log_prob_score_gradient, value_score_gradient


class CamPolicy(AttentivePolicy, ActorCriticCnnPolicy):
    """SB3's CNN policy with class activation maps of its value and its policy.

    It keeps the behavior of ``ActorCriticCnnPolicy``: with ``encoder="nature"`` the parameters, their names and their
    initial values are those of ``CnnPolicy``. The heads are linear unless ``net_arch`` is given. Policy maps have
    a closed form for ``Discrete`` actions. The score of a map is ``V(s)`` for ``value`` and
    :func:`camal_rl.agents.policy_score.policy_score` for ``policy``.

    The arguments are those of :class:`camal_rl.agents.attentive_policy.AttentivePolicy`, and further ones of
    ``ActorCriticCnnPolicy``.
    """

    attention_targets: ClassVar[tuple[AttentionTarget, ...]] = ACTOR_CRITIC_TARGETS

    def _extractors(self) -> dict[AttentionTarget, BaseFeaturesExtractor]:
        if self.share_features_extractor:
            return dict.fromkeys(ACTOR_CRITIC_TARGETS, self.features_extractor)
        return {"value": self.vf_features_extractor, "policy": self.pi_features_extractor}

    @property
    def _is_shipped(self) -> bool:
        return type(self) is CamPolicy

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return actions, values ``(B, 1)`` and log-probabilities ``(B,)`` for uint8 images, like SB3's policy."""
        distribution, values = self._heads(self._encode_all(obs, frames=0))
        actions = distribution.get_actions(deterministic=deterministic)
        log_prob = distribution.log_prob(actions)
        return actions.reshape((-1, *cast(tuple[int, ...], self.action_space.shape))), values, log_prob

    def _heads(self, encoded: Mapping[AttentionTarget, EncodedImages]) -> tuple[Distribution, Tensor]:
        """Return the distribution of actions and the values ``(B, 1)``."""
        latent_pi = self.mlp_extractor.forward_actor(encoded["policy"].features)
        latent_vf = self.mlp_extractor.forward_critic(encoded["value"].features)
        return self._get_action_dist_from_latent(latent_pi), self.value_net(latent_vf)

    def evaluate_for_attention(
        self, observations: Tensor, actions: Tensor | None = None, num_attention_frames: int | None = None
    ) -> ActionEvaluation:
        """Evaluate actions like ``evaluate_actions``, and keep everything needed for attention maps.

        The arguments are those of :meth:`camal_rl.agents.attentive_policy.AttentivePolicy.evaluate_for_attention`.
        """
        encoded = self._encode_all(observations, num_attention_frames)
        distribution, values = self._heads(encoded)
        chosen = distribution.get_actions(deterministic=True) if actions is None else actions
        log_prob = distribution.log_prob(chosen)
        entropy = distribution.entropy()
        # The policy has only one distribution object, which the next observations modify.
        own = copy.copy(distribution)
        return ActionEvaluation(chosen, values.flatten(), log_prob, entropy, own, encoded, num_attention_frames)

    def _has_linear_head(self, target: AttentionTarget) -> bool:
        if target == "value":
            return len(self.mlp_extractor.value_net) == 0 and type(self.value_net) is nn.Linear
        linear = len(self.mlp_extractor.policy_net) == 0 and type(self.action_net) is nn.Linear
        return linear and type(self.action_dist) is CategoricalDistribution

    def _score_gradient(self, target: AttentionTarget, evaluation: ActionEvaluation) -> Tensor:
        if target == "value":
            return value_score_gradient(self.value_net.weight)
        probabilities = cast(CategoricalDistribution, evaluation.distribution).distribution.probs
        head, some = cast(nn.Linear, self.action_net), evaluation.attention_frames
        return log_prob_score_gradient(head.weight, probabilities[some], evaluation.actions[some].long())
