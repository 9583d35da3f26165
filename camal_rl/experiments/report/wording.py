"""How figures, maps and level sets are called on the page."""

from __future__ import annotations

import math

from camal_rl.experiments.report.document import Cell, Table
from camal_rl.metrics import METRICS, METRICS_BY_NAME

_ABBREVIATIONS = {
    "epg": "EPG",
    "epg_over_area": "EPG / area",
    "iou": "IoU",
    "iou_auc": "IoU AUC",
    "mae": "MAE",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "soft_dice": "soft Dice",
    "deletion_auc": "deletion AUC",
    "insertion_auc": "insertion AUC",
    "policy_kl": "policy KL",
}
_MAPS = {
    "own": "own map",
    "random": "random (control)",
    "uniform": "uniform (control)",
    "mask": "mask as map (control)",
    "perturbation": "perturbation (neutral)",
    "integrated_gradients": "integrated gradients (neutral)",
}
CONTROLS = (
    "A map says something only beside its method's controls: a random map and the mask itself. "
    "Neutral maps are of a kind that no method is trained on."
)
ARROWS = "↑ higher is better, ↓ lower is better; figures without an arrow judge nothing."


def words(name: str) -> str:
    """Return a figure's key as words."""
    return _ABBREVIATIONS.get(name, name.replace("_", " "))


def with_arrow(name: str) -> str:
    """Return a figure's key as words, with the arrow of the better direction where it is known."""
    arrow = METRICS_BY_NAME[name].arrow if name in METRICS_BY_NAME else ""
    return f"{words(name)}\N{NO-BREAK SPACE}{arrow}" if arrow else words(name)


def map_words(name: str) -> str:
    """Return what kind of map a key stands for."""
    return _MAPS.get(name, name.replace("_", " "))


def listed(items: list[str]) -> str:
    """Return ``a``, ``a and b``, ``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def seeds_words(count: int) -> str:
    """Return ``1 seed``, ``2 seeds``."""
    return f"{count} seed{'s' * (count != 1)}"


def glossary() -> Table:
    """Return the table of all metrics: range, better direction and source."""
    rows = []
    for metric in METRICS:
        better = {True: "higher", False: "lower", None: "neither"}[metric.higher_is_better]
        cells = (words(metric.name), f"{_bound(metric.range[0])} to {_bound(metric.range[1])}", better, metric.source)
        rows.append(tuple(Cell(text) for text in cells))
    return Table("Metrics", "", ("figure", "range", "better", "definition and source"), 4, tuple(rows))


def _bound(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else ("-∞" if value < 0 else "∞")
