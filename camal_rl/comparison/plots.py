"""Plots of a comparison: learning curves, results of every seed, and attention on the same frames."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from camal_rl.atomic import explained, replacing
from camal_rl.comparison.estimates import Estimate, estimates
from camal_rl.comparison.figure_words import figure_words
from camal_rl.comparison.figures import headline_keys
from camal_rl.comparison.groups import MANY_METHODS, Group
from camal_rl.comparison.plan import PlannedRun
from camal_rl.overlays import sheet, write_png
from camal_rl.runs.curves import Curve, mean_curve, read_curves
from camal_rl.runs.results import ResultKey
from camal_rl.runs.task import task_of

_PICTURE_FRAMES = 5
_TITLE_WIDTH = 34
_MARGIN = 0.04
_NAMES_IN_A_ROW = 3
_CYCLE = 10


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
                for method in _methods(runs)
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
    many = max(map(len, curves.values()), default=0) > MANY_METHODS
    plot = Figure(figsize=(5 * max(1, len(curves)), 3.6), layout="constrained")
    panels = {tag: plot.add_subplot(1, len(curves), column + 1) for column, tag in enumerate(curves)}
    for tag, axes in panels.items():
        colors = method_colors(len(curves[tag]))
        for (method, of_method), color in zip(curves[tag].items(), colors, strict=True):
            _plot_method(axes, of_method, method, color)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        if not many:
            axes.legend(frameon=False)
    if many:
        # One legend beside the panels: within them it would cover the curves.
        drawn = [line for axes in panels.values() for line in axes.get_legend_handles_labels()[0]]
        lines = {str(line.get_label()): line for line in drawn}
        plot.legend(lines.values(), lines, loc="outside right upper", frameon=False)
    return plot, panels


def method_colors(count: int) -> list[Any]:
    """Return a color for each of some methods; up to ten are those of matplotlib's cycle."""
    if count <= _CYCLE:
        return [f"C{place}" for place in range(count)]
    return [mpl.colormaps["tab20"](place % 20) for place in range(count)]


def share_axis(panels: Sequence[Axes], across: bool = False) -> None:
    """Give panels one range of values, so that they compare: upwards, or across where values grow to the right."""
    if len(panels) > 1:
        ends = [axes.get_xlim() if across else axes.get_ylim() for axes in panels]
        lows, highs = zip(*ends, strict=True)
        # A panel with a small range of its own has a margin too small for the common one.
        margin = _MARGIN * (max(highs) - min(lows))
        for axes in panels:
            (axes.set_xlim if across else axes.set_ylim)(min(lows) - margin, max(highs) + margin)


def share_over_level_sets(panels: Mapping[ResultKey, Axes], across: bool = False) -> None:
    """Give the panels of one figure on several level sets one axis."""
    for figure in {key._replace(level_set=None) for key in panels}:
        share_axis([axes for key, axes in panels.items() if key._replace(level_set=None) == figure], across)


def seed_plot(group: Group) -> Figure:
    """Plot the headline figures: one dot for each seed, a bar at the mean; over the level sets on one axis."""
    return seed_panels(group, headline_keys(group))


def seed_panels(group: Group, keys: Sequence[ResultKey], intervals: bool = False) -> Figure:
    """Return the plot of some figures, a panel for each; the panels of one figure have one axis."""
    shown = [(figure_words(key, arrow=True), estimates(group, key)) for key in keys]
    plot, panels = dot_panels(shown, intervals)
    share_over_level_sets(dict(zip(keys, panels, strict=True)), values_grow_to_the_right(len(group.methods)))
    return plot


def values_grow_to_the_right(methods: int) -> bool:
    """Say whether plots of so many methods have a line for each, so that their names can be read."""
    return methods > MANY_METHODS


def dot_panels(
    shown: Sequence[tuple[str, Mapping[str, Estimate]]], intervals: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return the plot of some figures, titles with every method's seeds, and its panels, each with its own axis.

    Args:
        shown: for each panel its title and every method's estimate.
        intervals: whether a thin line shows the 95 % bootstrap interval of each mean.
    """
    methods = max((len(found) for _, found in shown), default=0)
    across = values_grow_to_the_right(methods)
    columns = max(1, min(3 if across else 4, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    width, height = (3.8, panel_height(methods)) if across else (2.9, 2.5)
    plot = Figure(figsize=(width * columns, height * rows), layout=ConstrainedLayoutEngine(h_pad=0.08))
    panels = [plot.add_subplot(rows, columns, index + 1) for index in range(len(shown))]
    for index, ((title, found), axes) in enumerate(zip(shown, panels, strict=True)):
        _draw_dots(axes, found.values(), across, intervals)
        _name_methods(axes, list(found), across, named=not across or index % columns == 0)
        axes.set_title(fill(title, _TITLE_WIDTH), fontsize=9)
        axes.grid(alpha=0.3, axis="x" if across else "y")
    return plot, panels


def panel_height(methods: int, otherwise: float = 2.5) -> float:
    """Return the height in inches of a panel of dots; with a line for each method it depends on their number."""
    return 0.8 + 0.19 * methods if values_grow_to_the_right(methods) else otherwise


def _draw_dots(axes: Axes, found: Collection[Estimate], across: bool, intervals: bool) -> None:
    for place, (estimate, color) in enumerate(zip(found, method_colors(len(found)), strict=True)):
        values = list(estimate.seeds.values())
        shift = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else np.zeros(len(values))
        x, y = (values, place + shift) if across else (place + shift, values)
        axes.scatter(x, y, color=color, alpha=0.7, s=22, zorder=2)
        bar, line = (axes.vlines, axes.hlines) if across else (axes.hlines, axes.vlines)
        if values:
            bar(np.mean(values), place - 0.3, place + 0.3, color=color, linewidth=2.5, zorder=3)
        interval = estimate.interval() if intervals else None
        if interval is not None:
            line(place, interval.low, interval.high, color=color, linewidth=1.2)


def _name_methods(axes: Axes, methods: Sequence[str], across: bool, named: bool) -> None:
    """Write the methods' names beside or below their dots, the first one at the top or at the left."""
    places = range(len(methods))
    if across:
        axes.set_yticks(places, methods if named else [""] * len(methods))
        axes.set_ylim(len(methods) - 0.4, -0.6)
    else:
        # Side by side, the names of more methods run into each other.
        axes.set_xticks(places, methods, rotation=30 if len(methods) > _NAMES_IN_A_ROW else 0)
        axes.set_xlim(-0.6, len(methods) - 0.4)


def _first_runs(runs: Sequence[PlannedRun]) -> dict[str, PlannedRun]:
    """Return the first run of each method, in the methods' order."""
    first = {planned.method: planned for planned in reversed(runs)}
    return {method: first[method] for method in _methods(runs)}


def _methods(runs: Sequence[PlannedRun]) -> list[str]:
    return list(dict.fromkeys(planned.method for planned in runs))


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
