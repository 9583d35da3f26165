"""Turns any Gymnasium environment with ``info["segmentation"]`` into a :class:`SegmentedVecEnv`."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from camal_rl.envs.copies import Copyable
from camal_rl.envs.env_attributes import action_names, image_stack
from camal_rl.envs.guarded_env import guarded
from camal_rl.envs.interface_checks import check_stacked_step
from camal_rl.envs.saved_states import check_envs, restore_envs, saved_envs
from camal_rl.envs.saved_values import AttributeState
from camal_rl.envs.segmentation import TERMINAL_KEY, ImageStack, LabelMap, SegmentationSpec, SegmentedVecEnv, as_spec
from camal_rl.envs.worker_processes import WorkerVecEnv, ending_with_a_worker
from camal_rl.failures import RunFailure
from camal_rl.state_tree import from_bytes, to_bytes

SpecLike = SegmentationSpec | Mapping[str, Sequence[str]]
KEY = "segmentation"


class SegmentationError(RunFailure, ValueError):
    """``info["segmentation"]`` of an environment is missing or malformed; the message says how to fix it."""


def check_label_map(label_map: object, shape: tuple[int, int] | None, where: str) -> LabelMap:
    """Return a label map after checking that it is uint8[H, W], and of a given shape if one is known.

    Args:
        label_map: the value from an environment.
        shape: (H, W) that it must have, or ``None``.
        where: where it comes from, for the message.

    Raises:
        SegmentationError: wrong type, dtype or shape.
    """
    if not isinstance(label_map, np.ndarray):
        kind = type(label_map).__name__
        raise SegmentationError(f"{where} must be a NumPy array uint8[H, W], got {kind}; convert it with np.asarray")
    if label_map.dtype != np.uint8:
        raise SegmentationError(
            f"{where} must have dtype uint8 (class ids 0 to 255), got {label_map.dtype}; add .astype(np.uint8)"
        )
    if label_map.ndim != 2 or (shape is not None and label_map.shape != shape):
        wanted = "two dimensions (H, W)" if shape is None else f"the observation's height and width {shape}"
        raise SegmentationError(f"{where} must have {wanted}, got shape {label_map.shape}")
    return label_map


def check_ids(label_maps: LabelMap, spec: SegmentationSpec) -> None:
    """Raise a :class:`SegmentationError` if label maps ``uint8[num_envs, H, W]`` contain ids without a name."""
    if label_maps.size and label_maps.max() >= len(spec.names):
        index = int(np.argmax(label_maps.reshape(len(label_maps), -1).max(axis=1)))
        unnamed = [int(label) for label in np.unique(label_maps[index]) if label >= len(spec.names)]
        raise SegmentationError(
            f"the label map of environment {index} contains ids without a name: {unnamed}; spec.names has "
            f"{len(spec.names)} names, 0 to {len(spec.names) - 1}: add names or correct the ids"
        )


def image_size(space: gymnasium.Space[Any]) -> tuple[int, int] | None:
    """Return (H, W) of an image space, channels first or last, or ``None`` for other spaces."""
    shape = space.shape
    if shape is None or len(shape) not in (2, 3):
        return None
    if len(shape) == 3 and shape[0] < min(shape[1:]):
        return shape[1], shape[2]
    return shape[0], shape[1]


class SegmentedGymVecEnv(AttributeState, Copyable, VecEnvWrapper, SegmentedVecEnv):
    """Takes the label maps out of the infos of an SB3 vectorized environment and keeps them aligned.

    On ``done``, SB3 returns the first observation of the NEW episode with the ``info`` of the OLD one; the new
    frame's ``info`` is in ``venv.reset_infos``. Each label map is therefore read from ``infos[i]`` within an episode
    and from ``reset_infos[i]`` at its end. The returned infos contain no label maps, except that of a
    ``terminal_observation``, under the key ``terminal_segmentation``.
    """

    state_attributes = ("_label_maps",)
    fixed_attributes = ("_masks",)

    def __init__(self, venv: VecEnv, spec: SpecLike, masks: bool = True) -> None:
        """Wrap ``venv``; label maps are available after the next :meth:`reset`. Without ``masks`` none are read."""
        super().__init__(venv)
        self.spec = as_spec(spec)
        self._action_names = action_names(venv)
        self._image_stack = image_stack(venv)
        self._masks = masks
        self._size = image_size(venv.observation_space)
        self._label_maps: LabelMap | None = None
        self._observations: Any = None
        # SB3's wrappers do not pass reset_infos on, so they are read from the innermost environment.
        self._innermost = venv
        while isinstance(self._innermost, VecEnvWrapper):
            self._innermost = self._innermost.venv
        if isinstance(self._innermost, DummyVecEnv):
            # DummyVecEnv casts results to the dtypes of its buffers, so each environment is checked before that.
            self._innermost.envs = [guarded(env, index) for index, env in enumerate(self._innermost.envs)]

    def __getstate__(self) -> dict[str, Any]:
        """Return all attributes except ``class_attributes``, which cannot be pickled."""
        return {name: value for name, value in vars(self).items() if name != "class_attributes"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the attributes, and rebuild ``class_attributes`` as SB3 does."""
        vars(self).update(state, class_attributes=dict(inspect.getmembers(type(self))))

    @property
    def action_names(self) -> tuple[str, ...] | None:
        """Names of the actions: the environment's ``action_names``, or its ``get_action_meanings()``."""
        return self._action_names

    @property
    def image_stack(self) -> ImageStack:
        """The frame stack of the observations, which is known only for ``SegmentedFrameStack``; otherwise one frame."""
        return self._image_stack

    @property
    def has_segmentation(self) -> bool:
        """Whether masks are switched on."""
        return self._masks

    def _watching_workers(self) -> contextlib.AbstractContextManager[None]:
        """Return a context that reports which of SB3's own worker processes ended; it does nothing without workers."""
        if isinstance(self._innermost, SubprocVecEnv):
            return ending_with_a_worker(self._innermost)
        return contextlib.nullcontext()

    def reset(self) -> VecEnvObs:
        """Reset every environment and read its label map."""
        with self._watching_workers():
            observations = self._observations = self.venv.reset()
        infos = self._innermost.reset_infos
        if not self._masks:
            self.reset_infos = infos
            return observations
        self._label_maps = np.stack([self._take(info, index, "reset") for index, info in enumerate(infos)])
        check_ids(self._label_maps, self.spec)
        self.reset_infos = [_without_key(info) for info in infos]
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Step every environment and read the label map of the observation that each returned."""
        with self._watching_workers():
            observations, rewards, dones, infos = self.venv.step_wait()
        self._observations = observations
        if isinstance(self._innermost, SubprocVecEnv):
            check_stacked_step(observations, rewards, dones, self._innermost.observation_space)
        if not self._masks:
            self.reset_infos = self._innermost.reset_infos
            return observations, rewards, dones, infos
        if self._label_maps is None:
            raise RuntimeError("step() was called before reset(); call reset() first")
        for index, done in enumerate(dones):
            if done:
                fresh = self._innermost.reset_infos[index]
                self._label_maps[index] = self._take(fresh, index, "reset")
                self.reset_infos[index] = _without_key(fresh)
            else:
                self._label_maps[index] = self._take(infos[index], index, "step")
        check_ids(self._label_maps, self.spec)
        return observations, rewards, dones, [_handed_on(info) for info in infos]

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

    def get_state(self) -> list[bytes]:
        """Return the state of every environment with its wrappers, its observation and its label map.

        Raises:
            ValueError: called before :meth:`reset`, or an environment cannot save its state; the message says which.
        """
        if self._observations is None:
            raise ValueError("there is no state before the first reset(); call reset() first")
        saved = saved_envs(self._with_envs())
        inexact = next((each["why_inexact"] for each in saved if each["why_inexact"]), None)
        if inexact is not None:
            raise ValueError(f"the environment cannot save its state: {inexact}")
        maps = [None] * self.num_envs if self._label_maps is None else list(self._label_maps)
        return [
            to_bytes({"env": env, "observation": image, "labels": labels})
            for env, image, labels in zip(saved, self._observations, maps, strict=True)
        ]

    def set_state(self, states: Sequence[bytes]) -> npt.NDArray[Any]:
        """Put every environment into a state from :meth:`get_state` and return the observations.

        Raises:
            ValueError: the wrong number of states, or states of another environment.
        """
        if len(states) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} states, one for each environment, got {len(states)}")
        found, inner = [from_bytes(each) for each in states], self._with_envs()
        saved = [each["env"] for each in found]
        check_envs(inner, saved)
        restore_envs(inner, saved, exact=True)
        if self._masks:
            self._label_maps = np.stack([each["labels"] for each in found])
        self._observations = np.stack([each["observation"] for each in found])
        return self._observations.copy()

    def _with_envs(self) -> VecEnv:
        of_parts = isinstance(self.observation_space, spaces.Dict)
        if of_parts or type(self.venv) not in (DummyVecEnv, WorkerVecEnv):
            what = "observations of several parts (Dict)" if of_parts else f"a {type(self.venv).__name__}"
            raise ValueError(
                f"get_state() and set_state() do not support {what}; "
                "camal_rl.envs.saved_states.save_env() saves environments with all of their wrappers"
            )
        return self.venv

    def _take(self, info: dict[str, Any], index: int, call: str) -> LabelMap:
        if KEY not in info:
            raise SegmentationError(
                f"environment {index} returned no info[{KEY!r}] from {call}(); put the uint8[H, W] label map of the "
                f"observation that {call}() returns there"
            )
        size = self._size
        if size is None and self._label_maps is not None:
            size = self._label_maps.shape[1], self._label_maps.shape[2]
        return check_label_map(info[KEY], size, f"info[{KEY!r}] of environment {index} at {call}()")


def _without_key(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in info.items() if key != KEY}


def _handed_on(info: dict[str, Any]) -> dict[str, Any]:
    """Return an info without its label map, except that of an episode's last frame, which is stored nowhere else."""
    last = {TERMINAL_KEY: info[KEY]} if "terminal_observation" in info and KEY in info else {}
    return {**_without_key(info), **last}


