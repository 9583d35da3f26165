"""Display names of figures and maps in tables, plots and pages."""

from __future__ import annotations

from collections.abc import Mapping

from camal_rl.metrics import METRICS_BY_NAME
from camal_rl.runs.results import ResultKey

_ABBREVIATIONS = {
    "epg": "EPG",
    "epg_over_area": "EPG / area",
    "iou": "IoU",
    "iou_auc": "IoU AUC",
    "mae": "MAE",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "soft_dice": "soft Dice",
    "deletion_change_auc": "area under the change, deletion",
    "insertion_change_auc": "area under the change, insertion",
    "deletion_effect_lerf": "deletion effect, least attended first",
    "deletion_effect_net": "deletion effect, net",
    "insertion_change_auc_net": "area under the change, insertion, net",
    "deletion_effect_kl": "deletion effect, KL of the policies",
    "deletion_effect_sarfa": "deletion effect, SARFA",
    "deletion_change_auc_kl": "area under the change, deletion, KL of the policies",
    "deletion_change_auc_sarfa": "area under the change, deletion, SARFA",
    "insertion_change_auc_kl": "area under the change, insertion, KL of the policies",
    "insertion_change_auc_sarfa": "area under the change, insertion, SARFA",
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
# Figures of the run itself and not of a map: display name on a level set, and whether higher is better.
_OF_RUNS: Mapping[tuple[str, str | None], tuple[str, bool | None]] = {
    ("return", "stochastic"): ("return on {}", True),
    ("return", "deterministic"): ("return on {}, preferred actions", True),
    ("normalized_return", "stochastic"): ("normalized return on {}", True),
    ("score", "stochastic"): ("score on {}", True),
    ("score", "deterministic"): ("score on {}, preferred actions", True),
    ("gap", "stochastic"): ("gap between train and {}", None),
    ("accuracy", None): ("accuracy on {}", True),
    ("worst_group_accuracy", None): ("accuracy of the worst group on {}", True),
    ("accuracy_swapped", None): ("accuracy on other backgrounds of {}", True),
    ("background_flips", None): ("predictions on {} that another background flips", False),
    ("background_kl", None): ("KL of the policies under other backgrounds on {}", False),
    ("background_value_change", None): ("change of the value under other backgrounds on {}", False),
    ("background_action_flips", None): ("preferred actions on {} that another background changes", False),
    ("background_flips", "same_texture"): ("predictions on {} that the same background drawn anew flips", None),
}
_ARROWS = {True: "↑", False: "↓", None: ""}
CONTROLS = (
    "Compare a map with its method's controls: a random map and the mask itself. "
    "No method is trained on the neutral maps."
)
ARROWS = "↑ higher is better, ↓ lower is better; without an arrow, neither is better."


def higher_is_better(figure: str) -> bool | None:
    """Return whether higher is better; ``None`` if neither direction is better or the figure does not exist."""
    own = {name: higher for (name, control), (_, higher) in _OF_RUNS.items() if control in (None, "stochastic")}
    return METRICS_BY_NAME[figure].higher_is_better if figure in METRICS_BY_NAME else own.get(figure)


def judging_figures() -> list[str]:
    """Return the figures for which one direction is better."""
    own = dict.fromkeys(name for name, _ in _OF_RUNS)
    return [name for name in (*own, *METRICS_BY_NAME) if higher_is_better(name) is not None]


def words(name: str) -> str:
    """Return the display name of a metric."""
    return _ABBREVIATIONS.get(name, name.replace("_", " "))


def with_arrow(name: str) -> str:
    """Return the display name of a metric, with an arrow in the better direction if there is one."""
    return _marked(words(name), METRICS_BY_NAME[name].arrow if name in METRICS_BY_NAME else "")


def figure_words(key: ResultKey, arrow: bool = False) -> str:
    """Describe a figure in words, such as ``EPG of the value map on held_out``.

    Args:
        key: the figure's key.
        arrow: add an arrow in the better direction, if there is one.
    """
    if (key.figure, key.control) in _OF_RUNS:
        phrase, higher = _OF_RUNS[key.figure, key.control]
        return _marked(phrase.format(key.level_set), _ARROWS[higher] if arrow else "")
    if key.target is None:
        return ", ".join(part.replace("_", " ") for part in (key.figure, key.control, key.level_set) if part)
    if key.map in _CONTROLS:
        beside = f"{_CONTROLS[key.map]} beside the {target_words(key.target)}"
        return f"{words(key.figure)} of {beside} on {key.level_set}"
    title, _, net = words(key.figure).partition(", ")
    whose = target_words(key.target) if key.map in (None, "own") else f"{key.target} by {map_words(key.map)}"
    text = f"{title} of the {whose} on {key.level_set}" + (f", {net}" if net else "")
    return _marked(text, METRICS_BY_NAME[key.figure].arrow if arrow and key.figure in METRICS_BY_NAME else "")


def target_words(target: str) -> str:
    """Return the display name of a target's map: ``value map``, ``class map``, ``built-in attention``."""
    return "built-in attention" if target == "built_in" else f"{target.replace('_', ' ')} map"


def map_words(name: str) -> str:
    """Return the display name of the kind of map in a key."""
    return _MAPS.get(name, name.replace("_", " "))


def _marked(text: str, arrow: str) -> str:
    # A no-break space keeps the arrow on the line of the last word.
    return f"{text}\N{NO-BREAK SPACE}{arrow}" if arrow else text
