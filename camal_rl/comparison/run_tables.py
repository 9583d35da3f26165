"""Tables of one run's results for the terminal; titles state what was measured, not what was requested."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from camal_rl.comparison.figure_words import target_words, with_arrow
from camal_rl.comparison.figures import COUNTS, SUCCESS
from camal_rl.comparison.number_words import each_measured, number
from camal_rl.comparison.table import Table, table_of
from camal_rl.metrics import ALIGNMENT_METRICS
from camal_rl.runs.attention_results import FAITHFULNESS_MAPS
from camal_rl.runs.results import Result, ResultKey, Results

ALIGNMENT_COLUMNS = ("epg", "area_fraction", "pointing_game", "iou", "mae")
ACTIONS = {"stochastic": "sampled", "deterministic": "preferred"}
"""Kinds of actions: key in ``metrics.json`` and name in tables."""
RANKED = {"remove": "removals", "all": "all"}
"""Groups of interventions: key in ``metrics.json`` and name in tables."""
SWAPS = {
    ResultKey("background_flips"): "other texture ↓",
    ResultKey("background_flips", control="any"): "any other texture ↓",
    ResultKey("background_flips", control="same_texture"): "same texture, new drawing",
    ResultKey("accuracy_swapped"): "accuracy, other texture ↑",
}


def run_tables(results: Results, note: str = "") -> list[Table]:
    """Return the tables of a run's evaluation; level sets without masks have no figures of maps.

    Args:
        results: results of the run.
        note: note that must stand beside every figure of the run.
    """
    return [replace(table, title=f"{table.title}; the agent {note}") if note else table for table in _tables(results)]


def _tables(results: Results) -> list[Table]:
    tables = [accuracy_table(results) if results.level_sets("accuracy") else returns_table(results)]
    if results.level_sets("score") or success_figures(results.names("figure")):
        tables.append(score_table(results))
    if results.targets():
        tables += [alignment_table(results), faithfulness_table(results)]
    if results.level_sets("background_flips"):
        tables.append(background_table(results))
    if results.level_sets("rank_correlation"):
        tables.append(counterfactual_table(results))
    return tables


def returns_table(results: Results) -> Table:
    """Return mean returns by level set and kind of action, with the gap to the training levels."""
    normalized = bool(results.level_sets("normalized_return"))
    numbers = [title for words in ACTIONS.values() for title in (f"{words} actions", f"gap, {words}")]
    numbers += ["normalized, sampled"] * normalized + ["excluded duplicates"]
    rows = []
    for name in results.level_sets("return"):
        cells = [name]
        for actions in ACTIONS:
            found = results.find(ResultKey("return", name, control=actions))
            cells.append("-" if found is None else f"{number(found.value, 2)} ± {number(_spread(found), 2)}")
            cells.append(number(results.value("gap", level_set=name, control=actions), 2))
        if normalized:
            cells.append(number(results.value("normalized_return", level_set=name, control="stochastic")))
        rows.append([*cells, number(results.value("excluded_episodes", level_set=name, control="stochastic"), 0)])
    counts = [each.count for each in results.select(figure="return") if each.count is not None]
    title = f"Return, {each_measured(counts, 'episode')} (mean ± std of episodes)"
    return table_of(title, ["level set"], numbers, rows)


def success_figures(figures: Iterable[str]) -> list[str]:
    """Return which of some figures are success rates."""
    return [each for each in figures if each.startswith(SUCCESS)]


def success_words(figure: str) -> str:
    """Return what was reached where a success rate counts."""
    return figure.removeprefix(SUCCESS).replace("_", " ")


def score_table(results: Results) -> Table:
    """Return the simulator's own score by level set, and the share of the episodes in which each thing was reached."""
    sets = results.level_sets("return")
    wanted = [(f"score, {words} actions \N{UPWARDS ARROW}", "score", actions) for actions, words in ACTIONS.items()]
    wanted += [(success_words(each), each, "stochastic") for each in success_figures(results.names("figure"))]
    rows = [
        [title, *(number(results.value(figure, level_set=name, control=actions), 2) for name in sets)]
        for title, figure, actions in wanted
        if results.level_sets(figure)
    ]
    counts = [each.count for each in results.select(figure="return") if each.count is not None]
    title = f"The simulator's own score, {each_measured(counts, 'episode')}"
    caption = "Below the score: share of the episodes in which this was reached, with sampled actions."
    return table_of(title, ["figure"], sets, rows, caption)


def _spread(result: Result) -> float | None:
    """Return the standard deviation of the values behind a result that is a mean."""
    return None if result.error is None or result.count is None else result.error * math.sqrt(result.count)


