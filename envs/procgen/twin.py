"""A second simulator that draws the same frames in one flat colour per kind of object.

The twin takes the same actions as the real simulator and stays in the same state, because only what it paints differs.
There are three exceptions, found in the games' sources and held by ``benchmarks/procgen_masks.py``:

* bigfish sizes each fish by the aspect ratio of its sprite, while playing: its twin keeps the themes, and a fish of
  another theme has another colour.
* bossfight, fruitbot and starpilot do so when a level starts, heist and plunder draw different objects with the same
  type: their twin is given the real state (through :func:`twin_state`) when a level starts.
* starpilot's finish line is sized by its sprite when it appears, on step 500: the state is given again then.

Rewards, episode starts and level seeds must agree on every step, and whole states on some of them. Where they do not,
the environment's state is copied for every mask from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from camal_rl.envs.procgen.classes import GAMES
from camal_rl.envs.procgen.palette import LabelPainter
from camal_rl.envs.procgen.repaint import twin_state
from camal_rl.envs.procgen.simulator import Simulator, StepResult
from camal_rl.envs.segmentation import LabelMap

KEEPS_THEMES = ("bigfish",)
COPIED_AT_LEVEL_START = ("bossfight", "fruitbot", "heist", "plunder", "starpilot")
COPIED_AT_TIME = {"starpilot": 500}
_AUDIT_INTERVAL = 64
_VELOCITY_BOX = (slice(0, 13), slice(0, 26))
_NO_VELOCITY_INFO = ("chaser", "heist", "maze", "miner")


class FlatColourTwin:
    """Label maps for the current frames of a simulator, by a twin that follows it.

    Attributes:
        heals: how often the twin was found in another state than the simulator.
    """

    def __init__(self, game: str, real: Simulator, seed: int, arguments: dict[str, Any]) -> None:
        keep_themes = game in KEEPS_THEMES
        options = arguments | {"use_monochrome_assets": True, "use_backgrounds": False, "paint_vel_info": False}
        if not keep_themes:
            options["restrict_themes"] = True
        self._game, self._keep_themes = game, keep_themes
        self._real = real
        self._flat = Simulator(game, real.num, seed, options | {"render_mode": None})
        self._paint = LabelPainter(GAMES[game])
        self._hides_corner = bool(arguments["paint_vel_info"]) and game not in _NO_VELOCITY_INFO
        self._copy_time = COPIED_AT_TIME.get(game)
        self._time = np.zeros(real.num, dtype=np.int64)
        self._stale = np.full(real.num, game in COPIED_AT_LEVEL_START)
        self._diverged = np.zeros(real.num, dtype=bool)
        self._frames: npt.NDArray[np.uint8] | None = None
        self._labels: LabelMap | None = None
        self._steps = 0
        self.heals = 0

    def act(self, actions: npt.NDArray[np.int32]) -> None:
        """Take the step that the simulator takes; :meth:`follow` ends it."""
        self._flat.act(actions)

    def follow(self, result: StepResult) -> None:
        """Compare the step with the simulator's and note whose state has to be copied before the next mask."""
        flat = self._flat.observe()
        self._frames, self._labels = flat.frames, None
        agrees = (flat.rewards == result.rewards) & (flat.first == result.first)
        new_level = result.first | result.level_complete
        if new_level.any():
            agrees &= flat.level_seeds == result.level_seeds
        self._heal(np.flatnonzero(~agrees & ~self._stale))
        self._time = np.where(new_level, 0, self._time + 1)
        if self._game in COPIED_AT_LEVEL_START:
            self._stale |= new_level
        if self._copy_time is not None:
            self._stale |= self._time == self._copy_time
        self._steps += 1
        if self._steps % _AUDIT_INTERVAL == 0:
            self._audit(self._steps // _AUDIT_INTERVAL % self._real.num)

    def _heal(self, indices: npt.NDArray[np.int64]) -> None:
        self.heals += len(indices)
        self._stale[indices] = True
        self._diverged[indices] = True

    def _audit(self, index: int) -> None:
        """Compare the whole state of one environment, which shows a divergence before any reward does."""
        if self._stale[index]:
            return
        expected = twin_state(self._real.get_state(index), self._game, self._keep_themes)
        if self._flat.get_state(index) != expected:
            self._heal(np.array([index]))

    def expect_new_states(self, times: Sequence[int]) -> None:
        """Note that the simulator was given other states, ``times`` steps into their episodes."""
        self._stale[:] = True
        self._time[:] = times
        self._labels = None

    def labels(self) -> LabelMap:
        """Return ``uint8[num, H, W]`` labels of the simulator's current frames."""
        if self._labels is None:
            self._copy_stale()
            if self._frames is None:
                self._frames = self._flat.observe().frames
            self._labels = self._paint(self._frames)
            if self._hides_corner:
                self._labels[:, _VELOCITY_BOX[0], _VELOCITY_BOX[1]] = 0
        return self._labels

    def _copy_stale(self) -> None:
        indices = np.flatnonzero(self._stale)
        if len(indices) == 0:
            return
        for index in indices:
            self._flat.set_state(index, twin_state(self._real.get_state(index), self._game, self._keep_themes))
        self._frames = None
        self._stale[:] = self._diverged

    def close(self) -> None:
        """End the twin's threads and free its memory."""
        self._flat.close()
