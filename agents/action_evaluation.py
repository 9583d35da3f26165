"""Evaluations of a minibatch for the algorithm and for attention maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stable_baselines3.common.distributions import Distribution
from torch import Tensor

from camal_rl.agents.config import AttentionTarget
from camal_rl.agents.encoded_images import EncodedImages
from camal_rl.agents.policy_score import policy_score


class AttentionEvaluation:
    """The parts of a policy's evaluation that attention maps need.

    Attributes:
        actions: the actions that the maps explain, ``(B,)`` or in the format of the policy's distribution.
        encoded: the encoded images of each attention target (the same object if the encoder is shared).
        num_attention_frames: number of first images with maps; ``None`` means all, 0 none.
    """

    actions: Tensor
    encoded: Mapping[AttentionTarget, EncodedImages]
    num_attention_frames: int | None

    def cam_features(self, target: AttentionTarget) -> Tensor:
        """Return the CAM layer's output of a target, ``(n, C, h, w)`` with n at least ``num_attention_frames``."""
        features = self.encoded[target].cam_features
        if features is None:
            raise ValueError("this evaluation has no maps (num_attention_frames=0); evaluate with a larger number")
        return features

    @property
    def attention_frames(self) -> slice:
        """The images that have maps."""
        return slice(self.num_attention_frames)

    def mapped_features(self, target: AttentionTarget) -> Tensor:
        """Return the CAM layer's output for only the images that have maps."""
        features = self.cam_features(target)
        # The gradient of a slice has the size of the whole tensor, so a slice of everything is avoided.
        return features if self.num_attention_frames in (None, len(features)) else features[self.attention_frames]

    def score(self, target: AttentionTarget) -> Tensor:
        """Return the score ``(B,)`` that the maps of a target explain."""
        raise NotImplementedError


@dataclass(frozen=True)
class ActionEvaluation(AttentionEvaluation):
    """A minibatch's evaluation for PPO and attention maps.

    ``value`` and ``log_prob`` are ``(B,)``; ``entropy`` is ``(B,)``, or ``None`` without a closed form. The rest is
    as in :class:`AttentionEvaluation`.
    """

    actions: Tensor
    value: Tensor
    log_prob: Tensor
    entropy: Tensor | None
    distribution: Distribution
    encoded: Mapping[AttentionTarget, EncodedImages]
    num_attention_frames: int | None = None

    def score(self, target: AttentionTarget) -> Tensor:
        """Return the score ``(B,)`` that the maps of a target explain: ``V(s)``, or the policy's score."""
        return self.value if target == "value" else policy_score(self.distribution, self.log_prob)


@dataclass(frozen=True)
class QEvaluation(AttentionEvaluation):
    """A minibatch's Q-values ``(B, A)``, with everything for attention maps.

    ``actions`` are the actions ``int64 (B,)`` whose Q-values the maps explain. The rest is as in
    :class:`AttentionEvaluation`.
    """

    q_values: Tensor
    actions: Tensor
    encoded: Mapping[AttentionTarget, EncodedImages]
    num_attention_frames: int | None = None

    def score(self, target: AttentionTarget) -> Tensor:
        """Return ``Q(s, a)`` of ``actions``, ``(B,)``."""
        return self.q_values.gather(1, self.actions[:, None]).squeeze(1)