def wrap_vec(venv: VecEnv, spec: SpecLike | None = None) -> SegmentedGymVecEnv:
    """Add segmentation to an SB3 vectorized environment, Dummy or Subproc.

    Args:
        venv: its environments must put the label map uint8[H, W] of the returned observation in
            ``info["segmentation"]`` at ``reset`` and ``step``.
        spec: what the ids mean and which classes are relevant, also as a dictionary with the keys ``names`` and
            ``relevant``; ``None`` takes the environments' attribute ``segmentation_spec``.

    Raises:
        TypeError: ``venv`` is not a vectorized environment, or ``spec`` is not a spec.
        ValueError: no spec is given and the environments have none.
    """
    if not isinstance(venv, VecEnv):
        raise TypeError(
            f"wrap_vec needs an SB3 VecEnv, got {type(venv).__name__}; for a Gymnasium environment use "
            "make_segmented_vec(make_env, num_envs)"
        )
    return SegmentedGymVecEnv(venv, _spec_of(venv) if spec is None else spec)


def make_segmented_vec(
    env: str | Callable[[], gymnasium.Env[Any, Any]],
    num_envs: int,
    spec: SpecLike | None = None,
    seed: int = 0,
    subproc: bool = False,
    masks: bool = True,
) -> SegmentedGymVecEnv:
    """Make copies of a Gymnasium environment as one :class:`SegmentedVecEnv`.

    Args:
        env: a registered id, or a function that makes one environment.
        num_envs: number of copies.
        spec: what the ids mean, also as a dictionary with the keys ``names`` and ``relevant``; ``None`` takes the
            environment's attribute ``segmentation_spec``, which is not needed without masks.
        seed: copy ``i`` is seeded with ``seed + i`` at its first reset.
        subproc: run each copy in its own process instead of all in this one. In a script, put the call under
            ``if __name__ == "__main__":``, as all code that starts processes.
        masks: whether the environments put label maps in their infos; ``False`` leaves infos as they are.

    Raises:
        TypeError: ``env`` is an environment instead of a function that makes one, ``spec`` is not a spec, or the
            environment cannot be sent to worker processes.
        ValueError: ``num_envs`` is below 1, or no spec is given and the environment has none.
        WorkersError: a worker process could not make its environment.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, got {num_envs}")
    if not (callable(env) or isinstance(env, str)):
        raise TypeError(
            "env must be a registered id, or a class or function that makes a new environment at each call, "
            f"got {env!r}"
        )
    given = None if spec is None else as_spec(spec)
    make: Callable[[], gymnasium.Env[Any, Any]] = env if callable(env) else _Maker(env)
    makers: Sequence[Callable[[], gymnasium.Env[Any, Any]]] = [_Monitored(make, index) for index in range(num_envs)]
    venv: VecEnv = WorkerVecEnv(makers) if subproc else DummyVecEnv(list(makers))
    try:
        venv.seed(seed)
        return SegmentedGymVecEnv(venv, _spec_of(venv, masks) if given is None else given, masks)
    except BaseException:
        venv.close()
        raise


def _spec_of(venv: VecEnv, masks: bool = True) -> SegmentationSpec:
    spec = venv.get_attr("segmentation_spec", indices=0)[0] if venv.has_attr("segmentation_spec") else None
    if spec is None and masks:
        raise ValueError(
            "the environment has no attribute segmentation_spec; give spec=SegmentationSpec(names, relevant), or, for "
            "a method that needs no masks, switch them off (env.segmentation=null)"
        )
    return as_spec(SegmentationSpec(("background",), ()) if spec is None else spec)


class _Maker:
    """Makes an environment by its id; a class, so that it can be pickled for worker processes."""

    def __init__(self, env_id: str) -> None:
        self._env_id = env_id

    def __call__(self) -> gymnasium.Env[Any, Any]:
        return gymnasium.make(self._env_id)


class _Monitored:
    """Makes an environment and wraps it in :class:`GuardedEnv` and SB3's Monitor, unless it already is."""

    def __init__(self, make: Callable[[], gymnasium.Env[Any, Any]], index: int) -> None:
        self._make, self._index = make, index

    def __call__(self) -> gymnasium.Env[Any, Any]:
        env = guarded(self._make(), self._index)
        return env if is_wrapped(env, Monitor) else Monitor(env)
