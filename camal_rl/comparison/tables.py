"""Tables of one run's results, for the terminal; titles tell what was measured, not what was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from camal_rl.comparison.report.document import Cell, Table
from camal_rl.comparison.wording import each_measured, target_words, with_arrow
from camal_rl.metrics import ALIGNMENT_METRICS

ALIGNMENT_COLUMNS = ("epg", "area_fraction", "pointing_game", "iou", "mae")
ACTIONS = {"stochastic": "sampled", "deterministic": "preferred"}
"""Kinds of actions, as ``metrics.json`` and as tables call them."""


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for a table; a missing one is a dash."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def table_of(
    title: str, labels: Sequence[str], figures: Sequence[str], rows: Iterable[Sequence[str]], caption: str = ""
) -> Table:
    """Return a table of texts: columns of words at the left, columns of figures at the right."""
    cells = tuple(tuple(Cell(text) for text in row) for row in rows)
    return Table(title, caption, (*labels, *figures), len(labels), cells)


def returns_table(metrics: Mapping[str, Any]) -> Table:
    """Return mean returns by level set and kind of action, with the gap to the training levels."""
    returns = metrics["returns"]
    normalized = any("normalized" in result["stochastic"] for result in returns.values())
    figures = [title for words in ACTIONS.values() for title in (f"{words} actions", f"gap, {words}")]
    figures += ["normalized, sampled"] * normalized + ["excluded duplicates"]
    rows = []
    for name, result in returns.items():
        cells = [name]
        for actions in ACTIONS:
            cells.append(f"{number(result[actions]['mean'], 2)} ± {number(result[actions]['std'], 2)}")
            cells.append(number(metrics["gap"].get(name, {}).get(actions), 2))
        if normalized:
            cells.append(number(result["stochastic"].get("normalized")))
        rows.append([*cells, str(result["stochastic"]["excluded"])])
    counts = [result[actions]["episodes"] for result in returns.values() for actions in ACTIONS]
    title = f"Return, {each_measured(counts, 'episode')} (mean ± std of episodes)"
    return table_of(title, ["level set"], figures, rows)


def accuracy_table(metrics: Mapping[str, Any]) -> Table:
    """Return accuracies by set: on average, in the worst group, in every group."""
    rows = []
    for name, result in metrics["accuracy"].items():
        rows.append([name, "all images", number(result["average"]), str(result["n"])])
        rows.append([name, "worst group", number(result["worst_group"]), ""])
        for group, found in result["groups"].items() if len(result["groups"]) > 1 else ():
            rows.append([name, group, number(found["accuracy"]), str(found["n"])])
    return table_of("Accuracy", ["set", "group"], ["accuracy ↑", "images"], rows)


def background_table(metrics: Mapping[str, Any]) -> Table:
    """Return what redrawing the same object on another background does to the prediction."""
    figures = {
        "flips": "other texture ↓",
        "flips_any": "any other texture ↓",
        "flips_same_texture": "same texture, drawn anew",
        "accuracy_swapped": "accuracy, other texture ↑",
    }
    rows = [
        [name, *(number(found[figure]) for figure in figures), str(found["n"])]
        for name, found in metrics["background_swap"].items()
    ]
    return table_of("Background swap: share of predictions that change", ["set"], [*figures.values(), "images"], rows)


def alignment_table(metrics: Mapping[str, Any]) -> Table:
    """Return agreement of the attention with the masks, by level set and target; a user's own metrics come last."""
    shipped = {metric.name for metric in ALIGNMENT_METRICS}
    own = dict.fromkeys(name for _, _, result in _maps(metrics) for name in result["alignment"] if name not in shipped)
    columns = (*ALIGNMENT_COLUMNS, *own)
    rows = [
        [
            set_name,
            target_words(target),
            *(number(result["alignment"].get(name)) for name in columns),
            str(result["zero_maps"]),
            str(result["empty_targets"]),
        ]
        for set_name, target, result in _maps(metrics)
    ]
    figures = [*map(with_arrow, columns), "zero maps", "empty masks"]
    title = f"Alignment of attention with the relevant objects, {_frames(metrics)}"
    return table_of(title, ["level set", "map"], figures, rows)


def faithfulness_table(metrics: Mapping[str, Any]) -> Table:
    """Return the effect of deleting pixels in the order of the model's map and of the two control maps."""
    rows = []
    for set_name, target, result in _maps(metrics):
        effects = result["faithfulness"]
        deletion = [number(effects[kind]["deletion_effect"]) for kind in ("own", "random", "mask")]
        rows.append([set_name, target_words(target), *deletion, number(effects["own"]["insertion_change_auc"])])
    return table_of(
        f"Deletion effect, {_frames(metrics)}",
        ["level set", "map"],
        ["own map ↑", "random map", "mask as map", "insertion, own ↓"],
        rows,
        "Policy and class: drop in probability of the preferred action or of the class; value: change in std of V.",
    )


def counterfactual_table(metrics: Mapping[str, Any]) -> Table:
    """Return how well each map's mass on what an intervention changes ranks what that does to the decision."""
    rows = []
    for set_name, found in metrics["counterfactuals"].items():
        for key, words in (("rank_correlation", "removals"), ("rank_correlation_all", "all")):
            for target, correlations in found[key].items():
                cells = [number(correlations.get(kind)) for kind in ("own", "random", "uniform")]
                rows.append([set_name, target_words(target), words, *cells, str(found["frames"])])
    return table_of(
        "Attention against the simulator's interventions: rank correlation, mean over frames",
        ["level set", "map", "interventions"],
        ["own map ↑", "random map", "uniform map", "frames"],
        rows,
        "1: what is attended to most matters most; uniform: what area alone earns.",
    )


def _maps(metrics: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Return level set, target and figures of every map that was measured."""
    return [(name, target, each) for name, found in metrics["attention"].items() for target, each in found.items()]


def _frames(metrics: Mapping[str, Any]) -> str:
    noun = "image" if "accuracy" in metrics else "frame"
    return each_measured((result["frames"] for _, _, result in _maps(metrics)), noun)
