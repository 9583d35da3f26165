"""The suite's physics and task without the suite's environment loop and images; the whole state can be saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from camal_rl.envs.dm_control.engine import import_suite
from camal_rl.envs.dm_control.tasks import Task

Positions = npt.NDArray[np.float64]
# Fields of a model that no task changes; they are large.
_CONSTANT = ("tex_", "mesh_", "skin_", "hfield_", "name", "text_", "paths")


class Simulation:
    """One task's physics.

    Args:
        task: the task.

    Attributes:
        steps: steps of the simulator since the start of the episode.

    Raises:
        MissingExtraError: the suite is not installed.
        NoRendererError: OpenGL cannot draw on this machine.
    """

    def __init__(self, task: Task) -> None:
        suite = import_suite()
        import mujoco

        made = suite.load(task.domain, task.task, task_kwargs={"random": 0})
        self._mujoco, self._physics, self._task = mujoco, made.physics, made.task
        self._substeps = round(made.control_timestep() / made.physics.timestep())
        limits = made.action_spec()
        self._low, self._high = np.asarray(limits.minimum), np.asarray(limits.maximum)
        self._scaled = bool((self._low != -1).any() or (self._high != 1).any())
        self._own = {name: values.copy() for name, values in _fields(self.model).items()}
        self._scratch = mujoco.MjData(self.model)
        self.steps = 0

    @property
    def model(self) -> Any:
        """The ``mujoco.MjModel``."""
        return self._physics.model.ptr

    @property
    def data(self) -> Any:
        """The ``mujoco.MjData``; its positions are those of the current state."""
        return self._physics.data.ptr

    @property
    def num_actuators(self) -> int:
        """Number of actuators, which is the length of an action."""
        return len(self._low)

    @property
    def actuator_names(self) -> tuple[str, ...]:
        """The actuator that each number of an action drives."""
        return tuple(self.model.actuator(index).name for index in range(self.num_actuators))

    def start(self, level: int) -> None:
        """Start the episode of a level; the level's number alone determines it."""
        self._restore_model({})
        self._task.random.seed(level)
        with self._physics.reset_context():
            self._task.initialize_episode(self._physics)
        self.steps = 0

    def step(self, action: npt.NDArray[np.float32]) -> float:
        """Apply an action ``float32[A]`` in [-1, 1] for one step and return the reward."""
        chosen = action.astype(np.float64)
        if self._scaled:
            chosen = self._low + 0.5 * (chosen + 1) * (self._high - self._low)
        self._task.before_step(chosen, self._physics)
        self._physics.step(self._substeps)
        self._task.after_step(self._physics)
        self.steps += 1
        return float(self._task.get_reward(self._physics))

    def positions(self) -> Positions:
        """Return the positions of everything that is drawn, ``float64[n]``, for :meth:`at`."""
        data = self.data
        return np.concatenate([data.qpos, data.mocap_pos.ravel(), data.mocap_quat.ravel()])

    def at(self, positions: Positions) -> Any:
        """Return a ``mujoco.MjData`` of this episode at other positions; the next call overwrites it."""
        data, used = self._scratch, 0
        for values in (data.qpos, data.mocap_pos, data.mocap_quat):
            values.ravel()[:] = positions[used : used + values.size]
            used += values.size
        self._mujoco.mj_fwdPosition(self.model, data)
        return data

    def state(self) -> dict[str, Any]:
        """Return MuJoCo's state, the model fields that the task has changed, the task's generator, and the steps."""
        kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        values = np.empty(self._mujoco.mj_stateSize(self.model, kind))
        self._mujoco.mj_getState(self.model, self.data, values, kind)
        fields = _fields(self.model)
        return {
            "values": values,
            "model": {name: fields[name].copy() for name, own in self._own.items() if (fields[name] != own).any()},
            "random": self._task.random.get_state(legacy=False),
            "steps": self.steps,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state of :meth:`state`."""
        self._restore_model(state["model"])
        self._task.random.set_state(state["random"])
        self.steps = state["steps"]
        kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        self._mujoco.mj_setState(self.model, self.data, np.asarray(state["values"]), kind)
        # This computes the other quantities that the next step reads, from positions and velocities.
        self._mujoco.mj_step1(self.model, self.data)
        self._mujoco.mj_setState(self.model, self.data, np.asarray(state["values"]), kind)

    def _restore_model(self, changed: Mapping[str, Any]) -> None:
        """Restore the model's fields as the suite made them, except those in ``changed``."""
        for name, values in _fields(self.model).items():
            values[...] = changed.get(name, self._own[name])


def _fields(model: Any) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a model that a task may change, by name, as views of the model's memory."""
    found = {name: getattr(model, name) for name in dir(model) if not name.startswith(("_", *_CONSTANT))}
    return {name: each for name, each in found.items() if isinstance(each, np.ndarray) and each.size}
