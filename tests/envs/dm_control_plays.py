"""Environments of dm_control for tests."""

import numpy as np

from camal_rl.envs.counterfactual import IDENTITY
from camal_rl.envs.dm_control.env import DmControlEnv
from camal_rl.envs.dm_control.options import parse_options


def single(name, **options):
    return DmControlEnv(parse_options(name, {"frame_stack": 1, "size": 64, **options}))


def started(name, level=3, **options):
    """Return an environment some steps into a level, its picture and its label map."""
    env = single(name, **options)
    env.reset(seed=level)
    env.action_space.seed(level)
    for _ in range(5):
        image, *_, info = env.step(env.action_space.sample())
    return env, image, info["segmentation"]


def check_identity(env):
    current, redrawn = env.redraw(IDENTITY)
    np.testing.assert_array_equal(current, redrawn)
