"""The section of a report on all its games: table, aggregates with intervals, performance profiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from camal_rl.aggregates import Interval, performance_profile
from camal_rl.comparison.game_tables import games_findings, games_table
from camal_rl.comparison.games import Aggregate, Summary, aggregates
from camal_rl.comparison.groups import Group
from camal_rl.comparison.number_words import counted
from camal_rl.comparison.plots import method_colors
from camal_rl.comparison.report.document import Part, Picture, Section
from camal_rl.comparison.report.plots import WIDTH, picture, style

_THRESHOLDS = 201
_PANELS: Sequence[tuple[str, float | None, Callable[[Summary], Interval | None]]] = (
    ("interquartile mean \N{UPWARDS ARROW}", None, lambda summary: summary.interquartile_mean),
    ("optimality gap \N{DOWNWARDS ARROW}", None, lambda summary: summary.optimality_gap),
    ("P(improvement over {}) \N{UPWARDS ARROW}", 0.5, lambda summary: summary.improvement),
)
"""Title, chance level, and the plotted values."""


def games_section(groups: Sequence[Group]) -> tuple[Section | None, list[str]]:
    """Return the section on all games, or lines that say why there is none; neither for a single environment."""
    if len(groups) < 2:
        return None, []
    found, notes = aggregates(groups)
    if not found:
        return None, notes
    complete = [each for each in found if each.summaries]
    pictures = (intervals_plot(complete), profiles_plot(complete)) if complete else ()
    part = Part("Normalized returns", pictures=pictures, tables=(games_table(found),))
    title = f"Over {counted(len({game for each in found for game in each.games}), 'game')}"
    return Section(title, tuple(games_findings(found)), tuple(f"{note}." for note in notes), (part,), of_all=True), []


def intervals_plot(found: Sequence[Aggregate]) -> Picture:
    """Return every method's aggregates with their 95 % intervals, one row of panels for each level set."""
    colors = _colors(found)
    with style():
        height = sum(0.95 + 0.26 * len(each.summaries) for each in found)
        columns = [
            panel for panel in _PANELS if any(panel[2](one) for each in found for one in each.summaries.values())
        ]
        plot = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(h_pad=0.08))
        ratios = [1 + len(each.summaries) for each in found]
        rows = plot.subplots(len(found), len(columns), squeeze=False, sharex="col", height_ratios=ratios)
        for each, panels in zip(found, rows, strict=True):
            for axes, (title, chance, read) in zip(panels, columns, strict=True):
                shown = {method: interval for method, one in each.summaries.items() if (interval := read(one))}
                _draw_intervals(axes, shown, list(each.summaries), colors)
                axes.set_title(f"{title.format(each.baseline)}, {each.level_set}")
                if chance is not None:
                    axes.set_xlim(-0.03, 1.03)
                    axes.axvline(chance, color="0.5", linewidth=0.8, linestyle="--")
            for axes in panels[1:]:
                axes.tick_params(labelleft=False)
        caption = (
            "Aggregates over the games: dots are estimates, bars their 95 % intervals (stratified bootstrap). Dashed "
            f"line: no better than {found[0].baseline}."
        )
        return picture("games", plot, "aggregates", "Aggregates over games with their intervals", caption)


def profiles_plot(found: Sequence[Aggregate]) -> Picture:
    """Return the share of each method's runs above each normalized return, with 95 % bands."""
    colors = _colors(found)
    every = [
        value for each in found for method in each.summaries for runs in each.scores(method).values() for value in runs
    ]
    margin = 0.03 * (max(every) - min(every)) or 0.1
    thresholds = np.linspace(min(every) - margin, max(every) + margin, _THRESHOLDS)
    with style():
        plot = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        panels = plot.subplots(1, len(found), squeeze=False, sharey=True)[0]
        for each, axes in zip(found, panels, strict=True):
            for method, summary in each.summaries.items():
                profile = performance_profile(each.scores(method), thresholds, np.random.default_rng(0))
                axes.plot(thresholds, profile.shares, color=colors[method], linewidth=1.8, label=method)
                if not math.isnan(summary.interquartile_mean.low):
                    axes.fill_between(
                        thresholds, profile.low, profile.high, color=colors[method], alpha=0.15, linewidth=0
                    )
            axes.set(xlabel="normalized return", title=each.level_set, ylim=(-0.02, 1.02))
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("share of runs above")
        handles = {
            label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        plot.legend(handles.values(), handles.keys(), loc="outside right upper", frameon=False)
        caption = (
            "Performance profiles: the share of the runs, averaged over the games, with more than a normalized "
            "return; the higher the better. Bands: 95 % intervals (stratified bootstrap)."
        )
        return picture("games", plot, "profiles", "Performance profiles over games", caption)


def _draw_intervals(axes: Axes, shown: dict[str, Interval], methods: Sequence[str], colors: dict[str, Any]) -> None:
    for method, interval in shown.items():
        place = methods.index(method)
        if not math.isnan(interval.low):
            axes.barh(
                place, interval.high - interval.low, left=interval.low, height=0.55, color=colors[method], alpha=0.35
            )
        axes.plot([interval.estimate], [place], marker="o", markersize=4.5, color=colors[method])
    axes.use_sticky_edges = False
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(labelbottom=True)
    axes.set_yticks(range(len(methods)), methods)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.grid(alpha=0.3, axis="x")


def _colors(found: Sequence[Aggregate]) -> dict[str, Any]:
    methods = dict.fromkeys(method for each in found for method in each.methods)
    return dict(zip(methods, method_colors(len(methods)), strict=True))
