"""Frames for measuring attention, taken from the policy's own play by a fixed rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces

from camal_rl.envs import SegmentedVecEnv
from camal_rl.overlays import as_rgb
from camal_rl.rl.evaluate.returns import Actor


@dataclass(frozen=True)
class FrameSet:
    """Frames with their ground truth.

    Attributes:
        images: ``uint8 (N, H, W, C)``, as the policy sees them.
        labels: label maps ``uint8 (N, H, W)``.
        relevant: ``bool (256,)``, which labels are relevant.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    relevant: npt.NDArray[np.bool_]

    @property
    def pictures(self) -> npt.NDArray[np.uint8]:
        """The images as RGB pictures, ``uint8 (N, H, W, 3)``."""
        return as_rgb(self.images)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.images)


def sample_frames(model: Actor, venv: SegmentedVecEnv, frames: int, every: int, seed: int) -> FrameSet:
    """Play with sampled actions and keep the frames of all environments at every ``every``-th step.

    Frames are not selected by content: the rule depends only on its arguments. torch's global generators are restored.

    Args:
        model: acts on the observations.
        venv: environment with masks; it is reset first.
        frames: number of frames, at least 1; surplus frames of the last step are dropped.
        every: steps between frames, at least 1; the first are taken after ``every`` steps.
        seed: seed of the sampled actions.
    """
    images: list[npt.NDArray[np.uint8]] = []
    labels: list[npt.NDArray[np.uint8]] = []

    def keep(observations: npt.NDArray[np.uint8]) -> None:
        images.append(observations.copy())
        labels.append(venv.segmentation())

    visit_frames(model, venv, frames, every, seed, keep)
    return FrameSet(np.concatenate(images)[:frames], np.concatenate(labels)[:frames], venv.spec.relevant_lookup())


def visit_frames(
    model: Actor,
    venv: SegmentedVecEnv,
    frames: int,
    every: int,
    seed: int,
    visit: Callable[[npt.NDArray[np.uint8]], None],
) -> None:
    """Play like :func:`sample_frames` and call ``visit`` at its frames while they are the environment's current ones.

    ``visit`` receives the observations of all environments and may query the environment's current state. It must not
    draw from torch's global generators, which sample the actions.
    """
    if frames < 1 or every < 1:
        raise ValueError(f"frames and every must be at least 1, got {frames} and {every}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        observations = np.asarray(venv.reset())
        for _ in range(-(-frames // venv.num_envs)):
            for _ in range(every):
                actions, _ = model.predict(observations, deterministic=False)
                observations = np.asarray(venv.step(actions)[0])
            visit(observations)


def random_frames(venv: SegmentedVecEnv, steps: int, seed: int) -> FrameSet:
    """Return the frames of all environments after ``steps`` random actions, drawn with ``seed``."""
    observations = venv.reset()
    for actions in random_actions(venv, steps, seed):
        observations = venv.step(actions)[0]
    return FrameSet(np.array(observations), venv.segmentation(), venv.spec.relevant_lookup())


def random_actions(venv: SegmentedVecEnv, steps: int, seed: int) -> Iterator[npt.NDArray[Any]]:
    """Yield ``steps`` arrays ``(num_envs, ...)`` of random actions, uniform if the space is bounded."""
    rng = np.random.default_rng(seed)
    space = venv.action_space
    if isinstance(space, spaces.Discrete):
        for _ in range(steps):
            yield space.start + rng.integers(space.n, size=venv.num_envs)
        return
    # A copy: an agent may draw from the generator of the environment's own.
    drawn = deepcopy(space)
    drawn.seed(seed)
    for _ in range(steps):
        yield np.stack([drawn.sample() for _ in range(venv.num_envs)])
