"""What a comparison found, in plain language, computed from its figures: also where the method loses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from camal_rl.comparison.significance import SIGNIFICANT, significance_note
from camal_rl.comparison.tables import number
from camal_rl.comparison.wording import counted, listed, target_words

TRAIN = "train"
# Differences within so many standard errors are not called differences.
_ERRORS = 2.0
_UNITS = {
    "value": "changes the value by {} standard deviations",
    "policy": "costs the preferred action {} of probability",
}
_CLASS_UNIT = "costs the class {} of probability"


@dataclass(frozen=True)
class _Pair:
    """One figure of a method and of the first method."""

    own: Mapping[str, Any]
    base: Mapping[str, Any]

    @property
    def sign(self) -> int:
        """1 if the method is higher, -1 if lower, 0 if the difference lies within its standard error, twice."""
        difference = self.own["mean"] - self.base["mean"]
        if difference == 0 or abs(difference) <= _ERRORS * math.hypot(_error(self.own), _error(self.base)):
            return 0
        return 1 if difference > 0 else -1

    def text(self, method: str, base: str) -> str:
        return f"{method} {number(self.own['mean'], 2)}, {base} {number(self.base['mean'], 2)}"


def findings(comparison: Mapping[str, Any]) -> list[str]:
    """Return one paragraph for each method beside the first: results, where it looks, whether that is what it uses.

    Two results are called the same where they differ by no more than twice the standard error, over seeds or over the
    episodes or images that were measured, whichever is larger.
    """
    base, *others = comparison["methods"]
    if not others:
        return []
    return [_paragraph(comparison, method, base) for method in others]


def _paragraph(comparison: Mapping[str, Any], method: str, base: str) -> str:
    sentences = [
        *_results(comparison, method, base),
        *_attention(comparison, method, base),
        *_faithfulness(comparison, method),
        *_certainty(comparison, method, base),
    ]
    return " ".join(sentences) if sentences else f"{method} and {base} have no figure in common."


def _pair(comparison: Mapping[str, Any], name: str, method: str, base: str) -> _Pair | None:
    figure = comparison["figures"].get(name, {})
    own, first = figure.get(method), figure.get(base)
    if own is None or first is None or own["mean"] is None or first["mean"] is None:
        return None
    return _Pair(own, first)


def _results(comparison: Mapping[str, Any], method: str, base: str) -> list[str]:
    """Say which method does better, first on levels or images that were not trained on."""
    kind = "return" if any(name.startswith("return/") for name in comparison["figures"]) else "accuracy"
    names = [name for name in comparison["figures"] if name.startswith(f"{kind}/")]
    found = {name.partition("/")[2]: _pair(comparison, name, method, base) for name in names}
    pairs = {name: pair for name, pair in found.items() if pair is not None}
    if not pairs:
        return []
    new = [name for name in pairs if name != TRAIN]
    sentences = []
    if new:
        sentences.append(_verdict(kind, new[0], pairs[new[0]], method, base))
    if TRAIN in pairs:
        sentences.append(_on_training(kind, pairs, new, method, base))
    sentences += _other_sets(kind, {name: pairs[name] for name in new[1:]}, method, base)
    return sentences


def _verdict(kind: str, name: str, pair: _Pair, method: str, base: str) -> str:
    where = (
        f"levels that were not trained on ({name})" if kind == "return" else f"images that were not trained on ({name})"
    )
    numbers = f"{kind} {pair.text(method, base)}"
    if pair.sign == 0:
        return f"On {where} {method} and {base} do equally well, as far as these figures can tell: {numbers}."
    better = "better" if pair.sign > 0 else "worse"
    return f"On {where} {method} does {better} than {base}: {numbers}."


def _on_training(kind: str, pairs: Mapping[str, _Pair], new: list[str], method: str, base: str) -> str:
    pair = pairs[TRAIN]
    where = "training levels" if kind == "return" else "training images"
    numbers = pair.text(method, base)
    if pair.sign < 0:
        told = (
            f"On the {where} {method} is behind ({numbers}): it has learned less in these steps, and whether longer "
            "training closes that gap, these runs do not say"
        )
    else:
        told = f"On the {where} {'the two are equal' if pair.sign == 0 else f'{method} is ahead'} ({numbers})"
    if kind == "return" and new:
        lost = {who: values[TRAIN] - values[new[0]] for who, values in _means(pairs, method, base).items()}
        told += f"; from train to {new[0]} {base} loses {number(lost[base], 2)} and {method} {number(lost[method], 2)}"
    return f"{told}."


def _means(pairs: Mapping[str, _Pair], method: str, base: str) -> dict[str, dict[str, float]]:
    return {
        method: {name: pair.own["mean"] for name, pair in pairs.items()},
        base: {name: pair.base["mean"] for name, pair in pairs.items()},
    }


def _other_sets(kind: str, pairs: Mapping[str, _Pair], method: str, base: str) -> list[str]:
    if not pairs:
        return []
    words = {1: "better", -1: "worse", 0: "the same"}
    parts = []
    for sign, word in words.items():
        of_sign = [f"{name} ({pair.text(method, base)})" for name, pair in pairs.items() if pair.sign == sign]
        if of_sign:
            parts.append(f"{word} on {listed(of_sign)}")
    return [f"Elsewhere the {kind} of {method} is {'; '.join(parts)}."]


def _attention(comparison: Mapping[str, Any], method: str, base: str) -> list[str]:
    """Say how much of the attention lies on the relevant objects, beside what a uniform map would get."""
    measured = _last_set(comparison)
    if measured is None:
        return []
    name, targets = measured
    found = {target: _pair(comparison, f"epg/{target}/{name}", method, base) for target in targets}
    pairs = {target_words(target): pair for target, pair in found.items() if pair is not None}
    if not pairs:
        return []
    own = [f"{_percent(pair.own['mean'])} of the {title}" for title, pair in pairs.items()]
    first = [f"{_percent(pair.base['mean'])} of the {title}" for title, pair in pairs.items()]
    area = _pair(comparison, f"area_fraction/{targets[0]}/{name}", method, base)
    covered = "" if area is None else f", which cover {_percent(area.base['mean'])} of the picture"
    return [f"On {name}, {listed(own)} of {method} lie on the relevant objects{covered}; of {base} {listed(first)}."]


def _faithfulness(comparison: Mapping[str, Any], method: str) -> list[str]:
    """Say whether removing what the method's maps show changes its output more than removing pixels at random."""
    measured = _last_set(comparison)
    told = []
    for target in measured[1] if measured is not None else ():
        own, random = (
            comparison["figures"].get(f"deletion_effect{kind}/{target}/{measured[0]}", {}).get(method)  # type: ignore[index]
            for kind in ("", "_random")
        )
        if own is None or random is None or own["mean"] is None or random["mean"] is None:
            continue
        effect, chance = number(own["mean"], 2), number(random["mean"], 2)
        verdict = (
            "no more than" if own["mean"] <= random["mean"] else "about as much as" if effect == chance else "more than"
        )
        costs = _UNITS.get(target, _CLASS_UNIT).format(effect)
        told.append(
            f"Removing what the {target_words(target)} of {method} marks {costs}, {verdict} removing a random map's "
            f"pixels ({chance})."
        )
    return told


