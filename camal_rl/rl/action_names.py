"""Names of an environment's actions."""

from __future__ import annotations

from camal_rl.envs import SegmentedVecEnv
from camal_rl.envs.env_attributes import number_of_actions


def action_names(env: SegmentedVecEnv) -> tuple[str, ...]:
    """Return one name for each action: the environment's own, or ``action 0``, ``action 1``, ... if it has none.

    Where actions are continuous, there is one for each of their numbers.

    Raises:
        ValueError: the actions are neither discrete nor rows of numbers.
    """
    count = number_of_actions(env.action_space)
    if count is None:
        raise ValueError(f"only discrete and continuous actions have names, got {env.action_space}")
    return env.action_names or tuple(f"action {index}" for index in range(count))
