"""Background mixing: policy and value should not change when irrelevant pixels come from another frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.consistency import consistency_loss
from camal_rl.agents.relevant_pixels import RelevantPixelsTerm
from camal_rl.agents.rollout_buffer import CamalRolloutSamples
from camal_rl.agents.term_settings import check_choice, check_share, check_weight
from camal_rl.agents.terms import TermLoss

Placement = Literal["surroundings", "random"]


@dataclass(frozen=True)
class BackgroundMixConfig:
    """Settings of background mixing.

    Attributes:
        weight: coefficient of the term, at least 0.
        fraction: share in (0, 1] of the randomly drawn frames of each minibatch that are mixed; at least one frame.
        placement: ``surroundings`` mixes the pixels that are irrelevant in both frames; ``random`` is the control: the
            same number of pixels in the same shape at a random place, regardless of content.
    """

    weight: float = 0.5
    fraction: float = 0.25
    placement: Placement = "surroundings"

    def __post_init__(self) -> None:
        """Check every setting; a ValueError or TypeError gives its name, the expected and the given value."""
        check_weight("background_mix.weight", self.weight)
        check_share("background_mix.fraction", self.fraction)
        check_choice("background_mix.placement", self.placement, get_args(Placement))


class BackgroundMixTerm(RelevantPixelsTerm):
    """``KL(pi(.|s) || pi(.|m(s))) + (V(s) - V(m(s)))^2``, means over the frames that are mixed.

    ``m(s)`` shows another frame of the minibatch where both frames are irrelevant. ``pi(.|s)`` and ``V(s)`` are
    constants: gradients flow through the mixed frames only.
    """

    name: ClassVar[str] = "background_mix"
    config_type: ClassVar[type[Any]] = BackgroundMixConfig
    does: ClassVar[str] = "background_mix mixes"
    config: BackgroundMixConfig

    def __init__(self, config: BackgroundMixConfig | None = None, seed: int = 0) -> None:
        super().__init__(BackgroundMixConfig() if config is None else config, seed)
        self._generator = torch.Generator().manual_seed(seed)

    def loss(self, minibatch: CamalRolloutSamples, evaluation: ActionEvaluation, progress: float) -> TermLoss:
        """Return the disagreement between the minibatch's first frames and their mixed copies."""
        frames, relevant = minibatch.observations, self.relevant_pixels(minibatch)
        count = max(1, round(self.config.fraction * len(frames)))
        partners = other_rows(count, len(frames), self._generator).to(frames.device)
        places = ~(relevant[:count] | relevant[partners])
        if self.config.placement == "random":
            places = shifted(places, self._generator)
        found = consistency_loss(self.policy, minibatch, evaluation, mixed(frames[:count], frames[partners], places))
        return TermLoss(found.total, {**found.parts, "mixed_fraction": places.float().mean()})


def other_rows(count: int, total: int, generator: torch.Generator) -> Tensor:
    """Draw another row for each of the first ``count`` of ``total`` rows, ``(count,)``; itself if ``total`` is 1."""
    offsets = torch.randint(1, max(total, 2), (count,), generator=generator)
    return (torch.arange(count) + offsets) % total


def mixed(frames: Tensor, others: Tensor, places: Tensor) -> Tensor:
    """Return frames in which some pixels are replaced by those of other frames.

    Args:
        frames: ``(n, C, H, W)`` or ``(n, H, W, C)``; all frames of a stack are mixed in the same way.
        others: the other frames, with the same shape.
        places: ``bool (n, H, W)``, the pixels to replace.
    """
    channels_first = frames.shape[-2:] == places.shape[-2:]
    return torch.where(places[:, None] if channels_first else places[..., None], others, frames)


def shifted(places: Tensor, generator: torch.Generator) -> Tensor:
    """Return masks ``bool (n, H, W)``, each shifted cyclically by a random number of rows and columns.

    As many pixels are set as before, in the same shape, whatever the frames show there.
    """
    count, height, width = places.shape
    rows, columns = (
        ((torch.arange(side) + torch.randint(side, (count, 1), generator=generator)) % side).to(places.device)
        for side in (height, width)
    )
    index = torch.arange(count, device=places.device)[:, None, None]
    return places[index, rows[:, :, None], columns[:, None]]
