"""Figures of a comparison: learning curves, every seed's results, and attention on the same frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from camal_rl.agents import CamPolicy
from camal_rl.agents.config import ATTENTION_TARGETS
from camal_rl.comparison.plan import PlannedRun
from camal_rl.comparison.results import headline_figures
from camal_rl.comparison.wording import figure_words
from camal_rl.overlays import attention_sheet, sheet
from camal_rl.rl.config import ExperimentConfig
from camal_rl.rl.environments import make_level_set_env
from camal_rl.rl.evaluate.evaluation import load_model
from camal_rl.rl.evaluate.held_out import HELD_OUT_RETURN
from camal_rl.rl.frames import random_frames
from camal_rl.rl.mask_sheet import write_png
from camal_rl.rl.policy_outputs import attention_maps
from camal_rl.runs.curves import Curve, mean_curve, read_curves
from camal_rl.supervised.attention_grid import attention_columns
from camal_rl.supervised.config import SupervisedConfig

_CURVES = {
    "rollout/ep_rew_mean": "return on training levels",
    HELD_OUT_RETURN: "return on held-out levels",
    "camal/value/epg": "EPG of the value map",
    "camal/policy/epg": "EPG of the policy map",
    "held_out/accuracy": "accuracy on held-out images",
    "camal/class/epg": "EPG of the class map",
    "camal/class/iou": "IoU of the class map",
}
# Figures of one kind, which share an axis.
_SAME_AXIS = ({"rollout/ep_rew_mean", HELD_OUT_RETURN}, {"camal/value/epg", "camal/policy/epg"})
_PICTURE_FRAMES = 5
_TITLE_WIDTH = 34
_MARGIN = 0.04
_NAMES_IN_A_ROW = 3


def write_figures(runs: Sequence[PlannedRun], comparison: Mapping[str, Any], out: Path) -> list[Path]:
    """Write the figures of a finished comparison into a folder and return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / "learning_curves.png", out / "seeds.png"]
    _save(learning_curves(runs), paths[0])
    _save(seed_plot(comparison), paths[1])
    config = runs[0].config
    if isinstance(config, SupervisedConfig):
        paths.append(out / "attention.png")
        columns, _ = attention_columns(_first_runs(runs), _PICTURE_FRAMES)
        write_png(paths[2], sheet(columns))
    elif config.env.segmentation is not None:
        paths.append(out / "attention.png")
        write_png(paths[2], attention_picture(runs, config))
    return paths


def learning_curves(runs: Sequence[PlannedRun]) -> Figure:
    """Plot return and alignment over training: thin lines are seeds, thick ones their mean."""
    curves = {planned: read_curves(planned.folder.tensorboard, list(_CURVES)) for planned in runs}
    shown = [tag for tag in _CURVES if any(tag in found for found in curves.values())]
    figure = Figure(figsize=(5 * max(1, len(shown)), 3.6), layout="constrained")
    for column, tag in enumerate(shown):
        axes = figure.add_subplot(1, len(shown), column + 1)
        for method, color in _colors(runs).items():
            of_method = [curves[run][tag] for run in runs if run.method == method and tag in curves[run]]
            _plot_method(axes, of_method, method, color)
        axes.set(xlabel=runs[0].config.step_name, title=_CURVES[tag])
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    by_tag = dict(zip(shown, figure.axes, strict=True))
    for tags in _SAME_AXIS:
        share_axis([axes for tag, axes in by_tag.items() if tag in tags])
    return figure


def share_axis(panels: Sequence[Axes]) -> None:
    """Give panels one range of values, so that their heights compare."""
    if len(panels) > 1:
        lows, highs = zip(*(axes.get_ylim() for axes in panels), strict=True)
        # A panel with a small range of its own has a margin too small for the common one.
        margin = _MARGIN * (max(highs) - min(lows))
        for axes in panels:
            axes.set_ylim(min(lows) - margin, max(highs) + margin)


def share_over_level_sets(panels: Mapping[str, Axes]) -> None:
    """Give the panels of one figure on several level sets one axis; keys are names of figures."""
    for figure in {name.rpartition("/")[0] for name in panels}:
        share_axis([axes for name, axes in panels.items() if name.rpartition("/")[0] == figure])


def seed_plot(comparison: Mapping[str, Any]) -> Figure:
    """Plot the headline figures: one dot for each seed, a bar at the mean; over the level sets on one axis."""
    figure, panels = seed_panels(comparison)
    share_over_level_sets(panels)
    return figure


def seed_panels(comparison: Mapping[str, Any]) -> tuple[Figure, dict[str, Axes]]:
    """Return the plot of the headline figures and its panels by the name of the figure, every one with its own axis."""
    names = headline_figures(comparison)
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(2.9 * columns, 2.5 * rows), layout="constrained")
    panels = {name: figure.add_subplot(rows, columns, index + 1) for index, name in enumerate(names)}
    methods = comparison["methods"]
    for name, axes in panels.items():
        for place, method in enumerate(methods):
            values = list(comparison["figures"][name][method]["seeds"].values())
            shift = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else np.zeros(len(values))
            axes.scatter(place + shift, values, color=f"C{place}", alpha=0.7, s=22, zorder=2)
            if values:
                axes.hlines(np.mean(values), place - 0.3, place + 0.3, color=f"C{place}", linewidth=2.5, zorder=3)
        # Side by side, the names of more methods run into each other.
        axes.set_xticks(range(len(methods)), methods, rotation=30 if len(methods) > _NAMES_IN_A_ROW else 0)
        axes.set_xlim(-0.6, len(methods) - 0.4)
        axes.set_title(fill(figure_words(name, arrow=True), _TITLE_WIDTH), fontsize=9)
        axes.grid(alpha=0.3, axis="y")
    return figure, panels


def attention_picture(runs: Sequence[PlannedRun], config: ExperimentConfig) -> np.ndarray[Any, Any]:
    """Return a sheet: image | relevant | the maps of each method's first seed, on the same held-out frames."""
    first = _first_runs(runs)
    settings = config.evaluation
    venv = make_level_set_env(config, settings.attention_sets[-1], _PICTURE_FRAMES, settings.seed, masks=True)
    try:
        frames = random_frames(venv, settings.frame_every, settings.seed)
    finally:
        venv.close()
    maps = {}
    for target in ATTENTION_TARGETS:
        for method in _colors(runs):
            policy = load_model(first[method].folder).policy
            assert isinstance(policy, CamPolicy)
            maps[f"{method} {target}"] = attention_maps(policy, frames.images)[target].numpy()
    return attention_sheet(frames.images, frames.labels, frames.relevant, maps)


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


def _save(figure: Figure, path: Path) -> None:
    """Write a figure without the global state of pyplot."""
    FigureCanvasAgg(figure)
    with mpl.rc_context({"font.size": 9}):
        figure.savefig(path, dpi=130)
