"""Tables of results, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from camal_rl.metrics import METRICS_BY_NAME

ALIGNMENT_COLUMNS = ("epg", "area_fraction", "pointing_game", "iou", "mae")


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for a table; a missing one is a dash."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def returns_table(metrics: Mapping[str, Any]) -> Table:
    """Return mean returns by level set and kind of action, with the gap to the training levels."""
    returns = metrics["returns"]
    normalized = any("normalized" in result["stochastic"] for result in returns.values())
    table = Table(title=f"Return, {metrics['settings']['episodes']} episodes each (mean ± std of episodes)")
    table.add_column("level set")
    for title in ("stochastic", "gap", "deterministic", "gap"):
        table.add_column(title, justify="right")
    if normalized:
        table.add_column("normalized", justify="right")
    table.add_column("excluded duplicates", justify="right")
    for name, result in returns.items():
        cells = [name]
        for actions in ("stochastic", "deterministic"):
            cells.append(f"{number(result[actions]['mean'], 2)} ± {number(result[actions]['std'], 2)}")
            cells.append(number(metrics["gap"].get(name, {}).get(actions), 2))
        if normalized:
            cells.append(number(result["stochastic"].get("normalized")))
        table.add_row(*cells, str(result["stochastic"]["excluded"]))
    return table


def accuracy_table(metrics: Mapping[str, Any]) -> Table:
    """Return accuracies by set: on average, in the worst group, in every group."""
    table = Table(title="Accuracy")
    table.add_column("set")
    table.add_column("group")
    for title in ("accuracy ↑", "images"):
        table.add_column(title, justify="right")
    for name, result in metrics["accuracy"].items():
        table.add_row(name, "all images", number(result["average"]), str(result["n"]))
        table.add_row(name, "worst group", number(result["worst_group"]), "")
        for group, found in result["groups"].items() if len(result["groups"]) > 1 else ():
            table.add_row(name, group, number(found["accuracy"]), str(found["n"]))
    return table


def background_table(metrics: Mapping[str, Any]) -> Table:
    """Return what redrawing the same object on another background does to the prediction."""
    table = Table(title="Background swap: share of predictions that change")
    table.add_column("set")
    for title in ("other texture ↓", "any other texture ↓", "same texture, drawn anew", "accuracy, other texture ↑"):
        table.add_column(title, justify="right")
    table.add_column("images", justify="right")
    for name, found in metrics["background_swap"].items():
        figures = ("flips", "flips_any", "flips_same_texture", "accuracy_swapped")
        table.add_row(name, *(number(found[figure]) for figure in figures), str(found["n"]))
    return table


def alignment_table(metrics: Mapping[str, Any]) -> Table:
    """Return agreement of the attention with the masks, by level set and target."""
    settings = metrics["settings"]
    count = f"{settings['frames']} frames" if "frames" in settings else f"{settings['images']} images"
    table = Table(title=f"Alignment of attention with the relevant objects, {count} each")
    table.add_column("level set")
    table.add_column("map of")
    for name in ALIGNMENT_COLUMNS:
        table.add_column(f"{name} {METRICS_BY_NAME[name].arrow}".strip(), justify="right")
    table.add_column("zero maps", justify="right")
    table.add_column("empty masks", justify="right")
    for set_name, targets in metrics["attention"].items():
        for target, result in targets.items():
            values = [number(result["alignment"][name]) for name in ALIGNMENT_COLUMNS]
            table.add_row(set_name, target, *values, str(result["zero_maps"]), str(result["empty_targets"]))
    return table


def faithfulness_table(metrics: Mapping[str, Any]) -> Table:
    """Return the effect of deleting pixels in the order of the model's map and of the two control maps."""
    table = Table(
        title="Deletion effect",
        caption="drop in probability of the preferred action (policy) or of the class; value: |ΔV| / std V",
    )
    table.add_column("level set")
    table.add_column("map of")
    for title in ("own map ↑", "random map", "mask as map", "insertion, own ↓"):
        table.add_column(title, justify="right")
    for set_name, targets in metrics["attention"].items():
        for target, result in targets.items():
            effects = result["faithfulness"]
            deletion = [number(effects[kind]["deletion_effect"]) for kind in ("own", "random", "mask")]
            table.add_row(set_name, target, *deletion, number(effects["own"]["insertion_auc"]))
    return table


def counterfactual_table(metrics: Mapping[str, Any]) -> Table:
    """Return how well each map's mass on what an intervention changes ranks what that does to the decision."""
    table = Table(
        title="Attention against the simulator's interventions: rank correlation, mean over frames",
        caption="1: what is attended to most matters most; uniform: what area alone earns",
    )
    table.add_column("level set")
    table.add_column("map of")
    table.add_column("interventions")
    for title in ("own map ↑", "random map", "uniform map", "frames"):
        table.add_column(title, justify="right")
    for set_name, found in metrics["counterfactuals"].items():
        for key, words in (("rank_correlation", "removals"), ("rank_correlation_all", "all")):
            for target, correlations in found[key].items():
                cells = [number(correlations.get(kind)) for kind in ("own", "random", "uniform")]
                table.add_row(set_name, target, words, *cells, str(found["frames"]))
    return table
