"""Label maps of sprites instead of boxes.

A third simulator draws the same frames with repainted sprites (``sprite_pack.py``); the color of each pixel tells which
sprite is in front. If one sprite can show several classes, the box around it, from the flat-color simulator, decides
which. Boxes also decide for shapes without a sprite, which the game paints itself (compass, bars, orbs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from camal_rl.envs.procgen.classes import GAMES
from camal_rl.envs.procgen.lockstep import LockstepRenderer
from camal_rl.envs.procgen.mask_renderer import BoxMaskRenderer
from camal_rl.envs.procgen.palette import LabelPainter, blend
from camal_rl.envs.procgen.repaint import sprite_state
from camal_rl.envs.procgen.simulator import Simulator, StepResult
from camal_rl.envs.procgen.sprite_pack import RED_STEP, sprite_codes, sprite_pack
from camal_rl.envs.segmentation import LabelMap

_LEAST_VISIBLE_BLUE = 8
_OPEN = 255
_REACH = 3
# Steps (dy, dx) to the pixels nearby, the nearest first.
_NEARBY = sorted(
    ((dy, dx) for dy in range(-_REACH, _REACH + 1) for dx in range(-_REACH, _REACH + 1)),
    key=lambda step: step[0] ** 2 + step[1] ** 2,
)


class SilhouettePainter:
    """Converts frames of both drawing simulators to label maps of one game.

    The code of a pixel is an index into :func:`sprite_codes`, or their number if the game painted the pixel itself.
    """

    def __init__(self, game: str) -> None:
        classes, meanings = GAMES[game], sprite_codes(game)
        names = classes.names
        self._boxes = LabelPainter(classes)
        translucent, painted = len(meanings) - 1, len(meanings)
        self._painted = painted
        values = np.arange(256)
        # An almost transparent color may be blended over a sprite, so red is rounded.
        red = np.minimum((values + RED_STEP // 2) // RED_STEP, translucent - 1)
        blue = np.where(values >= _LEAST_VISIBLE_BLUE, translucent, 0)
        green = np.where(values > 0, painted, 0)
        self._channel_codes = [codes.astype(np.uint8) for codes in (red, green, blue)]
        self._may_be = np.zeros((painted + 1, len(names)), dtype=bool)
        for code, meaning in enumerate(meanings):
            self._may_be[code, [names.index(name) for name in meaning]] = True
        self._first = self._may_be.argmax(axis=1).astype(np.uint8)
        self._num_labels = len(names)
        self._lookup = self._label_table()
        self._veiled = {
            _packed(blend(over, alpha, (RED_STEP * code, 0, 0))): code
            for over, alpha in classes.translucent
            for code in range(translucent)
        }

    def _label_table(self) -> npt.NDArray[np.uint8]:
        """Return the label at index ``num_labels * code + box``.

        It is the box's class if the code may mean it, otherwise the code's only class, or ``_OPEN`` if it has several.
        """
        codes, boxes = np.indices(self._may_be.shape)
        only = np.where(self._may_be.sum(axis=1) == 1, self._first, _OPEN)
        only[0] = 0
        labels = np.where(self._may_be | (codes == self._painted), boxes, only[:, None])
        table = np.zeros(256, dtype=np.uint8)
        table[: labels.size] = labels.reshape(-1)
        return table

    def __call__(self, flat: npt.NDArray[np.uint8], sprites: npt.NDArray[np.uint8]) -> LabelMap:
        """Return ``uint8[n, H, W]`` labels of two renders ``uint8[n, H, W, 3]`` of the same states."""
        boxes = self._boxes.boxes(flat)
        codes = self._codes(sprites)
        labels = np.asarray(cv2.LUT(codes * np.uint8(self._num_labels) + boxes, self._lookup), dtype=np.uint8)
        self._ask_nearby_boxes(labels, codes, boxes)
        self._boxes.mark_edges(labels, next_to_thin=True)
        return labels

    def _codes(self, sprites: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        count, height, width, _ = sprites.shape
        image = sprites.reshape(count * height, width, 3)
        found = [
            cv2.LUT(cv2.extractChannel(image, channel), codes) for channel, codes in enumerate(self._channel_codes)
        ]
        codes = np.maximum(np.maximum(found[0], found[1]), found[2])
        if self._veiled:
            positions = np.flatnonzero(codes == self._painted)
            colors = image.reshape(-1, 3)[positions].astype(np.int64) @ (1 << 16, 1 << 8, 1)
            for color, code in self._veiled.items():
                codes.flat[positions[colors == color]] = code
        return np.asarray(codes, dtype=np.uint8).reshape(count, height, width)

    def _ask_nearby_boxes(self, labels: LabelMap, codes: npt.NDArray[np.uint8], boxes: LabelMap) -> None:
        """Label, in place, pixels with several possible classes and no matching box: use the nearest matching box."""
        positions = np.flatnonzero(labels == _OPEN)
        if len(positions) == 0:
            return
        index, y, x = np.unravel_index(positions, labels.shape)
        padded = np.pad(boxes, ((0, 0), (_REACH, _REACH), (_REACH, _REACH)))
        may_be, chosen = self._may_be[codes[index, y, x]], self._first[codes[index, y, x]]
        waiting = np.arange(len(index))
        for dy, dx in _NEARBY:
            near = padded[index[waiting], y[waiting] + _REACH + dy, x[waiting] + _REACH + dx]
            fits = may_be[waiting, near]
            chosen[waiting[fits]] = near[fits]
            waiting = waiting[~fits]
            if len(waiting) == 0:
                break
        labels[index, y, x] = chosen


def _packed(color: tuple[int, int, int]) -> int:
    return (color[0] << 16) | (color[1] << 8) | color[2]


class SilhouetteMaskRenderer(BoxMaskRenderer):
    """Label maps of silhouettes for the current frames of a simulator, drawn by two others in lockstep.

    The third simulator draws every sprite in its own size and theme, so lockstep keeps it exact in every game.
    """

    def __init__(self, game: str, real: Simulator, seed: int, arguments: dict[str, Any]) -> None:
        super().__init__(game, real, seed, arguments)
        options = arguments | {"use_backgrounds": False, "paint_vel_info": False, "render_mode": None}
        sprites = Simulator(game, real.num, seed, options, sprite_pack(game))
        self._sprites = LockstepRenderer(real, sprites, sprite_state)
        self._draw = SilhouettePainter(game)

    @property
    def num_resyncs(self) -> int:
        """How often the state of one of the two differed from the simulator's."""
        return super().num_resyncs + self._sprites.num_resyncs

    def act(self, actions: npt.NDArray[np.int32]) -> None:
        """Start the simulator's step in the two others; :meth:`check_step` finishes it."""
        super().act(actions)
        self._sprites.act(actions)

    def check_step(self, result: StepResult) -> None:
        """Compare the results of the step with the simulator's; :meth:`labels` then belong to its frames."""
        super().check_step(result)
        self._sprites.check_step(result)

    def expect_new_states(self, times: Sequence[int]) -> None:
        """Record that the simulator was put into other states, ``times`` steps into their episodes."""
        super().expect_new_states(times)
        self._sprites.expect_new_states(times)

    def state(self) -> list[dict[str, Any]]:
        """Return the divergences that the lockstep renderers have recorded."""
        return [*super().state(), self._sprites.state()]

    def set_state(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Restore what :meth:`state` returned."""
        super().set_state(state)
        self._sprites.set_state(state[1])

    def _draw_labels(self) -> LabelMap:
        return self._draw(self._renderer.frames(), self._sprites.frames())

    def close(self) -> None:
        """End both simulators' threads and free their memory."""
        super().close()
        self._sprites.close()


def mask_renderer(
    game: str, real: Simulator, seed: int, segmentation: str | None, arguments: dict[str, Any]
) -> BoxMaskRenderer | None:
    """Return the renderer of label maps for a simulator, ``box`` or ``silhouette``; ``None`` if masks are off."""
    if segmentation is None:
        return None
    # Without sprites, boxes are the silhouettes.
    draws_sprites = segmentation == "silhouette" and not arguments["use_monochrome_assets"]
    renderer_class = SilhouetteMaskRenderer if draws_sprites else BoxMaskRenderer
    return renderer_class(game, real, seed, arguments)
