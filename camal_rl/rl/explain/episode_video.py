"""The pictures of an episode's video: frame, attention maps, the decision, and the value over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from camal_rl.overlays import RGBImage, as_rgb, enlarged, heatmap_overlay, to_grayscale
from camal_rl.rl.explain.decision import MAP_TITLES, SCORE_TITLES, bar_shares, taken_words
from camal_rl.rl.explain.episode import Recording
from camal_rl.rl.policy_outputs import PolicyOutputs

Color = tuple[int, int, int]

_PANEL = 288
_MARGIN = 12
_HEADER = 76
_TITLE = 24
_PLOT = 168
_NAME_WIDTH = 96
_NUMBER_WIDTH = 44
_ROW = 18

_BACKGROUND: Color = (24, 24, 24)
_TEXT: Color = (235, 235, 235)
_FAINT: Color = (150, 150, 150)
_LINE: Color = (70, 70, 70)
_BAR: Color = (110, 130, 150)
_TAKEN: Color = (255, 170, 60)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SCALE = 0.45


@dataclass(frozen=True)
class VideoText:
    """The texts of a video.

    Attributes:
        title: the agent and its environment; the first line.
        maps: description of the maps; the second line.
        action_names: one for each action.
        value: name of the value.
    """

    title: str
    maps: str
    action_names: Sequence[str]
    value: str = "value"


def episode_pictures(recording: Recording, outputs: PolicyOutputs, text: VideoText) -> Iterator[RGBImage]:
    """Yield one picture for each step of an episode, all of the same size.

    Everything on a picture belongs to one step: the frame, the maps and the value of that frame, the action chosen for
    it, the reward of that action, and the return including that reward.

    Args:
        recording: T steps.
        outputs: the policy's outputs for its frames, for the actions that were taken.
        text: title and names.
    """
    if len(outputs) != len(recording) or (outputs.actions != recording.actions).any():
        raise ValueError("the outputs must belong to the recording's frames and the actions that were taken")
    if len(text.action_names) != outputs.action_scores.shape[1]:
        raise ValueError(f"expected {outputs.action_scores.shape[1]} action names, got {len(text.action_names)}")
    panel = enlarged(as_rgb(recording.frames[0]), _PANEL)
    layout = _Layout.of(panel, len(text.action_names), 1 + len(outputs.maps))
    backdrop = _backdrop(layout, text, SCORE_TITLES[outputs.score_name])
    shares = bar_shares(outputs, outputs)
    curve = _Curve.of(layout, outputs.values)
    curve.draw_axes(backdrop)
    for step in range(len(recording)):
        # The curve is extended on the backdrop, so each picture draws only one segment.
        curve.extend(backdrop, step)
        picture = backdrop.copy()
        _draw_panels(picture, layout, recording, outputs, step)
        _draw_status(picture, layout, recording, outputs, text, step)
        _draw_bars(picture, layout, outputs, shares, step)
        curve.draw_dot(picture, step)
        yield picture


@dataclass(frozen=True)
class _Layout:
    """The layout in pixels."""

    panel: tuple[int, int]
    actions: int
    columns: int

    @classmethod
    def of(cls, panel: RGBImage, actions: int, columns: int) -> _Layout:
        return cls((panel.shape[0], panel.shape[1]), actions, columns)

    @property
    def width(self) -> int:
        return self.columns * (self.panel[1] + _MARGIN) + _MARGIN

    @property
    def top(self) -> int:
        """First row of the panels."""
        return _HEADER + _TITLE

    @property
    def below(self) -> int:
        """First row under the panels."""
        return self.top + self.panel[0] + _MARGIN

    @property
    def plot_height(self) -> int:
        return max(_PLOT, self.actions * _ROW)

    @property
    def row(self) -> int:
        """Height of an action's row."""
        return min(self.plot_height // self.actions, 2 * _ROW)

    def row_top(self, action: int) -> int:
        return self.below + _TITLE + action * self.row

    @property
    def height(self) -> int:
        return self.below + _TITLE + self.plot_height + _MARGIN

    def left(self, column: int) -> int:
        return _MARGIN + column * (self.panel[1] + _MARGIN)


def _write(
    picture: RGBImage, text: str, left: int, baseline: int, color: Color = _TEXT, room: int | None = None
) -> None:
    """Write text, smaller where it would be wider than ``room``."""
    scale = _SCALE if room is None else _SCALE * min(1.0, room / max(1, _text_width(text)))
    cv2.putText(picture, text, (left, baseline), _FONT, scale, color, 1, cv2.LINE_AA)


def _text_width(text: str) -> int:
    return int(cv2.getTextSize(text, _FONT, _SCALE, 1)[0][0])


def _backdrop(layout: _Layout, text: VideoText, scores: str) -> RGBImage:
    """Return the background shared by all pictures of an episode."""
    picture = np.full((layout.height, layout.width, 3), _BACKGROUND, dtype=np.uint8)
    room = layout.width - 2 * _MARGIN
    _write(picture, text.title, layout.left(0), 20, room=room)
    _write(picture, text.maps, layout.left(0), 40, _FAINT, room=room)
    _write(picture, scores, layout.left(0), layout.below + 14)
    _write(picture, f"{text.value} over the episode", layout.left(1), layout.below + 14)
    for action, name in enumerate(text.action_names):
        _write(picture, name, layout.left(0), layout.row_top(action) + layout.row // 2 + 5, room=_NAME_WIDTH - 6)
    return picture


def _draw_panels(picture: RGBImage, layout: _Layout, recording: Recording, outputs: PolicyOutputs, step: int) -> None:
    frame = enlarged(as_rgb(recording.frames[step]), _PANEL)
    last = step == len(recording) - 1
    ending = "last frame of the episode" if recording.ended else "last frame: the episode is cut here"
    _draw_panel(picture, layout, 0, frame, ending if last else "frame", _TAKEN if last else _TEXT)
    gray = to_grayscale(frame)
    for column, (name, maps) in enumerate(outputs.maps.items(), start=1):
        cam = maps[step]
        panel = heatmap_overlay(gray, cam) if np.isfinite(cam).all() else frame
        _draw_panel(picture, layout, column, panel, MAP_TITLES[name] + _remark(cam))


def _draw_panel(
    picture: RGBImage, layout: _Layout, column: int, panel: RGBImage, title: str, color: Color = _TEXT
) -> None:
    left, (height, width) = layout.left(column), layout.panel
    picture[layout.top : layout.top + height, left : left + width] = panel
    _write(picture, title, left, layout.top - 8, color, room=width)


def _remark(cam: npt.NDArray[np.float32]) -> str:
    if not np.isfinite(cam).all():
        return ": not finite"
    return "" if cam.any() else ": zero everywhere"


def _draw_status(
    picture: RGBImage, layout: _Layout, recording: Recording, outputs: PolicyOutputs, text: VideoText, step: int
) -> None:
    fields = (
        f"step {step + 1} of {len(recording)}",
        f"action {taken_words(outputs, text.action_names)[step]}",
        f"value {outputs.values[step]:.2f}",
        f"reward {recording.rewards[step]:+.2f}",
        f"return {recording.returns[step]:.2f}",
    )
    left, room = layout.left(0), layout.width - 2 * _MARGIN
    for field, share in zip(fields, (0.2, 0.3, 0.16, 0.17, 0.17), strict=True):
        _write(picture, field, left, 66, room=int(share * room) - 8)
        left += int(share * room)


def _draw_bars(
    picture: RGBImage, layout: _Layout, outputs: PolicyOutputs, shares: npt.NDArray[np.float32], step: int
) -> None:
    left = layout.left(0) + _NAME_WIDTH
    right = layout.left(0) + layout.panel[1] - _NUMBER_WIDTH
    for action, score in enumerate(outputs.action_scores[step]):
        top = layout.row_top(action)
        color = _TAKEN if outputs.gaussians is None and action == outputs.actions[step] else _BAR
        end = left + round((right - left) * float(shares[step, action]))
        cv2.rectangle(picture, (left, top + 3), (end, top + layout.row - 4), color, cv2.FILLED)
        _write(picture, f"{score:.2f}", right + 8, top + layout.row // 2 + 5)


@dataclass(frozen=True)
class _Curve:
    """The values of an episode as points of a plot: left, top, right and bottom in pixels, the range in values."""

    box: tuple[int, int, int, int]
    low: float
    high: float
    points: npt.NDArray[np.int32]

    @classmethod
    def of(cls, layout: _Layout, values: npt.NDArray[np.float32]) -> _Curve:
        top = layout.below + _TITLE
        left, right = layout.left(1) + _NUMBER_WIDTH + 8, layout.width - _MARGIN - 1
        bottom = top + layout.plot_height - _ROW
        shown = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
        low, high = float(shown.min()), float(shown.max())
        room = 0.05 * (high - low) or 0.5
        low, high = low - room, high + room
        columns = np.linspace(left, right, len(shown)) if len(shown) > 1 else np.array([left])
        rows = bottom - (shown - low) / (high - low) * (bottom - top)
        return cls((left, top, right, bottom), low, high, np.stack([columns, rows], axis=1).round().astype(np.int32))

    def draw_axes(self, picture: RGBImage) -> None:
        left, top, right, bottom = self.box
        cv2.rectangle(picture, (left, top), (right, bottom), _LINE)
        if self.low < 0 < self.high:
            zero = round(bottom + self.low / (self.high - self.low) * (bottom - top))
            cv2.line(picture, (left, zero), (right, zero), _LINE)
        for number, baseline in ((self.high, top + 10), (self.low, bottom)):
            label = f"{number:.2f}"
            _write(picture, label, left - 6 - _text_width(label), baseline, _FAINT)
        last = f"step {len(self.points)}"
        _write(picture, "step 1", left, bottom + 15, _FAINT)
        _write(picture, last, right - _text_width(last), bottom + 15, _FAINT)

    def extend(self, picture: RGBImage, step: int) -> None:
        """Draw the segment that leads to a step."""
        before, here = (self.points[max(0, index)].tolist() for index in (step - 1, step))
        cv2.line(picture, before, here, _TEXT, 1, cv2.LINE_AA)

    def draw_dot(self, picture: RGBImage, step: int) -> None:
        cv2.circle(picture, self.points[step].tolist(), 4, _TAKEN, cv2.FILLED, cv2.LINE_AA)
