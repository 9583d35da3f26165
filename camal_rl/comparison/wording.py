"""How figures, maps, level sets and counts are called in tables, plots and pages."""

from __future__ import annotations

from collections.abc import Iterable

from camal_rl.metrics import METRICS_BY_NAME

_ABBREVIATIONS = {
    "epg": "EPG",
    "epg_over_area": "EPG / area",
    "iou": "IoU",
    "iou_auc": "IoU AUC",
    "mae": "MAE",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "soft_dice": "soft Dice",
    "deletion_change_auc": "area of the change, deletion",
    "insertion_change_auc": "area of the change, insertion",
    "deletion_effect_lerf": "deletion effect, darkest first",
    "deletion_effect_net": "deletion effect, net",
    "insertion_change_auc_net": "area of the change, insertion, net",
    "randomized_spearman": "rank correlation with random weights",
    "policy_kl": "KL of the policies",
    "policy_drop": "drop in probability",
    "value_change": "change in std of V",
    "flips": "preferred action changes",
}
_MAPS = {
    "own": "own map",
    "random": "random (control)",
    "uniform": "uniform (control)",
    "mask": "mask as map (control)",
    "perturbation": "perturbation (neutral)",
    "integrated_gradients": "integrated gradients (neutral)",
}
_CONTROLS = {"random": "a random map", "mask": "the mask as map"}
# What is measured of the run itself, not of a map: how it is called on a level set, and whether higher is better.
_RESULTS: dict[str, tuple[str, bool | None]] = {
    "return": ("return on {}", True),
    "return_deterministic": ("return on {}, preferred actions", True),
    "normalized": ("normalized return on {}", True),
    "gap": ("gap between train and {}", None),
    "accuracy": ("accuracy on {}", True),
    "worst_group_accuracy": ("accuracy of the worst group on {}", True),
    "background_flips": ("predictions on {} that another background flips", False),
    "background_flips_same_texture": ("predictions on {} that the same background drawn anew flips", None),
}
_ARROWS = {True: "↑", False: "↓", None: ""}
CONTROLS = (
    "A map says something only beside its method's controls: a random map and the mask itself. "
    "Neutral maps are of a kind that no method is trained on."
)
ARROWS = "↑ higher is better, ↓ lower is better; figures without an arrow judge nothing."


def words(name: str) -> str:
    """Return a metric's key as words."""
    return _ABBREVIATIONS.get(name, name.replace("_", " "))


def with_arrow(name: str) -> str:
    """Return a metric's key as words, with the arrow of the better direction where it is known."""
    return _marked(words(name), METRICS_BY_NAME[name].arrow if name in METRICS_BY_NAME else "")


def figure_words(name: str, arrow: bool = False) -> str:
    """Return what a figure of a comparison is, such as ``epg/value/held_out``, in words.

    Args:
        name: ``<figure>/<level set>`` or ``<metric>/<map>/<level set>``; of controls the metric ends in ``_random`` or
            ``_mask``.
        arrow: add the arrow of the better direction, where there is one.
    """
    metric, *where = name.split("/")
    if metric in _RESULTS and len(where) == 1:
        phrase, higher = _RESULTS[metric]
        return _marked(phrase.format(where[0]), _ARROWS[higher] if arrow else "")
    if len(where) != 2:
        return name.replace("_", " ").replace("/", ", ")
    target, level_set = where
    base, _, kind = metric.rpartition("_")
    if metric not in METRICS_BY_NAME and base in METRICS_BY_NAME and kind in _CONTROLS:
        return f"{words(base)} of {_CONTROLS[kind]} beside the {target_words(target)} on {level_set}"
    title, _, net = words(metric).partition(", ")
    text = f"{title} of the {target_words(target)} on {level_set}" + (f", {net}" if net else "")
    return _marked(text, METRICS_BY_NAME[metric].arrow if arrow and metric in METRICS_BY_NAME else "")


def target_words(target: str) -> str:
    """Return whose map it is: ``value map``, ``class map``, ``built-in attention``."""
    return "built-in attention" if target == "built_in" else f"{target.replace('_', ' ')} map"


def map_words(name: str) -> str:
    """Return what kind of map a key stands for."""
    return _MAPS.get(name, name.replace("_", " "))


def listed(items: list[str]) -> str:
    """Return ``a``, ``a and b``, ``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def seeds_words(count: int) -> str:
    """Return ``1 seed``, ``2 seeds``."""
    return counted(count, "seed")


def counted(count: int, noun: str) -> str:
    """Return ``1 frame``, ``2 frames``, ``1,024 frames``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def each_measured(counts: Iterable[int], noun: str) -> str:
    """Return on how many things figures were measured: ``64 images each``, or ``60 to 64 images each``."""
    found = sorted(set(counts))
    if len(found) < 2:
        return f"{counted(found[0] if found else 0, noun)} each"
    return f"{found[0]:,} to {counted(found[-1], noun)} each"


def _marked(text: str, arrow: str) -> str:
    # The arrow stays on the line of the last word.
    return f"{text}\N{NO-BREAK SPACE}{arrow}" if arrow else text
