"""Outputs of a policy for images: values, a score for each action, and attention maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from camal_rl.agents import AttentivePolicy, CamalConfig
from camal_rl.agents.action_evaluation import QEvaluation
from camal_rl.agents.config import AttentionTarget
from camal_rl.agents.heads import gaussian_outputs, has_discrete_actions, has_gaussian_actions, heads
from camal_rl.attention import normalize_cam
from camal_rl.training_modes import evaluating, recording_gradients

Actions = npt.NDArray[Any]
"""``int64 (N,)`` where actions are discrete, ``float32 (N, A)`` where they are continuous."""
CHUNK_SIZE = 64
"""Number of images per forward pass, which bounds the memory of an evaluation."""
_OUTPUTS_CHUNK = 128


def attention_maps(
    policy: AttentivePolicy, images: npt.NDArray[np.uint8], camal: CamalConfig | None = None
) -> dict[AttentionTarget, Tensor]:
    """Return the attention maps of images ``uint8 (N, H, W, C)`` by target: ``(N, h, w)`` in [0, 1] on the CPU.

    ``camal`` defines the maps (method, rectification), independent of the policy's training; by default they are the
    policy's own.
    """
    method, rectification = _asked(policy, camal)
    parts: dict[AttentionTarget, list[Tensor]] = {}
    for start in range(0, len(images), CHUNK_SIZE):
        batch = images[start : start + CHUNK_SIZE]
        attention = policy.attention(batch, None, method, rectification, policy.attention_targets)
        for name, maps in attention.items():
            parts.setdefault(name, []).append(maps.float().cpu())
    return {name: torch.cat(maps) for name, maps in parts.items()}


def _asked(policy: AttentivePolicy, camal: CamalConfig | None) -> tuple[Any, Any]:
    """Return method and rectifications of the requested maps, ``None`` for the policy's own."""
    if camal is None:
        return None, None
    return camal.method, camal.for_targets(policy.attention_targets).rectification


def head_output(policy: AttentivePolicy, target: AttentionTarget) -> Callable[[Tensor], Tensor]:
    """Return the function from images ``(n, C, H, W)`` to a head's outputs, ``(n, K)`` on the CPU.

    The outputs are the value ``(n, 1)``, the probabilities of the actions ``(n, A)``, their Q-values ``(n, A)``, or the
    means and then the standard deviations of a Gaussian ``(n, 2 A)``.
    """
    output = heads(policy)[target].output
    return lambda images: output(images.to(policy.device)).cpu()


