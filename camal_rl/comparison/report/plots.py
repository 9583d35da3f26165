"""Plots as SVG: every seed's figures, learning curves, faithfulness against the share of removed pixels."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from camal_rl.comparison.plots import learning_curves, seed_panels, share_axis, share_over_level_sets
from camal_rl.comparison.report.document import Picture, slug
from camal_rl.comparison.report.estimates import Estimate, estimates, keys, look_up
from camal_rl.comparison.report.runs import Group
from camal_rl.comparison.results import headline_figures
from camal_rl.comparison.wording import map_words, target_words
from camal_rl.runs.curves import Curve, mean_curve

_STYLE: dict[Any, Any] = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    # The same runs give the same file.
    "svg.hashsalt": "camal-rl",
}
# At this width of a figure in inches its text is about as large as the page's small print.
_WIDTH, _PANEL = 10.4, 3.6
_DASHES: tuple[Any, ...] = ("-", ":", "--", "-.", (0, (1, 3)))


def returns_plot(group: Group) -> Picture | None:
    """Return every seed's return on every level set, with means and 95 % intervals."""
    found = {
        f"return/{name}": estimates(group, "returns", name, "stochastic", "mean") for name in keys(group, "returns")
    }
    return _dots(group, found, "returns", "Return with sampled actions")


def accuracy_plot(group: Group) -> Picture | None:
    """Return every seed's accuracy on every set, on average and in the worst group, and what backgrounds flip."""
    paths = {("accuracy", "accuracy"): "average", ("worst_group_accuracy", "accuracy"): "worst_group"}
    paths[("background_flips", "background_swap")] = "flips"
    found = {
        f"{figure}/{name}": estimates(group, part, name, key)
        for (figure, part), key in paths.items()
        for name in keys(group, part)
    }
    return _dots(group, found, "accuracy", "Accuracy, and share of predictions that another background flips")


def attention_plot(group: Group) -> Picture | None:
    """Return every seed's alignment and deletion effect on the last level set, with means and 95 % intervals."""
    found = {}
    for name in keys(group, "attention")[-1:]:
        for target in keys(group, "attention", name):
            root = ("attention", name, target)
            found[f"epg/{target}/{name}"] = estimates(group, *root, "alignment", "epg")
            effect = estimates(group, *root, "faithfulness", "own", "deletion_effect")
            found[f"deletion_effect/{target}/{name}"] = effect
    return _dots(group, found, "attention-seeds", "Alignment (EPG) and deletion effect of the model's own maps")


def curves_plot(group: Group) -> Picture | None:
    """Return the learning curves; None if no run has any in its TensorBoard logs."""
    with _style():
        figure = learning_curves(group.runs)
        if not figure.axes:
            return None
        _resize(figure, 3.0)
        caption = "Training: thin lines are seeds, thick ones their mean over the steps that all of them cover."
        return _picture(group, figure, "learning-curves", "Learning curves", caption)


def faithfulness_plots(group: Group) -> list[Picture]:
    """Return, for each level set and target, what deleting and inserting ever more pixels changes.

    A target's plots share their axes over the level sets.
    """
    drawn: dict[tuple[str, str], Figure] = {}
    with _style():
        for name in keys(group, "attention"):
            for target in keys(group, "attention", name):
                maps = keys(group, "attention", name, target, "curves")
                if maps:
                    drawn[name, target] = _faithfulness_figure(group, name, target, maps)
        for target in {target for _, target in drawn}:
            figures = [figure for (_, each), figure in drawn.items() if each == target]
            for panels in zip(*(figure.axes for figure in figures), strict=True):
                share_axis(panels)
        return [_faithfulness_picture(group, name, target, figure) for (name, target), figure in drawn.items()]


def _faithfulness_figure(group: Group, name: str, target: str, maps: list[str]) -> Figure:
    dashes = dict(zip(maps, _DASHES, strict=False))
    figure = Figure(figsize=(_WIDTH, 3.1), layout="constrained")
    for column, mode in enumerate(("deletion", "insertion")):
        axes = figure.add_subplot(1, 2, column + 1)
        for place, method in enumerate(group.methods):
            for kind, dash in dashes.items():
                curves = _curves(group, method, ("attention", name, target, "curves", kind), mode)
                if curves:
                    width = 2.0 if kind == "own" else 1.1
                    axes.plot(*mean_curve(curves), color=f"C{place}", linestyle=dash, linewidth=width)
        axes.set(xlabel=f"share of pixels {'removed' if mode == 'deletion' else 'shown'}", title=mode)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("mean change of the output")
    lines = [Line2D([], [], color=f"C{place}", label=method) for place, method in enumerate(group.methods)]
    lines += [Line2D([], [], color="0.3", linestyle=dash, label=map_words(kind)) for kind, dash in dashes.items()]
    figure.legend(handles=lines, loc="outside right upper", frameon=False)
    return figure


def _faithfulness_picture(group: Group, name: str, target: str, figure: Figure) -> Picture:
    alt = f"Faithfulness curves of the {target_words(target)}, level set {name}"
    caption = f"{alt}: mean over seeds; pixels in the order of each map, most salient first."
    return _picture(group, figure, f"faithfulness-{name}-{target}", alt, caption)


def _curves(group: Group, method: str, path: tuple[str, ...], mode: str) -> list[Curve]:
    found = []
    for run in group.of(method):
        data = look_up(run.metrics, path)
        if isinstance(data, Mapping) and data.get("fractions") and data.get(mode):
            values = np.array(data[mode], dtype=np.float64)
            fractions = np.array(data["fractions"], dtype=np.float64)
            if values.shape == fractions.shape and np.isfinite(values).all():
                found.append((fractions, values))
    return found


def _dots(group: Group, found: Mapping[str, Mapping[str, Estimate]], name: str, title: str) -> Picture | None:
    shown = {key: each for key, each in found.items() if any(estimate.count for estimate in each.values())}
    figures = {key: {method: {"seeds": each[method].seeds} for method in group.methods} for key, each in shown.items()}
    comparison = {"methods": group.methods, "figures": figures}
    if not headline_figures(comparison):
        return None
    with _style():
        figure, panels = seed_panels(comparison)
        for key, axes in panels.items():
            _add_intervals(axes, [shown[key][method] for method in group.methods])
        share_over_level_sets(panels)
        _resize(figure, 2.2)
        caption = f"{title}: one dot for each seed, a bar at the mean, a thin line over its 95 % bootstrap interval."
        return _picture(group, figure, name, title, caption)


def _add_intervals(axes: Axes, each: list[Estimate]) -> None:
    for place, estimate in enumerate(each):
        interval = estimate.interval()
        if interval is not None:
            axes.vlines(place, interval.low, interval.high, color=f"C{place}", linewidth=1.2)


def _resize(figure: Figure, height: float) -> None:
    """Give a figure the width of the page, or less for few panels, and each row the height in inches."""
    grid = figure.axes[0].get_subplotspec()
    rows, columns = (1, 1) if grid is None else (grid.get_gridspec().nrows, grid.get_gridspec().ncols)
    figure.set_size_inches(min(_WIDTH, _PANEL * columns), height * rows)


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context(_STYLE):
        yield


def _picture(group: Group, figure: Figure, name: str, alt: str, caption: str) -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return Picture(f"{slug(group.env)}-{name}", "svg", buffer.getvalue(), alt, caption)
