"""Actions for tests of every family, discrete or continuous."""

import numpy as np
from gymnasium import spaces


def some_action(space, number=0):
    """Return a discrete action by its number, or a continuous one that stands for it."""
    if isinstance(space, spaces.Discrete):
        return number
    return np.full(space.shape, number / 4, dtype=space.dtype)


def drawn_action(space, rng):
    """Return a random action."""
    if isinstance(space, spaces.Discrete):
        return int(rng.integers(space.n))
    return rng.uniform(space.low, space.high).astype(space.dtype)


def drawn_actions(space, num_envs, rng):
    """Return a random action for each of several environments."""
    if isinstance(space, spaces.Discrete):
        return rng.integers(space.n, size=num_envs)
    return np.stack([drawn_action(space, rng) for _ in range(num_envs)])
