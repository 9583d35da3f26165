"""The sources with which `benchmarks/atari_masks.py` compares the Atari masks, and what is counted."""

from __future__ import annotations

import importlib
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from camal_rl.envs.atari.games import class_name
from camal_rl.envs.atari.labels import LabelPainter
from camal_rl.envs.atari.raw_env import RawAtariEnv
from camal_rl.envs.gym_adapter import KEY

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Rectangle = tuple[int, int, int, int]

SAME_BOX = 0.5
MARGIN = 6
"""Distance in pixels from an object's box within which its pixels are searched."""
LOCAL = 400
"""Largest number of changed pixels outside all boxes; an alteration beyond it changed more than one object."""
REPEAT = 0.85
VISION_SECONDS = 3.0


@dataclass
class ClassResult:
    """Counts for one class; ``atari_masks.summary`` computes shares from them."""

    ram_boxes: int = 0
    ram_boxes_seen: int = 0
    vision_boxes: int = 0
    vision_boxes_found: int = 0
    altered: int = 0
    altered_nothing: int = 0
    altered_replaced: int = 0
    altered_hits: int = 0
    labeled_pixels: int = 0
    labeled_right: int = 0
    object_pixels: int = 0


@dataclass
class Result:
    """Counts for one game and variant."""

    frames: int = 0
    vision_errors: int = 0
    vision_frames: int = 0
    changed_pixels: int = 0
    changed_in_boxes: int = 0
    classes: dict[str, ClassResult] = field(default_factory=lambda: defaultdict(ClassResult))


def play(game: RawAtariEnv, seed: int) -> Iterator[tuple[Image, dict[str, Any], bool]]:
    """Play random, mostly repeated actions, FIRE first; yield observation, info and whether the episode is new."""
    rng = np.random.default_rng(seed)
    observation, info = game.reset(seed=seed)
    yield observation, info, True
    action = min(1, game.action_space.n - 1)
    while True:
        if rng.random() > REPEAT:
            action = int(rng.integers(game.action_space.n))
        observation, _, terminated, truncated, info = game.step(np.int64(action))
        yield observation, info, False
        if terminated or truncated:
            observation, info = game.reset(seed=int(rng.integers(2**31)))
            yield observation, info, True


def intersection_over_union(one: Rectangle, other: Rectangle) -> float:
    """Return the IoU of two boxes (left, top, width, height)."""
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    tall = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(wide, 0) * max(tall, 0)
    return both / (one[2] * one[3] + other[2] * other[3] - both)


def matched(ones: Sequence[Rectangle], others: Sequence[Rectangle]) -> tuple[set[int], set[int]]:
    """Return the boxes of each source that match one of the other, in a largest one-to-one matching."""
    if not ones or not others:
        return set(), set()
    same = np.array([[intersection_over_union(one, other) >= SAME_BOX for other in others] for one in ones])
    rows, columns = linear_sum_assignment(same, maximize=True)
    pairs = [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if same[row, column]]
    return {row for row, _ in pairs}, {column for _, column in pairs}


class Vision:
    """OCAtari's detector of colors on the screen; it needs its own objects in some games, the RAM's in others."""

    def __init__(self, game: str) -> None:
        self._game = game
        self._ram = importlib.import_module("ocatari.ram.extract_ram_info")
        self._vision = importlib.import_module("ocatari.vision.extract_vision_info")
        self._own_objects = False
        self._objects = self._start()

    def _start(self) -> list[Any]:
        return list(self._ram.init_objects(self._game, True, vision=self._own_objects))

    def boxes(self, screen: Image) -> dict[str, list[Rectangle]] | None:
        """Return the boxes of a screen by class, ``None`` if the detector fails on it."""
        try:
            self._vision.detect_objects_vision(self._objects, screen, self._game, True)
        except Exception:  # The detector fails in many ways on unknown screens.
            self._restart()
            return None
        found = defaultdict(list)
        for each in self._objects:
            if each and each.category != "NoObject" and min(each.wh) > 0:
                left, top, width, height = (int(value) for value in each.xywh)
                found[class_name(each.category)].append((left, top, width, height))
        return found

    def _restart(self) -> None:
        """Start with the other kind of objects, or with the same kind if a game does not have the other."""
        self._own_objects = not self._own_objects
        try:
            self._objects = self._start()
        except Exception:
            self._own_objects = not self._own_objects
            self._objects = self._start()


def flat(boxes: dict[str, list[Rectangle]]) -> tuple[list[str], list[Rectangle]]:
    """Return the classes and the boxes of a dictionary, in the same order."""
    pairs = [(name, box) for name, boxes_of in boxes.items() for box in boxes_of]
    return [name for name, _ in pairs], [box for _, box in pairs]


def compare_with_vision(game: RawAtariEnv, result: Result, frames: int) -> None:
    """Count the boxes that the other detector confirms, in this or the previous frame, whichever agrees better."""
    vision, names = Vision(game.options.game), game.options.spec().names
    start, steps = time.process_time(), 0
    for _, _, new in play(game, 1):
        steps += 1
        if steps > 4 * frames or result.vision_frames >= frames or time.process_time() - start > VISION_SECONDS:
            return
        if new or steps % 4:
            continue
        seen = vision.boxes(game.ale.getScreenRGB())
        if seen is None:
            result.vision_errors += 1
            continue
        result.vision_frames += 1
        seen_names, seen_boxes = flat(seen)
        candidates = []
        for boxes in (game.boxes, game.previous_boxes):
            found, confirmed = matched([box[1:] for box in boxes], seen_boxes)
            candidates.append((len(found), boxes, found, confirmed))
        _, boxes, found, confirmed = max(candidates, key=lambda each: each[0])
        count_boxes(result, [names[box.label] for box in boxes], found, seen_names, confirmed)


