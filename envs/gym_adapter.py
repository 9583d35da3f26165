"""Any Gymnasium environment that puts ``segmentation`` in its ``info``, as a :class:`SegmentedVecEnv`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from camal_rl.envs.segmentation import LabelMap, SegmentationSpec, SegmentedVecEnv

KEY = "segmentation"


class SegmentationError(ValueError):
    """An environment whose ``info["segmentation"]`` is missing or malformed; the message says how to mend it."""


def check_label_map(label_map: object, shape: tuple[int, int] | None, where: str) -> LabelMap:
    """Return a label map if it is uint8[H, W], of a given shape where one is known.

    Args:
        label_map: what an environment gave.
        shape: (H, W) that it must have, or ``None``.
        where: what gave it, for the message.

    Raises:
        SegmentationError: wrong type, dtype or shape.
    """
    if not isinstance(label_map, np.ndarray):
        kind = type(label_map).__name__
        raise SegmentationError(f"{where} is a NumPy array uint8[H, W], got {kind}; np.asarray makes one")
    if label_map.dtype != np.uint8:
        raise SegmentationError(
            f"{where} has dtype uint8 (class ids 0 to 255), got {label_map.dtype}; add .astype(np.uint8)"
        )
    if label_map.ndim != 2 or (shape is not None and label_map.shape != shape):
        wanted = "two dimensions (H, W)" if shape is None else f"the observation's height and width {shape}"
        raise SegmentationError(f"{where} has {wanted}, got shape {label_map.shape}")
    return label_map


def image_size(space: gymnasium.Space[Any]) -> tuple[int, int] | None:
    """Return (H, W) of an image space, channels first or last, or ``None`` if the space is no image."""
    shape = space.shape
    if shape is None or len(shape) not in (2, 3):
        return None
    if len(shape) == 3 and shape[0] < min(shape[1:]):
        return shape[1], shape[2]
    return shape[0], shape[1]


class SegmentedGymVecEnv(VecEnvWrapper, SegmentedVecEnv):
    """Takes the label maps out of the infos of an SB3 vectorised environment and keeps them aligned.

    On ``done``, SB3 returns the first observation of the NEW episode with the ``info`` of the OLD one; the new
    frame's ``info`` is in ``venv.reset_infos``. Each label map is therefore read from ``infos[i]`` within an episode
    and from ``reset_infos[i]`` at its end. The infos that are handed on hold no label maps.
    """

    def __init__(self, venv: VecEnv, spec: SegmentationSpec, masks: bool = True) -> None:
        """Wrap ``venv``; the label maps come with the next :meth:`reset`. Without ``masks`` none are read."""
        super().__init__(venv)
        self.spec = spec
        self._masks = masks
        self._size = image_size(venv.observation_space)
        self._label_maps: LabelMap | None = None
        # SB3's wrappers do not pass reset_infos on, so they are read from the innermost environment.
        self._innermost = venv
        while isinstance(self._innermost, VecEnvWrapper):
            self._innermost = self._innermost.venv

    @property
    def has_segmentation(self) -> bool:
        """Whether masks are switched on."""
        return self._masks

    def reset(self) -> VecEnvObs:
        """Reset every environment and read its label map."""
        observations = self.venv.reset()
        infos = self._innermost.reset_infos
        if not self._masks:
            self.reset_infos = infos
            return observations
        self._label_maps = np.stack([self._take(info, index, "reset") for index, info in enumerate(infos)])
        self.reset_infos = [_without_key(info) for info in infos]
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Step every environment and read the label map of the observation that each returned."""
        observations, rewards, dones, infos = self.venv.step_wait()
        if not self._masks:
            self.reset_infos = self._innermost.reset_infos
            return observations, rewards, dones, infos
        if self._label_maps is None:
            raise RuntimeError("step() came before reset(); call reset() first")
        for index, done in enumerate(dones):
            if done:
                fresh = self._innermost.reset_infos[index]
                self._label_maps[index] = self._take(fresh, index, "reset")
                self.reset_infos[index] = _without_key(fresh)
            else:
                self._label_maps[index] = self._take(infos[index], index, "step")
        return observations, rewards, dones, [_without_key(info) for info in infos]

    def segmentation(self) -> LabelMap:
        """Return the label maps uint8[num_envs, H, W] of the current observations.

        Raises:
            ValueError: masks are switched off.
            RuntimeError: before the first :meth:`reset`.
        """
        if not self._masks:
            raise ValueError("masks are switched off; make the environment with its default segmentation")
        if self._label_maps is None:
            raise RuntimeError("there is no label map before the first reset(); call reset() first")
        return self._label_maps.copy()

    def _take(self, info: dict[str, Any], index: int, call: str) -> LabelMap:
        if KEY not in info:
            raise SegmentationError(
                f"environment {index} gave no info[{KEY!r}] with {call}(); put the uint8[H, W] label map of the "
                f"observation that {call}() returns there"
            )
        size = self._size
        if size is None and self._label_maps is not None:
            size = self._label_maps.shape[1], self._label_maps.shape[2]
        return check_label_map(info[KEY], size, f"info[{KEY!r}] of environment {index} at {call}()")


