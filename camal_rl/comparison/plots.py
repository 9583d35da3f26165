"""Plots of a comparison: learning curves, results of every seed, and attention on the same frames."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from camal_rl.atomic import explained, replacing
from camal_rl.comparison.estimates import Estimate, estimates
from camal_rl.comparison.figure_words import figure_words
from camal_rl.comparison.figures import headline_keys
from camal_rl.comparison.groups import Group
from camal_rl.comparison.plan import PlannedRun
from camal_rl.overlays import sheet, write_png
from camal_rl.runs.curves import Curve, mean_curve, read_curves
from camal_rl.runs.results import ResultKey
from camal_rl.runs.task import task_of

_PICTURE_FRAMES = 5
_TITLE_WIDTH = 34
_MARGIN = 0.04
_NAMES_IN_A_ROW = 3


def write_plots(group: Group, out: Path) -> list[Path]:
    """Write the plots of a finished comparison and a sheet of attention maps; return the paths of the written files."""
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
    paths = [out / "learning_curves.png", out / "seeds.png"]
    _save(learning_curves(group.runs), paths[0])
    _save(seed_plot(group), paths[1])
    with contextlib.suppress(ImportError, OSError, ValueError):  # no masks, or no simulator here
        grid = group.task.attention_grid(_first_runs(group.runs), _PICTURE_FRAMES)
        paths.append(out / "attention.png")
        write_png(paths[2], sheet(grid.columns))
    return paths


def learning_curves(runs: Sequence[PlannedRun]) -> Figure:
    """Plot return and alignment over training: thin lines are seeds, thick ones their mean."""
    task = task_of(runs[0].config)
    curves = {planned: read_curves(planned.folder.tensorboard, list(task.curves)) for planned in runs}
    shown = [tag for tag in task.curves if any(tag in found for found in curves.values())]
    plot, panels = curve_panels(
        {
            tag: {
                method: [curves[run][tag] for run in runs if run.method == method and tag in curves[run]]
                for method in _colors(runs)
            }
            for tag in shown
        }
    )
    for tag, axes in panels.items():
        axes.set(xlabel=runs[0].config.step_name, title=task.curves[tag])
    for tags in task.same_axis:
        share_axis([axes for tag, axes in panels.items() if tag in tags])
    return plot


def curve_panels(curves: Mapping[str, Mapping[str, Sequence[Curve]]]) -> tuple[Figure, dict[str, Axes]]:
    """Return the plot of some learning curves, by tag and method, and its panels by tag."""
    plot = Figure(figsize=(5 * max(1, len(curves)), 3.6), layout="constrained")
    panels = {tag: plot.add_subplot(1, len(curves), column + 1) for column, tag in enumerate(curves)}
    for tag, axes in panels.items():
        for place, (method, of_method) in enumerate(curves[tag].items()):
            _plot_method(axes, of_method, method, f"C{place}")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return plot, panels


def share_axis(panels: Sequence[Axes]) -> None:
    """Give panels the same range of values, so that their heights can be compared."""
    if len(panels) > 1:
        lows, highs = zip(*(axes.get_ylim() for axes in panels), strict=True)
        # The margin of a panel with a small range is too small for the common range.
        margin = _MARGIN * (max(highs) - min(lows))
        for axes in panels:
            axes.set_ylim(min(lows) - margin, max(highs) + margin)


def share_over_level_sets(panels: Mapping[ResultKey, Axes]) -> None:
    """Give the panels of one figure on several level sets one axis."""
    for figure in {key._replace(level_set=None) for key in panels}:
        share_axis([axes for key, axes in panels.items() if key._replace(level_set=None) == figure])


def seed_plot(group: Group) -> Figure:
    """Plot the headline figures: one dot for each seed, a bar at the mean; over the level sets on one axis."""
    plot, panels = seed_panels(group, headline_keys(group))
    share_over_level_sets(panels)
    return plot


def seed_panels(group: Group, keys: Sequence[ResultKey]) -> tuple[Figure, dict[ResultKey, Axes]]:
    """Return the plot of some figures and its panels by figure, every one with its own axis."""
    plot, panels = dot_panels([(figure_words(key, arrow=True), estimates(group, key)) for key in keys])
    return plot, dict(zip(keys, panels, strict=True))


def dot_panels(shown: Sequence[tuple[str, Mapping[str, Estimate]]]) -> tuple[Figure, list[Axes]]:
    """Return the plot of some figures, titles with every method's seeds, and its panels, each with its own axis."""
    columns = max(1, min(4, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    plot = Figure(figsize=(2.9 * columns, 2.5 * rows), layout="constrained")
    panels = [plot.add_subplot(rows, columns, index + 1) for index in range(len(shown))]
    for (title, methods), axes in zip(shown, panels, strict=True):
        for place, estimate in enumerate(methods.values()):
            values = list(estimate.seeds.values())
            shift = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else np.zeros(len(values))
            axes.scatter(place + shift, values, color=f"C{place}", alpha=0.7, s=22, zorder=2)
            if values:
                axes.hlines(np.mean(values), place - 0.3, place + 0.3, color=f"C{place}", linewidth=2.5, zorder=3)
        # With more methods, names side by side would overlap.
        axes.set_xticks(range(len(methods)), list(methods), rotation=30 if len(methods) > _NAMES_IN_A_ROW else 0)
        axes.set_xlim(-0.6, len(methods) - 0.4)
        axes.set_title(fill(title, _TITLE_WIDTH), fontsize=9)
        axes.grid(alpha=0.3, axis="y")
    return plot, panels


def _first_runs(runs: Sequence[PlannedRun]) -> dict[str, PlannedRun]:
    """Return the first run of each method, in the methods' order."""
    first = {planned.method: planned for planned in reversed(runs)}
    return {method: first[method] for method in _colors(runs)}


def _colors(runs: Sequence[PlannedRun]) -> dict[str, str]:
    methods = dict.fromkeys(planned.method for planned in runs)
    return {method: f"C{index}" for index, method in enumerate(methods)}


def _plot_method(axes: Axes, curves: Sequence[Curve], method: str, color: str) -> None:
    for steps, values in curves:
        # A curve of one point would be an invisible line.
        axes.plot(steps, values, color=color, alpha=0.35, linewidth=0.9, marker="." if len(steps) == 1 else None)
    if curves:
        label = f"{method}, {len(curves)} seed{'s' * (len(curves) > 1)}"
        axes.plot(*mean_curve(curves), color=color, linewidth=2.2, label=label)


def _save(plot: Figure, path: Path) -> None:
    """Write a plot without the global state of pyplot."""
    FigureCanvasAgg(plot)
    with mpl.rc_context({"font.size": 9}), replacing(path) as partial:
        plot.savefig(partial, dpi=130)
