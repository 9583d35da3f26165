"""The relevant pixels of the rollout's images, for terms that train with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from camal_rl.agents.consistency import check_images
from camal_rl.agents.label_maps import SEGMENTATION_NEEDED, current_label_maps, masks_of, observed_size
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.rollout_buffer import CamalRolloutSamples
from camal_rl.agents.terms import AuxiliaryTerm
from camal_rl.envs.segmentation import SegmentedVecEnv


class RelevantPixelsTerm(AuxiliaryTerm):
    """A term that needs to know which pixels are relevant. A derived class defines what every term does, and ``does``.

    Attributes:
        does: beginning of a message for observations that are not images: what the term does to images.
    """

    does: ClassVar[str]
    _policy: ActorCriticPolicy | None = None

    @property
    def column(self) -> str:
        """The name of the pixels' column: ``uint8 (B, ceil(H W / 8))``, eight pixels in a byte."""
        return f"{self.name}_relevant"

    @property
    def policy(self) -> CamPolicy:
        """The policy that is trained; a RuntimeError before :meth:`setup`."""
        if self._policy is None:
            raise RuntimeError("call setup() first")
        return cast(CamPolicy, self._policy)

    def setup(self, policy: ActorCriticPolicy, env: VecEnv | None) -> None:
        """Check that observations are images and that the environment has masks."""
        check_images(policy, self.name, self.does)
        self._policy = policy
        if env is not None:
            self._segmented(env)

    def rollout_columns(self, env: VecEnv) -> Mapping[str, npt.NDArray[np.uint8]]:
        """Return which pixels of the current observations are relevant, eight in a byte."""
        segmented = self._segmented(env)
        relevant = segmented.spec.relevant_lookup()[current_label_maps(segmented, self.policy)]
        return {self.column: np.packbits(relevant.reshape(len(relevant), -1), axis=1)}

    def relevant_pixels(self, samples: CamalRolloutSamples) -> Tensor:
        """Return which pixels of some samples are relevant, ``bool (B, H, W)``."""
        return unpacked(samples.columns[self.column], observed_size(self.policy))

    def _segmented(self, env: VecEnv) -> SegmentedVecEnv:
        """Return the environment that gives masks, or raise a ValueError."""
        segmented = masks_of(env)
        if segmented is None:
            raise ValueError(f"{self.name} needs {SEGMENTATION_NEEDED}")
        return segmented


def unpacked(packed: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the masks ``bool (B, H, W)`` that ``np.packbits`` packed into ``uint8 (B, ceil(H W / 8))``."""
    height, width = size
    bits = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
    return ((packed[:, :, None] >> bits) & 1).bool().flatten(1)[:, : height * width].view(-1, height, width)