def count_boxes(
    result: Result, ram_names: list[str], found: set[int], seen_names: list[str], confirmed: set[int]
) -> None:
    """Add the boxes of one frame."""
    for index, name in enumerate(ram_names):
        result.classes[name].ram_boxes += 1
        result.classes[name].ram_boxes_seen += index in found
    for index, name in enumerate(seen_names):
        result.classes[name].vision_boxes += 1
        result.classes[name].vision_boxes_found += index in confirmed


def measure_motion(game: RawAtariEnv, result: Result, frames: int) -> None:
    """Count the changing pixels inside and outside the boxes."""
    before: tuple[Image, Mask] | None = None
    for observation, info, new in play(game, 2):
        labeled = info[KEY] > 0
        if before is not None and not new:
            changed = (observation != before[0]).any(axis=-1)
            result.changed_pixels += int(changed.sum())
            result.changed_in_boxes += int((changed & (labeled | before[1])).sum())
        before = observation, labeled
        result.frames += 1
        if result.frames >= frames:
            return


def replay(
    game: RawAtariEnv, state: Any, modes: Sequence[str], alteration: tuple[int, int] | None = None
) -> tuple[Image, list[Image]]:
    """Return the observation and its label map in each mode after one step from a state.

    The detector is reset both with and without an alteration, because its state belongs to another episode.

    Args:
        game: the game.
        state: the emulator's state to start from.
        modes: modes of the painters, ``box`` or ``silhouette``.
        alteration: address and value of a byte of RAM that is changed; ``None`` changes nothing.
    """
    label_maps = []
    for mode in modes:
        game.ale.restoreState(state)
        if alteration is not None:
            game.ale.setRAM(*alteration)
        game.detector.reset()
        game.detector.update(game.ale.getRAM())
        game.boxes = game.previous_boxes = game.detector.boxes()
        game.painter = PAINTERS[mode]
        image, _, _, _, info = game.step(np.int64(0))
        label_maps.append(info[KEY])
    return image, label_maps


PAINTERS = {"box": LabelPainter("box"), "silhouette": LabelPainter("silhouette")}


def grown(mask: Mask, margin: int) -> Mask:
    """Return a mask with a margin around it."""
    side = 2 * margin + 1
    return cv2.dilate(mask.view(np.uint8), np.ones((side, side), np.uint8)) > 0


def bounds(mask: Mask) -> Rectangle:
    """Return the bounding box (left, top, width, height) of a mask that is not empty."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return left, top, width, height


def objects_that_left(before: Image, after: Image) -> Iterator[tuple[int, Mask, Mask]]:
    """Yield label, boxes and surroundings of each isolated object that is elsewhere after an alteration.

    Boxes that touch count as one object. An object is left out if another one of its class is near, or if nearby boxes
    of other classes change too.
    """
    for label in np.flatnonzero(np.bincount(before.ravel()))[1:]:
        now = grown(after == label, MARGIN)
        count, parts = cv2.connectedComponents((before == label).view(np.uint8), connectivity=8)
        for part in range(1, count):
            box = parts == part
            around = grown(box, MARGIN)
            others = around & (before != label) & (before != after)
            if not (around & now).any() and not others.any() and not (around & ~box & (before == label)).any():
                yield int(label), box, around


def measure_alterations(game: RawAtariEnv, result: Result, states: int) -> None:
    """Change each byte of RAM in some states and compare what changes on the screen with the label maps."""
    rng = np.random.default_rng(3)
    names = game.options.spec().names
    sampled = 0
    for step, _ in enumerate(play(game, 4)):
        if step == 0 or step % 40:
            continue
        state = game.ale.cloneState()
        ram = game.ale.getRAM()
        kept = game.boxes, game.previous_boxes
        image, (boxes, silhouettes) = replay(game, state, ("box", "silhouette"))
        old_boxes = (*game.boxes, *game.previous_boxes)
        for address in range(128):
            value = (int(ram[address]) + int(rng.integers(8, 248))) % 256
            try:
                altered, (altered_boxes,) = replay(game, state, ("box",), (address, value))
            except Exception:  # The detector may fail on RAM that the game never has.
                continue
            changed = (image != altered).any(axis=-1)
            everywhere = grown((boxes > 0) | (altered_boxes > 0), MARGIN)
            if not (boxes != altered_boxes).any() or (changed & ~everywhere).sum() > LOCAL:
                continue
            still_drawn = PAINTERS["silhouette"].paint(game.ale.getScreen(), old_boxes) > 0
            for label, box, around in objects_that_left(boxes, altered_boxes):
                drawn, labeled = changed & around, (silhouettes == label) & around
                count_object(result.classes[names[label]], box, drawn, labeled, still_drawn)
        game.ale.restoreState(state)
        game.detector.reset()
        game.boxes, game.previous_boxes = kept
        sampled += 1
        if sampled >= states:
            return


def count_object(counts: ClassResult, box: Mask, drawn: Mask, labeled: Mask, still_drawn: Mask) -> None:
    """Add one object that moved away: its box, its drawn pixels, and its labeled pixels.

    If no pixel changes, either nothing was drawn there, or the game draws from other bytes than the detector reads. If
    something else is drawn afterwards, such as an explosion, the object's pixels are unknown.
    """
    if not drawn.any():
        counts.altered_nothing += 1
        return
    if (still_drawn & box).any():
        counts.altered_replaced += 1
        return
    counts.altered += 1
    counts.labeled_pixels += int(labeled.sum())
    counts.labeled_right += int((labeled & drawn).sum())
    counts.object_pixels += int(drawn.sum())
    counts.altered_hits += intersection_over_union(bounds(box), bounds(drawn)) >= SAME_BOX
