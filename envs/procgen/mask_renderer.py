"""A second simulator that draws the same frames in one flat color per kind of object.

It takes the same actions as the real simulator and stays in the same state, because only what it paints differs.
There are three exceptions, found in the games' sources and checked by ``benchmarks/procgen_masks.py``:

* bigfish sizes each fish by the aspect ratio of its sprite during an episode. Its second simulator keeps the themes, so
  fish of different themes have different colors.
* bossfight, fruitbot and starpilot size objects by their sprites when a level starts; heist and plunder draw different
  objects with the same type. Their second simulator gets the real state (through :func:`flat_color_state`) when a level
  starts.
* starpilot's finish line is sized by its sprite when it appears, on step 500. The second simulator gets the real state
  again at that step.

Exactness is checked at run time: see ``lockstep.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from camal_rl.envs.procgen.classes import GAMES
from camal_rl.envs.procgen.lockstep import LockstepRenderer
from camal_rl.envs.procgen.palette import LabelPainter
from camal_rl.envs.procgen.repaint import flat_color_state
from camal_rl.envs.procgen.simulator import Simulator, StepResult
from camal_rl.envs.segmentation import LabelMap

KEEPS_THEMES = ("bigfish",)
COPIED_AT_LEVEL_START = ("bossfight", "fruitbot", "heist", "plunder", "starpilot")
COPIED_AT_TIME = {"starpilot": 500}
_VELOCITY_BOX = (slice(0, 13), slice(0, 26))
_NO_VELOCITY_INFO = ("chaser", "heist", "maze", "miner")


class BoxMaskRenderer:
    """Label maps for the current frames of a simulator, drawn by a second one in lockstep."""

    def __init__(self, game: str, real: Simulator, seed: int, arguments: dict[str, Any]) -> None:
        keep_themes = game in KEEPS_THEMES
        options = arguments | {"use_monochrome_assets": True, "use_backgrounds": False, "paint_vel_info": False}
        if not keep_themes:
            options["restrict_themes"] = True
        self._flat = Simulator(game, real.num, seed, options | {"render_mode": None})
        self._renderer = LockstepRenderer(
            real,
            self._flat,
            partial(flat_color_state, game=game, keep_themes=keep_themes),
            copies_level_starts=game in COPIED_AT_LEVEL_START,
            copy_time=COPIED_AT_TIME.get(game),
        )
        self._paint = LabelPainter(GAMES[game])
        self._hides_corner = bool(arguments["paint_vel_info"]) and game not in _NO_VELOCITY_INFO
        self._labels: LabelMap | None = None

    @property
    def num_resyncs(self) -> int:
        """How often the second simulator's state differed from the first's."""
        return self._renderer.num_resyncs

    def act(self, actions: npt.NDArray[np.int32]) -> None:
        """Start the simulator's step in the second simulator; :meth:`check_step` finishes it."""
        self._renderer.act(actions)

    def check_step(self, result: StepResult) -> None:
        """Compare the results of the step with the simulator's; :meth:`labels` then belong to its frames."""
        self._renderer.check_step(result)
        self._labels = None

    def expect_new_states(self, times: Sequence[int]) -> None:
        """Record that the simulator was put into other states, ``times`` steps into their episodes."""
        self._renderer.expect_new_states(times)
        self._labels = None

    def state(self) -> list[dict[str, Any]]:
        """Return the divergences that the lockstep renderers have recorded."""
        return [self._renderer.state()]

    def set_state(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Restore what :meth:`state` returned."""
        self._renderer.set_state(state[0])

    def labels(self) -> LabelMap:
        """Return ``uint8[num, H, W]`` labels of the simulator's current frames."""
        if self._labels is None:
            self._labels = self._draw_labels()
            if self._hides_corner:
                self._labels[:, _VELOCITY_BOX[0], _VELOCITY_BOX[1]] = 0
        return self._labels

    def _draw_labels(self) -> LabelMap:
        """Return new labels of the current frames; the corner that shows the velocity is not cleared yet."""
        return self._paint(self._renderer.frames())

    def close(self) -> None:
        """End the second simulator's threads and free its memory."""
        self._renderer.close()