def _without_key(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in info.items() if key != KEY}


def wrap_vec(venv: VecEnv, spec: SegmentationSpec) -> SegmentedGymVecEnv:
    """Return an SB3 vectorised environment, Dummy or Subproc, with segmentation.

    Args:
        venv: its environments put the label map uint8[H, W] of the returned observation in ``info["segmentation"]``
            at ``reset`` and ``step``.
        spec: what the ids mean and which classes are relevant.
    """
    return SegmentedGymVecEnv(venv, spec)


def make_segmented_vec(
    env: str | Callable[[], gymnasium.Env[Any, Any]],
    num_envs: int,
    spec: SegmentationSpec | None = None,
    seed: int = 0,
    subproc: bool = False,
    masks: bool = True,
) -> SegmentedGymVecEnv:
    """Make copies of a Gymnasium environment as one :class:`SegmentedVecEnv`.

    Args:
        env: a registered id, or a function that makes one environment.
        num_envs: number of copies.
        spec: what the ids mean; ``None`` takes the environment's attribute ``segmentation_spec``.
        seed: copy ``i`` is seeded with ``seed + i`` at its first reset.
        subproc: one process for each copy instead of all in this one.
        masks: whether the environments put label maps in their infos; ``False`` leaves infos as they are.

    Raises:
        ValueError: no spec is given and the environment has none.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, got {num_envs}")
    make: Callable[[], gymnasium.Env[Any, Any]] = env if callable(env) else _Maker(env)
    makers: Sequence[Callable[[], gymnasium.Env[Any, Any]]] = [_Monitored(make) for _ in range(num_envs)]
    # Not SB3's default, the fork server: its socket stays in the temporary folder when the program is killed.
    venv: VecEnv = SubprocVecEnv(list(makers), start_method="spawn") if subproc else DummyVecEnv(list(makers))
    venv.seed(seed)
    found = spec if spec is not None else _spec_of(venv)
    return SegmentedGymVecEnv(venv, found, masks)


def _spec_of(venv: VecEnv) -> SegmentationSpec:
    try:
        spec = venv.get_attr("segmentation_spec", indices=0)[0]
    except AttributeError:
        spec = None
    if not isinstance(spec, SegmentationSpec):
        venv.close()
        raise ValueError(
            "the environment has no attribute segmentation_spec; give spec=SegmentationSpec(names, relevant)"
        )
    return spec


class _Maker:
    """Makes an environment by its id; a class, since processes start with a pickle of it."""

    def __init__(self, env_id: str) -> None:
        self._env_id = env_id

    def __call__(self) -> gymnasium.Env[Any, Any]:
        return gymnasium.make(self._env_id)


class _Monitored:
    """Wraps what a maker makes in SB3's Monitor, which reports returns and lengths of episodes."""

    def __init__(self, make: Callable[[], gymnasium.Env[Any, Any]]) -> None:
        self._make = make

    def __call__(self) -> gymnasium.Env[Any, Any]:
        return Monitor(self._make())