def _last_set(comparison: Mapping[str, Any]) -> tuple[str, list[str]] | None:
    """Return the last set on which maps were measured, and whose maps those are."""
    measured = [name.split("/")[1:] for name in comparison["figures"] if name.startswith("epg/")]
    if not measured:
        return None
    last = measured[-1][1]
    return last, [target for target, name in measured if name == last]


def _certainty(comparison: Mapping[str, Any], method: str, base: str) -> list[str]:
    """Say what so many seeds can show, and which results are significant."""
    figures = comparison["figures"]
    pairs = {
        name: pair
        for name in figures
        if name.startswith(("return/", "accuracy/")) and (pair := _pair(comparison, name, method, base)) is not None
    }
    counts = {(len(pair.base["seeds"]), len(pair.own["seeds"])) for pair in pairs.values()}
    note = significance_note(counts)
    if note or not pairs:
        return [note] if note else []
    sure = [
        f"{name.partition('/')[2]} (p = {number(pair.own['p_against_first'])})"
        for name, pair in pairs.items()
        if pair.own["p_against_first"] is not None and pair.own["p_against_first"] < SIGNIFICANT
    ]
    seeds = counted(max(own for _, own in counts), "seed")
    if not sure:
        return [f"Over {seeds} none of these differences is significant."]
    return [f"Over {seeds} the difference is significant on {listed(sure)}, each test by itself."]


def _error(summary: Mapping[str, Any]) -> float:
    """Return the standard error of a mean: over the seeds, or of the measurement where that is larger."""
    seeds, std = len(summary["seeds"]), summary.get("std")
    over_seeds = std / math.sqrt(seeds) if std is not None and std == std and seeds > 1 else 0.0
    return max(over_seeds, summary.get("measuring_error") or 0.0)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
