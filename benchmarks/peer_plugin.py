"""A pytest plugin that replaces PPO by CAMALPPO before Stable-Baselines3's tests import it.

``peer_suites.py`` loads this plugin. The variable ``PEER_WEIGHT`` is ``stock`` (PPO stays), ``0``, or a weight above 0.
With such a weight every ``CnnPolicy`` becomes a ``CamPolicy`` with the encoder ``compact``, and image environments get
masks: the bright pixels of their frames.
"""

from __future__ import annotations

import inspect
import os
from typing import Any

import numpy as np
import pytest
import stable_baselines3
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from camal_rl.agents import CAMALPPO
from camal_rl.envs import LabelMap, SegmentationSpec, SegmentedVecEnv, find_segmented

WEIGHT = os.environ.get("PEER_WEIGHT", "0")
STOCK = stable_baselines3.PPO


class BrightPixels(VecEnvWrapper, SegmentedVecEnv):
    """An image environment whose relevant pixels are the bright ones."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.spec = SegmentationSpec(("background", "bright"), ("bright",))
        self._frames: Any = None

    def reset(self) -> Any:
        """Reset, and keep the frames."""
        self._frames = self.venv.reset()
        return self._frames

    def step_wait(self) -> Any:
        """Step, and keep the frames."""
        step = self.venv.step_wait()
        self._frames = step[0]
        return step

    def segmentation(self) -> LabelMap:
        """Return the label map: 1 in bright pixels, 0 in others."""
        axis = 1 if is_image_space_channels_first(self.observation_space) else -1  # type: ignore[arg-type]
        return (self._frames.mean(axis=axis) > 128).astype(np.uint8)


class InItsPlace(CAMALPPO):
    """CAMALPPO with the arguments that a test gives to PPO."""

    def __init__(self, policy: Any, env: Any, *args: Any, **kwargs: Any) -> None:
        camal = None
        if kwargs.get("_init_setup_model", True):
            attentive = float(WEIGHT) > 0 and policy == "CnnPolicy"
            if attentive:
                policy = "CamPolicy"
                kwargs["policy_kwargs"] = {"encoder": "compact", **(kwargs.get("policy_kwargs") or {})}
            camal = {"weight": float(WEIGHT) if attentive else 0.0}
        super().__init__(policy, env, *args, camal=camal, **kwargs)

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        venv = CAMALPPO._wrap_env(env, verbose, monitor_wrapper)
        wants = float(WEIGHT) > 0 and is_image_space(venv.observation_space) and find_segmented(venv) is None
        return BrightPixels(venv) if wants else venv


if WEIGHT != "stock":
    InItsPlace.__name__ = "PPO"  # Log folders and messages contain the name.
    for module in (stable_baselines3, stable_baselines3.ppo, stable_baselines3.ppo.ppo):
        module.PPO = InItsPlace  # type: ignore[misc]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep only the tests that use PPO."""
    kept = [item for item in items if _touches_ppo(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _touches_ppo(item: pytest.Item) -> bool:
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    algorithms = [value for value in values if inspect.isclass(value) and hasattr(value, "learn")]
    if algorithms:
        return stable_baselines3.PPO in algorithms
    return "PPO" in inspect.getsource(item.function)  # type: ignore[attr-defined]