def accuracy_table(results: Results) -> Table:
    """Return accuracies by set: on average, in the worst group, in every group."""
    rows = []
    for name in results.level_sets("accuracy"):
        whole, *groups = results.select(figure="accuracy", level_set=name)
        rows.append([name, "all images", number(whole.value), _count(whole)])
        rows.append([name, "worst group", number(results.value("worst_group_accuracy", level_set=name)), ""])
        if len(groups) > 1:
            rows += [[name, str(each.control), number(each.value), _count(each)] for each in groups]
    return table_of("Accuracy", ["set", "group"], ["accuracy ↑", "images"], rows)


def background_table(results: Results) -> Table:
    """Return the change of the prediction when the same object is redrawn on another background."""
    rows = []
    for name in results.level_sets("background_flips"):
        images = results.find(ResultKey("background_flips", name, control="any"))
        rows.append([name, *_values(results, (key._replace(level_set=name) for key in SWAPS)), _count(images)])
    title = "Background swap: share of predictions that change"
    return table_of(title, ["set"], [*SWAPS.values(), "images"], rows)


def alignment_table(results: Results) -> Table:
    """Return the agreement of the attention with the masks, by level set and target; custom metrics come last."""
    measured = results.select(map="own", control=None)
    shipped = {*COUNTS, *(metric.name for metric in ALIGNMENT_METRICS)}
    columns = (*ALIGNMENT_COLUMNS, *(name for name in measured.names("figure") if name not in shipped))
    counts = ("zero_maps", "empty_targets")
    rows = [
        [
            str(level_set),
            target_words(target),
            *(number(results.value(name, level_set=level_set, target=target, map="own")) for name in columns),
            *(number(results.value(name, level_set=level_set, target=target, map="own"), 0) for name in counts),
        ]
        for level_set, target in _maps(results)
    ]
    numbers = [*map(with_arrow, columns), "zero maps", "empty masks"]
    title = f"Alignment of attention with the relevant objects, {_frames(results)}"
    return table_of(title, ["level set", "map"], numbers, rows)


def faithfulness_table(results: Results) -> Table:
    """Return the effect of deleting pixels in the order of the model's map and of two control maps."""
    shown = [("deletion_effect", map_) for map_ in FAITHFULNESS_MAPS] + [("insertion_change_auc", "own")]
    rows = []
    for level_set, target in _maps(results):
        keys = [ResultKey(figure, level_set, target, map_, "mean") for figure, map_ in shown]
        rows.append([str(level_set), target_words(target), *_values(results, keys)])
    return table_of(
        f"Deletion effect, {_frames(results)}",
        ["level set", "map"],
        ["own map ↑", "random map", "mask as map", "insertion, own ↓"],
        rows,
        "Policy and class: drop in probability of the preferred action or of the class (of continuous actions: drop in "
        "density, as a share of it); value: change in std of V; q: change in std of Q of the preferred action.",
    )


def counterfactual_table(results: Results) -> Table:
    """Return the rank correlation between each map's attention on the changed pixels and the change of the decision."""
    figure, rows = "rank_correlation", []
    for name in results.level_sets(figure):
        frames = next((_count(each) for each in results.select(figure="undefined_maps", level_set=name)), "-")
        for control, words in RANKED.items():
            for target in results.names("target", figure=figure, level_set=name, control=control):
                keys = [ResultKey(figure, name, target, map_, control) for map_ in ("own", "random", "uniform")]
                rows.append([name, target_words(target), words, *_values(results, keys), frames])
    return table_of(
        "Attention against the simulator's interventions: rank correlation, mean over frames",
        ["level set", "map", "interventions"],
        ["own map ↑", "random map", "uniform map", "frames"],
        rows,
        "1: the more attention on the changed pixels, the larger the change; uniform: the correlation due to area "
        "alone.",
    )


def _values(results: Results, keys: Iterable[ResultKey]) -> list[str]:
    """Return the values of results as texts; a missing value is a dash."""
    return [number(None if each is None else each.value) for each in map(results.find, keys)]


def _maps(results: Results) -> list[tuple[str | None, str]]:
    """Return the level set and target of every map with a measured alignment."""
    return [(each.level_set, each.target) for each in results.select(figure="epg") if each.target is not None]


def _frames(results: Results) -> str:
    noun = "image" if results.level_sets("accuracy") else "frame"
    return each_measured((each.count for each in results.select(figure="zero_maps") if each.count is not None), noun)


def _count(result: Result | None) -> str:
    return "-" if result is None or result.count is None else str(result.count)
