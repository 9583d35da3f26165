"""A contact sheet: frames, their segmentation, attention maps, and the policy's decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from camal_rl.agents.config import AttentionTarget
from camal_rl.atomic import replacing
from camal_rl.overlays import RGBImage, class_colors, colored_segmentation, enlarged, heatmap_overlay, to_grayscale
from camal_rl.rl.frames import FrameSet
from camal_rl.rl.policy_outputs import PolicyOutputs

# Positions are in pixels at this resolution, so that a cell of a sheet is an exact copy of its picture.
_DPI = 100
_CELL = 192
_GAP = 8
_MARGIN = 16
_TEXT_WIDTH = 132
_HEAD = 76
_FOOT = 62
_LEGEND_ROW = 20
_LEGEND_ENTRY = 130
_BAR_WIDTH = 150
_NUMBERS = 6
_MAP_TITLES: dict[AttentionTarget, str] = {
    "value": "value map",
    "policy": "policy map: preferred action",
    "q": "Q map: preferred action",
}


@dataclass(frozen=True)
class SheetText:
    """The texts of a sheet.

    Attributes:
        title: the agent and its environment.
        maps: description of the maps.
        action_names: one for each action.
        class_names: ``class_names[id]`` is the name of a class; ``None`` leaves the segmentation out.
    """

    title: str
    maps: str
    action_names: Sequence[str]
    class_names: Sequence[str] | None


def write_contact_sheet(path: Path, frames: FrameSet, outputs: PolicyOutputs, text: SheetText) -> None:
    """Write a PNG with one row for each frame: frame | segmentation | a map for each attention target.

    The file is written atomically and replaces an earlier one; missing folders are created.

    Args:
        path: the file.
        frames: N frames with their label maps.
        outputs: the policy's outputs for them, for the preferred actions.
        text: titles and names.

    Raises:
        ValueError: there are no frames, or the outputs belong to others.
    """
    figure = contact_sheet(frames, outputs, text)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=_DPI)


def contact_sheet(frames: FrameSet, outputs: PolicyOutputs, text: SheetText) -> Figure:
    """Return the figure that :func:`write_contact_sheet` writes."""
    if len(frames) != len(outputs) or len(frames) == 0:
        raise ValueError(f"expected one output for each of at least one frame, got {len(frames)} and {len(outputs)}")
    columns = _columns(frames, outputs, with_segmentation=text.class_names is not None)
    cell_height, cell_width = columns["frame"][0].shape[:2]
    entries = _legend_entries(frames, text.class_names)
    width = 2 * _MARGIN + _TEXT_WIDTH + len(columns) * (cell_width + _GAP) - _GAP
    legend_columns = max(1, (width - 2 * _MARGIN - _BAR_WIDTH) // _LEGEND_ENTRY)
    foot = max(_FOOT, _LEGEND_ROW * -(-len(entries) // legend_columns) + 2 * _GAP)
    height = _HEAD + len(frames) * (cell_height + _GAP) + foot
    page = _Page(width, height)
    with mpl.rc_context({"font.size": 9, "font.family": "DejaVu Sans"}):
        page.write(_MARGIN, 24, text.title, size=12)
        page.write(_MARGIN, 44, text.maps, color="0.35")
        for place, (title, pictures) in enumerate(columns.items()):
            left = _MARGIN + _TEXT_WIDTH + place * (cell_width + _GAP)
            page.write(left, _HEAD - 8, title)
            for row, picture in enumerate(pictures):
                page.show(left, _HEAD + row * (cell_height + _GAP), picture)
        for row in range(len(frames)):
            page.write(_MARGIN, _HEAD + row * (cell_height + _GAP) + 16, _row_text(outputs, text, row), top=True)
        page.legend(entries, legend_columns, foot)
        page.color_bar(foot)
        return page.figure


class _Page:
    """A figure addressed in pixels from its top left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        FigureCanvasAgg(self.figure)

    def axes(self, left: int, top: int, width: int, height: int) -> Axes:
        bottom = self.height - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def show(self, left: int, top: int, picture: RGBImage) -> None:
        axes = self.axes(left, top, picture.shape[1], picture.shape[0])
        axes.imshow(picture, interpolation="nearest", aspect="auto")
        axes.set_axis_off()

    def write(
        self, left: int, baseline: int, text: str, size: float = 9, color: str = "black", top: bool = False
    ) -> None:
        """Write text on a baseline, or with the top of its first line at that position."""
        where = (left / self.width, 1 - baseline / self.height)
        alignment = "top" if top else "baseline"
        self.figure.text(*where, text, size=size, color=color, va=alignment, linespacing=1.6)

    def legend(self, entries: Sequence[Patch], columns: int, height: int) -> None:
        if entries:
            self.figure.legend(
                handles=list(entries),
                loc="upper left",
                bbox_to_anchor=(_MARGIN / self.width, height / self.height),
                ncols=columns,
                frameon=False,
                borderpad=0,
                borderaxespad=0,
                handlelength=1.2,
                handleheight=1.2,
            )

    def color_bar(self, height: int) -> None:
        axes = self.axes(self.width - _MARGIN - _BAR_WIDTH, self.height - height + 4, _BAR_WIDTH, 12)
        axes.imshow(np.linspace(0, 1, 256)[None], cmap="inferno", aspect="auto", extent=(0, 1, 0, 1))
        axes.set_yticks([])
        axes.set_xticks([0, 0.5, 1], ["0", "attention", "1"])
        axes.tick_params(length=0)


