"""A second simulator that repeats the steps of the first, stays in its state, and paints its frames differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from camal_rl.envs.procgen.simulator import Simulator, StepResult
from camal_rl.envs.procgen.state import without_picture_scale

_AUDIT_INTERVAL = 64


class LockstepRenderer:
    """Frames of a simulator's current states, painted by another one in lockstep.

    Rewards and episode starts must agree on every step, level seeds when a level starts, and whole states on some
    steps. If they differ, the environment's state is copied for every frame from then on.

    Args:
        real: the simulator to follow.
        painter: the simulator that paints; made with the same game, number, seed and levels.
        edit: turns a state of ``real`` into the state that ``painter`` must have for it.
        copies_level_starts: copy the edited state to ``painter`` whenever a level starts.
        copy_time: copy the edited state at this step of an episode as well.

    Attributes:
        num_resyncs: how often an environment's state differed from the simulator's.
    """

    def __init__(
        self,
        real: Simulator,
        painter: Simulator,
        edit: Callable[[bytes], bytes],
        copies_level_starts: bool = False,
        copy_time: int | None = None,
    ) -> None:
        self._real, self._painter, self._edit = real, painter, edit
        self._copies_level_starts, self._copy_time = copies_level_starts, copy_time
        self._time = np.zeros(real.num, dtype=np.int64)
        self._stale = np.full(real.num, copies_level_starts)
        self._diverged = np.zeros(real.num, dtype=bool)
        self._acting = False
        self._steps = 0
        self.num_resyncs = 0

    def act(self, actions: npt.NDArray[np.int32]) -> None:
        """Start the simulator's step in the painter; :meth:`check_step` finishes it."""
        self._painter.act(actions)
        self._acting = True

    def check_step(self, result: StepResult) -> None:
        """Compare the step with the simulator's, and record whose state must be copied before the next frames."""
        rewards, first = self._painter.outcome()
        self._acting = False
        agrees = (rewards == result.rewards) & (first == result.first)
        new_level = result.first | result.level_complete
        if new_level.any():
            agrees &= self._painter.level_seeds() == result.level_seeds
        self._resync(np.flatnonzero(~agrees & ~self._stale))
        self._time = np.where(new_level, 0, self._time + 1)
        if self._copies_level_starts:
            self._stale |= new_level
        if self._copy_time is not None:
            self._stale |= self._time == self._copy_time
        self._steps += 1
        if self._steps % _AUDIT_INTERVAL == 0:
            self._audit(self._steps // _AUDIT_INTERVAL % self._real.num)

    def _resync(self, indices: npt.NDArray[np.int64]) -> None:
        self.num_resyncs += len(indices)
        self._stale[indices] = True
        self._diverged[indices] = True

    def _audit(self, index: int) -> None:
        """Compare the whole state of one environment, which can show a divergence before the rewards differ."""
        if self._stale[index]:
            return
        expected, own = self._edit(self._real.get_state(index)), self._painter.get_state(index)
        if without_picture_scale(own) != without_picture_scale(expected):
            self._resync(np.array([index]))

    def state(self) -> dict[str, Any]:
        """Compare every environment's whole state and return the recorded divergences."""
        for index in range(self._real.num):
            self._audit(index)
        return {"diverged": self._diverged.copy(), "steps": self._steps, "num_resyncs": self.num_resyncs}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state` returned; every environment's state is copied before the next frames."""
        self._diverged[:] = state["diverged"]
        self._steps, self.num_resyncs = state["steps"], state["num_resyncs"]
        self._stale[:] = True

    def expect_new_states(self, times: Sequence[int]) -> None:
        """Record that the simulator was put into other states, ``times`` steps into their episodes."""
        self._stale[:] = True
        self._time[:] = times

    def frames(self) -> npt.NDArray[np.uint8]:
        """Return ``uint8[num, H, W, 3]``, the current states as the second simulator paints them.

        The array is that simulator's own buffer: its next step overwrites the frames.

        Raises:
            RuntimeError: a step is under way, so there is no current state.
        """
        if self._acting:
            raise RuntimeError("a step is under way: masks belong to observations, so read them after step_wait()")
        for index in np.flatnonzero(self._stale):
            self._painter.set_state(index, self._edit(self._real.get_state(index)))
        self._stale[:] = self._diverged
        return self._painter.own_frames()

    def close(self) -> None:
        """End the second simulator's threads and free its memory."""
        self._painter.close()
