"""Background mixing: policy and value should not change when irrelevant pixels come from another frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.consistency import check_images, consistency_loss
from camal_rl.agents.label_maps import observed_size
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.relevant_pixels import packed_relevant, segmented_env, unpacked
from camal_rl.agents.rollout_buffer import CamalRolloutSamples
from camal_rl.agents.term_settings import check_choice, check_share, check_weight
from camal_rl.agents.terms import AuxiliaryTerm, TermLoss

Placement = Literal["surroundings", "random"]

RELEVANT_PIXELS = "background_mix_relevant"
"""The column of the relevant pixels, eight in a byte: ``uint8 (num_envs, ceil(H W / 8))``."""


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


class BackgroundMixTerm(AuxiliaryTerm):
    """``KL(pi(.|s) || pi(.|m(s))) + (V(s) - V(m(s)))^2``, means over the frames that are mixed.

    ``m(s)`` shows another frame of the minibatch where both frames are irrelevant. ``pi(.|s)`` and ``V(s)`` are
    constants: gradients flow through the mixed frames only.
    """

    name: ClassVar[str] = "background_mix"
    config_type: ClassVar[type[Any]] = BackgroundMixConfig
    config: BackgroundMixConfig

    def __init__(self, config: BackgroundMixConfig | None = None, seed: int = 0) -> None:
        super().__init__(BackgroundMixConfig() if config is None else config, seed)
        self._generator = torch.Generator().manual_seed(seed)
        self._policy: ActorCriticPolicy | None = None

    def setup(self, policy: ActorCriticPolicy, env: VecEnv | None) -> None:
        """Check that observations are images and that the environment has masks."""
        check_images(policy, self.name, "background_mix mixes")
        self._policy = policy
        if env is not None:
            segmented_env(env, self.name)

    def rollout_columns(self, env: VecEnv) -> Mapping[str, npt.NDArray[np.uint8]]:
        """Return which pixels of the current observations are relevant, eight in a byte."""
        return {RELEVANT_PIXELS: packed_relevant(segmented_env(env, self.name), self._own_policy())}

    def loss(self, minibatch: CamalRolloutSamples, evaluation: ActionEvaluation, progress: float) -> TermLoss:
        """Return the disagreement between the minibatch's first frames and their mixed copies."""
        policy = self._own_policy()
        frames = minibatch.observations
        relevant = unpacked(minibatch.columns[RELEVANT_PIXELS], observed_size(policy))
        count = max(1, round(self.config.fraction * len(frames)))
        partners = other_rows(count, len(frames), self._generator).to(frames.device)
        places = ~(relevant[:count] | relevant[partners])
        if self.config.placement == "random":
            places = shifted(places, self._generator)
        found = consistency_loss(policy, minibatch, evaluation, mixed(frames[:count], frames[partners], places))
        return TermLoss(found.total, {**found.parts, "mixed_fraction": places.float().mean()})

    def _own_policy(self) -> CamPolicy:
        if self._policy is None:
            raise RuntimeError("call setup() first")
        return cast(CamPolicy, self._policy)


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
