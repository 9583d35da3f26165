"""Names of an environment's actions."""

from __future__ import annotations

from gymnasium import spaces

from camal_rl.envs import SegmentedVecEnv


def action_names(env: SegmentedVecEnv) -> tuple[str, ...]:
    """Return one name for each action: the environment's own, or ``action 0``, ``action 1``, ... if it has none.

    Raises:
        ValueError: the actions are not discrete.
    """
    space = env.action_space
    if not isinstance(space, spaces.Discrete):
        raise ValueError(f"only discrete actions have names, got {space}")
    return env.action_names or tuple(f"action {index}" for index in range(int(space.n)))
