"""Learning curves from TensorBoard's event files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


class UnreadableCurvesWarning(UserWarning):
    """Event files cannot be read; the message names their folder in one line."""


def read_curves(folder: Path, tags: Sequence[str]) -> dict[str, Curve]:
    """Return steps and values of the scalars ``tags`` logged in ``folder``; missing tags are left out.

    A folder whose event files cannot be read is left out with an :class:`UnreadableCurvesWarning`. TensorBoard silently
    stops reading a file at a wrong checksum.
    """
    curves: dict[str, Curve] = {}
    for path in sorted({file.parent for file in folder.rglob("events.out.tfevents.*")}):
        try:
            curves |= _read_folder(path, tags)
        # Errors of the record and protocol buffer readers on a damaged file.
        except Exception as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            line = f"the event files in {path} cannot be read ({told}): its learning curves are left out"
            warnings.warn(line, UnreadableCurvesWarning, stacklevel=2)
    return curves


def _read_folder(path: Path, tags: Sequence[str]) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    events = EventAccumulator(str(path), size_guidance={"scalars": 0})
    events.Reload()
    for tag in set(tags) & set(events.Tags()["scalars"]):
        scalars = events.Scalars(tag)
        steps = np.array([scalar.step for scalar in scalars], dtype=np.float64)
        values = np.array([scalar.value for scalar in scalars], dtype=np.float64)
        # If the clock was set back between two parts of a run, their files are in the wrong order.
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
        finite = np.isfinite(values)
        if finite.any():
            curves[tag] = steps[finite], values[finite]
    return curves


def mean_curve(curves: Sequence[Curve], points: int = 200) -> Curve:
    """Return the mean of several curves over the steps that all of them cover, linearly interpolated."""
    if not curves:
        raise ValueError("the mean of no curves is not defined")
    start, stop = max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves)
    grid = np.linspace(start, stop, points)
    return grid, np.mean([np.interp(grid, steps, values) for steps, values in curves], axis=0)
