"""What the environments inside a vectorized one say of themselves, through all of their wrappers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.envs.segmentation import ImageStack


def action_names(venv: VecEnv) -> tuple[str, ...] | None:
    """Return one name for each action, if the environments have as many: wrappers can change the actions.

    Where actions are continuous, there is one for each of their numbers.
    """
    count = number_of_actions(venv.action_space)
    if count is None:
        return None
    if venv.has_attr("action_names"):
        names = venv.get_attr("action_names", indices=0)[0]
    elif venv.has_attr("get_action_meanings"):
        names = venv.env_method("get_action_meanings", indices=0)[0]
    else:
        return None
    given = isinstance(names, Sequence) and not isinstance(names, str) and len(names) == count
    return tuple(str(name) for name in names) if given else None


def number_of_actions(space: spaces.Space[Any]) -> int | None:
    """Return how many actions there are, or how many numbers a continuous one has; ``None`` for other spaces."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    return space.shape[0] if isinstance(space, spaces.Box) and len(space.shape) == 1 else None


def image_stack(venv: VecEnv) -> ImageStack:
    """Return how many frames an observation shows: those of ``SegmentedFrameStack``, the only one that says so."""
    found = venv.get_attr("image_stack", indices=0)[0] if venv.has_attr("image_stack") else None
    return found if isinstance(found, ImageStack) else ImageStack()
