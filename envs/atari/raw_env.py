"""An Atari game with raw screens as observations: action repeat and label maps, before any resizing."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import cv2
import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from camal_rl.envs.atari.boxes import Box, RamDetector
from camal_rl.envs.atari.labels import LabelPainter
from camal_rl.envs.atari.modifications import Modifier
from camal_rl.envs.atari.options import AtariOptions
from camal_rl.envs.atari.recent_play import RESET, RecentPlay
from camal_rl.envs.copies import CopyableUntilStarted
from camal_rl.envs.gym_adapter import KEY
from camal_rl.envs.registry import MissingExtraError
from camal_rl.envs.saved_values import frozen, thawed
from camal_rl.envs.segmentation import LabelMap
from camal_rl.envs.wrappers import pool_frames, union_labels

Image = npt.NDArray[np.uint8]

_NO_OPERATION = 0
_POOLED = 2
# Number of raw frames after which every modification is visible on the screen.
_MODIFIED_AFTER = 2


class RawAtariEnv(CopyableUntilStarted, gymnasium.Env[Image, np.int64]):
    """One game at the size of its screen, ``uint8[210, 160, C]`` (some games have more rows).

    A step repeats its action for ``frame_skip`` raw frames. The observation is the maximum of the last two, which
    removes the flicker of sprites that are drawn in every other frame. In some games the RAM is one raw frame ahead of
    the screen. On each of the two screens, objects are therefore searched in their boxes of this and of the previous
    raw frame. The label map is the union over both screens, so it covers the boxes of three raw frames.

    The seed of ``reset`` determines the number of no-ops at the start and which actions are repeated; the simulator
    itself is deterministic.

    Args:
        options: see :class:`~camal_rl.envs.atari.options.AtariOptions`; options of the wrappers have no effect here.

    Raises:
        MissingExtraError: ALE is not installed, or masks are on and OCAtari is not installed.
    """

    def __init__(self, options: AtariOptions) -> None:
        self.options = options
        self.remember("an Atari game", options)
        self._started = False
        ale_py = _import_ale()
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self.ale = ale_py.ALEInterface()
        # step() repeats actions with its own generator, which a reset seeds; ALE's is seeded only by loading the game.
        self.ale.setFloat("repeat_action_probability", 0.0)
        self.ale.setInt("random_seed", 0)
        self.ale.setInt("max_num_frames_per_episode", options.max_frames)
        self.ale.loadROM(ale_py.roms.get_rom_path(options.table.rom(options.game)))
        mode, difficulty = options.variant
        self.ale.setMode(mode)
        self.ale.setDifficulty(difficulty)
        full = options.full_action_space
        self._actions = self.ale.getLegalActionSet() if full else self.ale.getMinimalActionSet()
        self.action_space = spaces.Discrete(len(self._actions))
        height, width = self.ale.getScreenDims()
        self.observation_space = spaces.Box(0, 255, (height, width, 1 if options.grayscale else 3), np.uint8)
        self._repeats = np.random.default_rng()
        self._last_action = _NO_OPERATION
        self._play = RecentPlay(self.ale, self._actions)
        self._modifier = Modifier(each.effect for each in options.modifications().values())
        self.detector: RamDetector | None = None
        if options.segmentation is not None:
            self.detector = RamDetector(options.game, options.table.labels())
            self.painter = LabelPainter(options.segmentation)
        self.boxes: list[Box] = []
        self.previous_boxes: list[Box] = []

    @property
    def action_meanings(self) -> tuple[str, ...]:
        """ALE's names of the actions."""
        return tuple(action.name for action in self._actions)

    def started(self) -> bool:
        """Return whether a game was started."""
        return self._started

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Image, dict[str, Any]]:
        """Start the game and play 1 to ``noop_max`` raw frames without action."""
        super().reset(seed=seed)
        self._repeats = np.random.default_rng(int(self.np_random.integers(2**63)))
        self._last_action = _NO_OPERATION
        idle = int(self.np_random.integers(1, self.options.noop_max + 1)) if self.options.noop_max else 0
        self._start()
        for _ in range(idle):
            if self.ale.game_over():
                self._start()
            self._advance(_NO_OPERATION)
        image, labels = self._look()
        return image, self._info(labels)

    def _start(self) -> None:
        self._started = True
        self._play.begin_frame()
        self._play.note(RESET)
        self.ale.reset_game()
        self._modifier.start()
        if self.detector is not None:
            self.detector.reset()
            self.detector.update(self.ale.getRAM())
            self.boxes = self.detector.boxes()
        if self._modifier:
            # No observation shows the game without its modifications.
            for _ in range(_MODIFIED_AFTER):
                self._advance(_NO_OPERATION)
            self.previous_boxes = self.boxes

    def step(self, action: np.int64) -> tuple[Image, float, bool, bool, dict[str, Any]]:
        """Take an action for ``frame_skip`` raw frames, or until the game ends.

        Raises:
            ValueError: the action is not in the action space.
        """
        if not self.action_space.contains(action):
            raise ValueError(f"the action must be an integer in [0, {len(self._actions) - 1}], got {action!r}")
        chosen, sticky = int(action), self.options.repeat_action_probability
        reward = 0.0
        images: list[Image] = []
        labels: list[LabelMap] = []
        for frames_left in reversed(range(self.options.frame_skip)):
            if self._repeats.random() >= sticky:
                self._last_action = chosen
            reward += self._advance(self._last_action)
            over = self.ale.game_over()
            if frames_left < _POOLED or over:
                image, label_map = self._look()
                images.append(image)
                labels += [] if label_map is None else [label_map]
            if over:
                break
        truncated = self.ale.game_truncated()
        terminated = self.ale.game_over(with_truncation=False)
        info = self._info(union_labels(reversed(labels)) if labels else None)
        return pool_frames(images), reward, terminated, truncated and not terminated, info

    def _advance(self, action: int) -> float:
        """Play one raw frame."""
        self._play.begin_frame()
        if self._modifier:
            for address, value in self._modifier.writes(self.ale.getRAM(), self.ale.getEpisodeFrameNumber()):
                self._play.overwrite(address, value)
        self._play.note(action)
        reward = float(self.ale.act(self._actions[action]))
        if self.detector is not None:
            self.previous_boxes = self.boxes
            self.detector.update(self.ale.getRAM())
            self.boxes = self.detector.boxes()
        return reward

    def get_state(self) -> dict[str, Any]:
        """Return the state of the emulator, of the generator of repeated actions and of the object detector."""
        return {
            "play": self._play.get_state(),
            "started": self._started,
            "repeats": frozen(self._repeats),
            "last_action": self._last_action,
            "modifier": self._modifier.get_state(),
            "detector": None if self.detector is None or not self._started else self.detector.get_state(),
            "boxes": [tuple(box) for box in self.boxes],
            "previous_boxes": [tuple(box) for box in self.previous_boxes],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`get_state`."""
        self._play.set_state(state["play"])
        self._started = state["started"]
        self._repeats = thawed(state["repeats"], self._repeats)
        self._last_action = state["last_action"]
        # States of version 0.1.0 come from unmodified games and have no such entry.
        self._modifier.set_state(state.get("modifier"))
        if self.detector is not None and state["detector"] is not None:
            self.detector.set_state(state["detector"])
        self.boxes = [Box(*each) for each in state["boxes"]]
        self.previous_boxes = [Box(*each) for each in state["previous_boxes"]]

    def _look(self) -> tuple[Image, LabelMap | None]:
        """Return the current raw screen and its label map."""
        image = self._picture()
        if self.detector is None:
            return image, None
        # Objects are found by palette indices, which do not depend on the theme.
        return image, self.painter.paint(self.ale.getScreen(), (*self.boxes, *self.previous_boxes))

    def _picture(self) -> Image:
        gray, recolored = self.options.grayscale, self.options.theme == "recolored"
        if gray and not recolored:
            return np.asarray(self.ale.getScreenGrayscale())[..., None]
        colors = np.asarray(self.ale.getScreenRGB())
        if recolored:
            colors = np.ascontiguousarray(colors[..., [1, 2, 0]])
        return np.asarray(cv2.cvtColor(colors, cv2.COLOR_RGB2GRAY), dtype=np.uint8)[..., None] if gray else colors

    def _info(self, labels: LabelMap | None) -> dict[str, Any]:
        info: dict[str, Any] = {"lives": self.ale.lives(), "frame_number": self.ale.getEpisodeFrameNumber()}
        return info if labels is None else {**info, KEY: labels}

    def render(self) -> Image:
        """Return the current raw screen in color, ``uint8[H, 160, 3]``."""
        return np.asarray(self.ale.getScreenRGB())


def _import_ale() -> ModuleType:
    try:
        return importlib.import_module("ale_py")
    except ImportError as error:
        raise MissingExtraError("ALE", "atari") from error
