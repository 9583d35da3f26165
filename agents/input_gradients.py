"""RRR for PPO: no gradient of value and policy at irrelevant pixels (Ross et al. 2017, arXiv 1703.03717)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.config import AttentionTarget
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.relevant_pixels import RelevantPixelsTerm
from camal_rl.agents.rollout_buffer import CamalRolloutSamples
from camal_rl.agents.sample_evaluation import image_gradients
from camal_rl.agents.term_settings import check_choice, check_share, check_weight
from camal_rl.agents.terms import TermLoss

Penalty = Literal["square", "share"]


@dataclass(frozen=True)
class InputGradientsConfig:
    """Settings of RRR at the input.

    Attributes:
        weight: coefficient of the term, at least 0.
        penalty: ``square``, the paper's: the sum of the squared gradients at irrelevant pixels; ``share``: that sum
            divided by the sum over all pixels, in [0, 1] whatever the scale of the score.
        fraction: share in (0, 1] of the randomly drawn frames of each minibatch; at least one frame.
    """

    weight: float = 0.1
    penalty: Penalty = "share"
    fraction: float = 0.25

    def __post_init__(self) -> None:
        """Check every setting; a ValueError or TypeError gives its name, the expected and the given value."""
        check_weight("input_gradients.weight", self.weight)
        check_choice("input_gradients.penalty", self.penalty, get_args(Penalty))
        check_share("input_gradients.fraction", self.fraction)


class InputGradientsTerm(RelevantPixelsTerm):
    """``sum over scores of sum of (1 - t) g^2``, means over frames: g is the score's gradient, t 1 where relevant.

    Scores are ``V(s)`` and the policy's score of the action taken (:func:`camal_rl.agents.policy_score.policy_score`).
    Gradients are those with respect to images in [0, 1]. Unlike the loss ``rrr`` of attention maps, which shows the
    last layer's cells, it looks at pixels, through all layers.
    """

    name: ClassVar[str] = "input_gradients"
    config_type: ClassVar[type[Any]] = InputGradientsConfig
    does: ClassVar[str] = "input_gradients needs gradients at the pixels of"
    config: InputGradientsConfig

    def __init__(self, config: InputGradientsConfig | None = None, seed: int = 0) -> None:
        super().__init__(InputGradientsConfig() if config is None else config, seed)

    def loss(self, minibatch: CamalRolloutSamples, evaluation: ActionEvaluation, progress: float) -> TermLoss:
        """Return the gradients' energy at irrelevant pixels, on the minibatch's first frames."""
        chosen = minibatch.first(math.ceil(self.config.fraction * len(minibatch.observations)))
        relevant = self.relevant_pixels(chosen)
        parts: dict[str, Tensor] = {}
        for target, gradient in input_gradients(self.policy, chosen).items():
            energy = pixel_energy(gradient, relevant.shape[-2:])
            outside = (energy * ~relevant).sum(dim=(1, 2))
            if self.config.penalty == "share":
                whole = energy.sum(dim=(1, 2))
                outside = outside / whole.masked_fill(whole == 0, 1)
            parts[target] = outside.mean()
        total = torch.stack([*parts.values()]).sum()
        return TermLoss(total, {name: part.detach() for name, part in parts.items()})


def input_gradients(policy: CamPolicy, samples: CamalRolloutSamples) -> dict[AttentionTarget, Tensor]:
    """Return each score's gradient with respect to the images in [0, 1], with a graph.

    Args:
        policy: the policy.
        samples: ``B`` samples; ``uint8`` images count as their 255th part.

    Returns:
        ``(B, C, H, W)`` or ``(B, H, W, C)`` for each attention target.
    """
    _, gradients = image_gradients(policy, samples, create_graph=True)
    scale = 1.0 if samples.observations.is_floating_point() else 255.0
    return {target: scale * gradient for target, gradient in gradients.items()}


def pixel_energy(gradient: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return the sum ``(B, H, W)`` of the squared gradients of a pixel's channels.

    Args:
        gradient: ``(B, C, H, W)`` or ``(B, H, W, C)``.
        size: height and width.
    """
    channels = 1 if gradient.shape[-2:] == size else -1
    return gradient.square().sum(dim=channels)
