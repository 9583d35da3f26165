"""A segmented environment whose frames and masks say which step they belong to."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from camal_rl.agents import CAMALPPO
from camal_rl.envs import SegmentationSpec, SegmentedVecEnv


class CountingEnv(SegmentedVecEnv):
    """Frame ``t`` is filled with ``t``; its only relevant pixel walks along the first row, one column a step.

    Episodes end every ``episode_length`` steps; the counter goes on, so every frame of a run is different.
    """

    spec = SegmentationSpec(("background", "dot"), ("dot",))

    def __init__(self, num_envs: int = 2, size: int = 16, episode_length: int = 3) -> None:
        self.size, self.episode_length = size, episode_length
        self.count = 0
        super().__init__(num_envs, spaces.Box(0, 255, (size, size, 3), np.uint8), spaces.Discrete(3))

    def _frames(self) -> np.ndarray:
        return np.full((self.num_envs, self.size, self.size, 3), self.count, dtype=np.uint8)

    def reset(self) -> np.ndarray:
        return self._frames()

    def step_async(self, actions: np.ndarray) -> None:
        self.count += 1

    def step_wait(self):
        done = np.full(self.num_envs, self.count % self.episode_length == 0)
        return self._frames(), np.ones(self.num_envs, np.float32), done, [{} for _ in range(self.num_envs)]

    def segmentation(self) -> np.ndarray:
        labels = np.zeros((self.num_envs, self.size, self.size), np.uint8)
        labels[:, 0, self.count % self.size] = 1
        return labels

    def close(self) -> None: ...

    def get_attr(self, attr_name, indices=None):
        return [None if attr_name == "render_mode" else getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name, value, indices=None) -> None:
        setattr(self, attr_name, value)

    def env_method(self, method_name, *args, indices=None, **kwargs):
        return [None] * self.num_envs

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False] * self.num_envs


class WrongShapeEnv(CountingEnv):
    """The same, with masks of the wrong shape."""

    def segmentation(self) -> np.ndarray:
        return np.zeros((self.num_envs, self.size // 2, self.size), np.uint8)


def unsegmented_env() -> VecEnv:
    """Return an image environment that knows no segmentation."""
    return DummyVecEnv([lambda: FakeImageEnv(screen_height=16, screen_width=16, n_channels=3, discrete=True)])


SMALL_RUN = {
    **{"n_steps": 8, "batch_size": 8, "n_epochs": 2, "seed": 3, "learning_rate": 1e-2, "device": "cpu"},
    "policy_kwargs": {"encoder": "compact"},
}


def trained_with(term, steps=16, algorithm=CAMALPPO, policy="CamPolicy", env=None, **kwargs):
    """Return an agent trained with one term and without CAMAL; another algorithm gets no terms."""
    if algorithm is CAMALPPO:
        kwargs = {"camal": {"weight": 0}, "terms": [term], **kwargs}
    return algorithm(policy, env or CountingEnv(), **{**SMALL_RUN, **kwargs}).learn(steps)
