"""What people call the actions of an environment."""

from __future__ import annotations

from gymnasium import spaces

from camal_rl.envs import SegmentedVecEnv


def action_names(env: SegmentedVecEnv) -> tuple[str, ...]:
    """Return one name for each action: the environment's own, or ``action 0``, ``action 1``, ... where it has none.

    Raises:
        ValueError: the actions are not discrete.
    """
    space = env.action_space
    if not isinstance(space, spaces.Discrete):
        raise ValueError(f"actions can be named only where they are discrete, got {space}")
    return env.action_names or tuple(f"action {index}" for index in range(int(space.n)))
