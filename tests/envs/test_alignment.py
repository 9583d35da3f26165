"""Every family: masks belong to the observations, across resets, frame skips and stacks, in one process or many.

The oracle is a second copy of the environment, stepped by hand, whose frames and label maps are skipped, pooled and
stacked in plain NumPy. That the label maps of single frames lie on the objects is tested for each family by itself.
"""

import importlib.util
import os
from functools import partial

import gymnasium
import numpy as np
import pytest

from camal_rl.envs import make_segmented_vec
from camal_rl.envs.procgen.libraries import MODULE
from camal_rl.envs.wrappers import SegmentedFrameSkip, SegmentedFrameStack
from tests.envs.actions import drawn_actions
from tests.envs.gl import why_not

FAMILIES = {
    "toy_grid": ("numpy", "camal_rl/toy_grid-default-v0", {}),
    "procgen": (MODULE, "camal_rl/procgen-bigfish-v0", {"num_levels": 50}),
    "minigrid": ("minigrid", "camal_rl/minigrid-LavaGapS6-v0", {"view": "full"}),
    "vizdoom": ("vizdoom", "camal_rl/vizdoom-Basic-v0", {}),
    "crafter": ("crafter", "camal_rl/crafter-Reward-v0", {"num_levels": 5, "daylight": "night"}),
    "atari": ("ale_py", "camal_rl/atari-Pong-v0", {"frame_skip": 1, "frame_stack": 1, "noop_max": 5}),
    "dm_control": ("dm_control", "camal_rl/dm_control-reacher-easy-v0", {"size": 48, "frame_stack": 1}),
}
SKIP, STACK, LIMIT, STEPS, SEED = 3, 2, 9, 30, 11


def make(name, **options):
    """Return one environment; the import registers the ids, in a worker process too."""
    importlib.import_module("camal_rl.envs")
    return gymnasium.make(name, **options)


def make_wrapped(name, options):
    env = SegmentedFrameSkip(make(name, **options), skip=SKIP, pool=2)
    return gymnasium.wrappers.TimeLimit(SegmentedFrameStack(env, STACK, labels="union"), LIMIT)


class ByHand:
    """The same environment and wrappers, written out."""

    def __init__(self, name, options, seed):
        self.env = make(name, **options)
        self.start(seed)

    def start(self, seed=None):
        frame, info = self.env.reset(seed=seed)
        self.steps = 0
        self.frames, self.labels = [frame.copy()] * STACK, [info["segmentation"].copy()]

    def step(self, action):
        """Step, and start the next episode where one ends; return whether one ended."""
        raw = []
        for _ in range(SKIP):
            frame, _, terminated, truncated, info = self.env.step(action)
            raw.append((frame.copy(), info["segmentation"].copy()))
            if terminated or truncated:
                break
        self.steps += 1
        if terminated or truncated or self.steps == LIMIT:
            self.start()
            return True
        (before, labels_before), (last, labels_last) = raw[-2:]
        self.frames = [*self.frames[1:], np.maximum(before, last)]
        self.labels = [*self.labels, np.where(labels_last > 0, labels_last, labels_before)][-STACK:]
        return False

    def shown(self):
        labels = np.zeros_like(self.labels[0])
        for each in self.labels:
            labels[each > 0] = each[each > 0]
        return np.concatenate(self.frames, axis=-1), labels


@pytest.mark.parametrize(("subproc", "num_envs"), [(False, 2), (True, 1)], ids=["dummy", "subproc"])
@pytest.mark.parametrize("family", FAMILIES)
def test_masks_belong_to_the_observations(family, subproc, num_envs):
    module, name, options = FAMILIES[family]
    if importlib.util.find_spec(module) is None and "CI" not in os.environ:
        pytest.skip(f"{module} is not installed")
    if family == "dm_control" and why_not():
        pytest.skip(why_not())
    venv = make_segmented_vec(partial(make_wrapped, name, options), num_envs, seed=SEED, subproc=subproc)
    by_hand = [ByHand(name, options, SEED + index) for index in range(num_envs)]
    observations, rng, ends, shown = venv.reset(), np.random.default_rng(0), 0, 0
    for step in range(STEPS + 1):
        expected = [each.shown() for each in by_hand]
        np.testing.assert_array_equal(observations, [frames for frames, _ in expected])
        np.testing.assert_array_equal(venv.segmentation(), [labels for _, labels in expected])
        shown += np.any(venv.segmentation() > 0)
        if step == STEPS:
            break
        actions = drawn_actions(venv.action_space, num_envs, rng)
        observations, _, dones, _ = venv.step(actions)
        assert [each.step(action) for each, action in zip(by_hand, actions, strict=True)] == dones.tolist()
        ends += dones.sum()
    venv.close()
    assert ends >= 3 * num_envs, "the test has to see automatic resets"
    assert shown > STEPS / 2