@dataclass(frozen=True)
class PolicyOutputs:
    """Outputs of a policy for N images; entry ``i`` of every field belongs to image ``i``.

    Attributes:
        values: ``float32 (N,)``, V(s); for a Q-network the largest Q-value.
        probabilities: ``float32 (N, A)``, pi(a|s); ``None`` for a Q-network and for continuous actions.
        actions: ``int64 (N,)``, the actions that the maps of ``policy`` and ``q`` explain; ``float32 (N, A)`` if they
            are continuous.
        maps: ``float32 (N, h, w)`` in [0, 1] for each attention target.
        q_values: ``float32 (N, A)``, Q(s, a) of a Q-network.
        gaussians: ``float32 (N, 2 A)``, means and then standard deviations of continuous actions, before any squashing.
    """

    values: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32] | None
    actions: Actions
    maps: Mapping[AttentionTarget, npt.NDArray[np.float32]]
    q_values: npt.NDArray[np.float32] | None = None
    gaussians: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.values)

    def at(self, indices: npt.NDArray[np.int64]) -> PolicyOutputs:
        """Return the answers to some of the images."""

        def some(each: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32] | None:
            return None if each is None else each[indices]

        return PolicyOutputs(
            self.values[indices],
            some(self.probabilities),
            self.actions[indices],
            {name: each[indices] for name, each in self.maps.items()},
            some(self.q_values),
            some(self.gaussians),
        )

    @property
    def action_scores(self) -> npt.NDArray[np.float32]:
        """Scores ``(N, A)`` of the actions: their probabilities or Q-values; for continuous actions, their means."""
        if self.gaussians is not None:
            return self.gaussians[:, : self.gaussians.shape[1] // 2]
        scores = self.q_values if self.probabilities is None else self.probabilities
        assert scores is not None
        return scores

    @property
    def score_name(self) -> str:
        """Name of the score: ``p``, ``Q`` or ``mean``."""
        if self.gaussians is not None:
            return "mean"
        return "Q" if self.probabilities is None else "p"

    @property
    def action_probabilities(self) -> npt.NDArray[np.float32]:
        """The probability ``(N,)`` of each of ``actions``, for a policy with probabilities."""
        assert self.probabilities is not None
        return self.chosen_scores

    @property
    def chosen_scores(self) -> npt.NDArray[np.float32]:
        """The score ``(N,)`` of each of ``actions``, which must be discrete."""
        return self.action_scores[np.arange(len(self)), self.actions]


def policy_outputs(
    policy: AttentivePolicy,
    images: npt.NDArray[np.uint8],
    camal: CamalConfig | None = None,
    actions: Actions | None = None,
) -> PolicyOutputs:
    """Return values, action scores and attention maps of images, all from one forward pass.

    Args:
        policy: a policy with discrete or continuous actions.
        images: ``uint8 (N, H, W, C)``, N at least 1.
        camal: defines the maps (method, rectification); by default the policy's own.
        actions: ``(N,)`` or ``(N, A)``, the actions that the maps explain; by default the preferred actions.

    Raises:
        ValueError: there are no images, the number of actions differs, or actions are neither discrete nor continuous.
    """
    if not (has_discrete_actions(policy) or has_gaussian_actions(policy)):
        raise ValueError(f"decisions are shown only for discrete and continuous actions, got {policy.action_space}")
    if len(images) == 0:
        raise ValueError("give at least one image")
    if actions is not None and len(actions) != len(images):
        raise ValueError(f"expected one action for each of {len(images)} images, got {len(actions)}")
    with evaluating(policy):
        parts = [
            _chunk(policy, images[start : start + _OUTPUTS_CHUNK], camal, _part(actions, start))
            for start in range(0, len(images), _OUTPUTS_CHUNK)
        ]
    return PolicyOutputs(
        np.concatenate([part.values for part in parts]),
        _joined([part.probabilities for part in parts]),
        np.concatenate([part.actions for part in parts]),
        {name: np.concatenate([part.maps[name] for part in parts]) for name in parts[0].maps},
        _joined([part.q_values for part in parts]),
        _joined([part.gaussians for part in parts]),
    )


def _joined(parts: Sequence[npt.NDArray[np.float32] | None]) -> npt.NDArray[np.float32] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None


def _part(actions: Actions | None, start: int) -> Actions | None:
    return None if actions is None else actions[start : start + _OUTPUTS_CHUNK]


def _chunk(
    policy: AttentivePolicy,
    images: npt.NDArray[np.uint8],
    camal: CamalConfig | None,
    actions: Actions | None,
) -> PolicyOutputs:
    observations = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(policy.device)
    explained = None if actions is None else torch.from_numpy(actions).to(policy.device)
    method, rectification = _asked(policy, camal)
    with recording_gradients():
        evaluation = policy.evaluate_for_attention(observations, explained)
        cams = policy.attention_maps(evaluation, policy.attention_targets, method, rectification)
    maps = {name: _array(normalize_cam(cam.detach())) for name, cam in cams.items()}
    given = evaluation.actions.detach().cpu()
    if has_gaussian_actions(policy):
        gaussians = _array(gaussian_outputs(evaluation.distribution.distribution))
        return PolicyOutputs(_array(evaluation.value), None, _array(given), maps, gaussians=gaussians)
    chosen = given.long().numpy()
    if isinstance(evaluation, QEvaluation):
        q_values = _array(evaluation.q_values)
        return PolicyOutputs(q_values.max(axis=1), None, chosen, maps, q_values)
    probabilities = _array(evaluation.distribution.distribution.probs)
    return PolicyOutputs(_array(evaluation.value), probabilities, chosen, maps)


def _array(values: Tensor) -> npt.NDArray[np.float32]:
    return values.detach().float().cpu().numpy()