def _columns(frames: FrameSet, outputs: PolicyOutputs, with_segmentation: bool) -> dict[str, list[RGBImage]]:
    images = [enlarged(image, _CELL) for image in frames.pictures]
    columns = {"frame": images}
    if with_segmentation:
        columns["segmentation"] = [enlarged(picture, _CELL) for picture in colored_segmentation(frames.labels)]
    for name, maps in outputs.maps.items():
        # A non-finite map cannot be drawn over the frame.
        columns[_MAP_TITLES[name]] = [
            heatmap_overlay(to_grayscale(image), cam) if np.isfinite(cam).all() else image
            for image, cam in zip(images, maps, strict=True)
        ]
    return columns


def _row_text(outputs: PolicyOutputs, text: SheetText, row: int) -> str:
    lines = [f"value {outputs.values[row]:.2f}", *_decision(outputs, text.action_names, row)]
    for name, maps in outputs.maps.items():
        if not np.isfinite(maps[row]).all():
            lines.append(f"{name} map: not finite")
        elif not maps[row].any():
            lines.append(f"{name} map: all zero")
    return "\n".join(lines)


def _decision(outputs: PolicyOutputs, names: Sequence[str], row: int) -> list[str]:
    """Return the preferred action: its name and score, or mean and deviation of the numbers that have room."""
    if outputs.gaussians is None:
        return [
            f"prefers {names[outputs.actions[row]]}",
            f"with {outputs.score_name} = {outputs.chosen_scores[row]:.2f}",
        ]
    pairs = outputs.gaussians[row].reshape(2, -1).T
    lines = [f"{name} {mean:+.2f} ± {std:.2f}" for name, (mean, std) in zip(names, pairs, strict=True)]
    return lines if len(lines) <= _NUMBERS else [*lines[: _NUMBERS - 1], f"and {len(lines) - _NUMBERS + 1} more"]


def _legend_entries(frames: FrameSet, names: Sequence[str] | None) -> list[Patch]:
    """Return a patch for each class that occurs; relevant ones are marked with ``*``."""
    if names is None:
        return []
    colors = class_colors() / 255
    present = [int(label) for label in np.unique(frames.labels)]
    entries = [
        Patch(color=colors[label], label=names[label] + " *" * bool(frames.relevant[label])) for label in present
    ]
    return [*entries, Patch(color="none", label="* relevant")]
