"""Reads attributes of the environments inside a vectorized one, through all of their wrappers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.envs.segmentation import ImageStack


def action_names(venv: VecEnv) -> tuple[str, ...] | None:
    """Return one name for each action, or for each component of a continuous action; ``None`` if there are none.

    The result is also ``None`` if the number of names is wrong, because wrappers can change the actions.
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
    """Return the number of actions, or of components of a continuous action; ``None`` for other spaces."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    return space.shape[0] if isinstance(space, spaces.Box) and len(space.shape) == 1 else None


def image_stack(venv: VecEnv) -> ImageStack:
    """Return the frame stack of the observations; only ``SegmentedFrameStack`` reports one."""
    found = venv.get_attr("image_stack", indices=0)[0] if venv.has_attr("image_stack") else None
    return found if isinstance(found, ImageStack) else ImageStack()
