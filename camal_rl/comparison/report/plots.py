"""SVG plots: the figures of every seed, learning curves, and faithfulness by share of removed pixels."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from camal_rl.comparison.estimates import keys, names
from camal_rl.comparison.figure_words import map_words, target_words
from camal_rl.comparison.figures import last_maps
from camal_rl.comparison.groups import Group
from camal_rl.comparison.plots import learning_curves, method_colors, panel_height, seed_panels, share_axis
from camal_rl.comparison.report.document import Picture, slug
from camal_rl.runs.curves import Curve, mean_curve
from camal_rl.runs.results import ResultKey

_STYLE: dict[Any, Any] = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    # The same runs give the same file.
    "svg.hashsalt": "camal-rl",
}
_CURVE = "{}_curve"
# At this plot width in inches, its text is about as large as the small text of the page.
WIDTH, _PANEL = 10.4, 3.6
_DASHES: tuple[Any, ...] = ("-", ":", "--", "-.", (0, (1, 3)))


def returns_plot(group: Group) -> Picture | None:
    """Return every seed's return on every level set, with means and 95 % intervals."""
    shown = keys(group, figure="return", control="stochastic")
    return _dots(group, shown, "returns", "Return with sampled actions")


def accuracy_plot(group: Group) -> Picture | None:
    """Return every seed's accuracy on every set, on average and in the worst group, and the share of flips."""
    figures = ("accuracy", "worst_group_accuracy", "background_flips")
    shown = [key for figure in figures for key in keys(group, figure=figure, control=None)]
    return _dots(group, shown, "accuracy", "Accuracy, and share of predictions that another background flips")


def attention_plot(group: Group) -> Picture | None:
    """Return every seed's alignment and deletion effect on the last level set, with means and 95 % intervals."""
    measured = last_maps(group)
    if measured is None:
        return None
    shown = keys(group, figure="epg", level_set=measured[0])
    shown += keys(group, figure="deletion_effect", level_set=measured[0], map="own", control="mean")
    return _dots(group, shown, "attention-seeds", "Alignment (EPG) and deletion effect of the model's own maps")


def curves_plot(group: Group) -> Picture | None:
    """Return the learning curves; None if no run has any in its TensorBoard logs."""
    with style():
        plot = learning_curves(group.runs)
        if not plot.axes:
            return None
        _resize(plot, max(3.0, panel_height(len(group.methods), otherwise=0)))
        caption = "Training: thin lines are seeds, thick ones their mean over the steps that all of them cover."
        return picture(group.env, plot, "learning-curves", "Learning curves", caption)


def faithfulness_plots(group: Group) -> list[Picture]:
    """Return deletion and insertion curves for each level set and target.

    A target's plots share their axes over the level sets.
    """
    drawn: dict[tuple[str, str], Figure] = {}
    with style():
        for name in names(group, "level_set", figure=_CURVE.format("deletion")):
            for target in names(group, "target", figure=_CURVE.format("deletion"), level_set=name):
                drawn[name, target] = _faithfulness_plot(group, name, target)
        for target in {target for _, target in drawn}:
            of_target = [plot for (_, each), plot in drawn.items() if each == target]
            for panels in zip(*(plot.axes for plot in of_target), strict=True):
                share_axis(panels)
        return [_faithfulness_picture(group, name, target, plot) for (name, target), plot in drawn.items()]


def _faithfulness_plot(group: Group, name: str, target: str) -> Figure:
    maps = names(group, "map", figure=_CURVE.format("deletion"), level_set=name, target=target)
    dashes = dict(zip(maps, _DASHES, strict=False))
    colors = dict(zip(group.methods, method_colors(len(group.methods)), strict=True))
    plot = Figure(figsize=(WIDTH, 3.1), layout="constrained")
    for column, mode in enumerate(("deletion", "insertion")):
        axes = plot.add_subplot(1, 2, column + 1)
        for method, color in colors.items():
            for map_, dash in dashes.items():
                curves = _curves(group, method, ResultKey(_CURVE.format(mode), name, target, map_))
                if curves:
                    width = 2.0 if map_ == "own" else 1.1
                    axes.plot(*mean_curve(curves), color=color, linestyle=dash, linewidth=width)
        axes.set(xlabel=f"share of pixels {'removed' if mode == 'deletion' else 'shown'}", title=mode)
        axes.grid(alpha=0.3)
    plot.axes[0].set_ylabel("mean change of the output")
    lines = [Line2D([], [], color=color, label=method) for method, color in colors.items()]
    lines += [Line2D([], [], color="0.3", linestyle=dash, label=map_words(map_)) for map_, dash in dashes.items()]
    plot.legend(handles=lines, loc="outside right upper", frameon=False)
    return plot


def _faithfulness_picture(group: Group, name: str, target: str, plot: Figure) -> Picture:
    alt = f"Faithfulness curves of the {target_words(target)}, level set {name}"
    caption = f"{alt}: mean over seeds; pixels in the order of each map, most salient first."
    return picture(group.env, plot, f"faithfulness-{name}-{target}", alt, caption)


def _curves(group: Group, method: str, key: ResultKey) -> list[Curve]:
    """Return each run's curve: the shares of the pixels (the ``control`` of its results) and the changes."""
    found = []
    wanted = {name: value for name, value in key._asdict().items() if name != "control"}
    for run in group.of(method):
        points = [(float(each.control), each.value) for each in run.results.select(**wanted) if each.control]
        if points and all(value is not None for _, value in points):
            shares, values = np.array(points, dtype=np.float64).T
            found.append((shares, values))
    return found


def _dots(group: Group, shown: Sequence[ResultKey], name: str, title: str) -> Picture | None:
    if not shown:
        return None
    with style():
        plot = seed_panels(group, shown, intervals=True)
        _resize(plot, panel_height(len(group.methods), otherwise=2.2))
        caption = f"{title}: one dot for each seed, a bar at the mean, a thin line over its 95 % bootstrap interval."
        return picture(group.env, plot, name, title, caption)


def _resize(plot: Figure, height: float) -> None:
    """Give a plot the width of the page, or less for few panels, and each row the height in inches."""
    grid = plot.axes[0].get_subplotspec()
    rows, columns = (1, 1) if grid is None else (grid.get_gridspec().nrows, grid.get_gridspec().ncols)
    plot.set_size_inches(min(WIDTH, _PANEL * columns), height * rows)


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of the report."""
    with mpl.rc_context(_STYLE):
        yield


def picture(about: str, plot: Figure, name: str, alt: str, caption: str) -> Picture:
    """Return a plot as SVG; its file is named after ``about``, such as an environment, and ``name``."""
    buffer = io.BytesIO()
    plot.savefig(buffer, format="svg", metadata={"Date": None})
    return Picture(f"{slug(about)}-{name}", "svg", buffer.getvalue(), alt, caption)
