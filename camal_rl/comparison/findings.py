"""The findings of a comparison as sentences computed from its figures, including where a method is worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from camal_rl.comparison.estimates import Estimate, estimates, keys
from camal_rl.comparison.figure_words import figure_words, target_words
from camal_rl.comparison.figures import TRAIN, judged_keys, last_maps
from camal_rl.comparison.groups import Group
from camal_rl.comparison.number_words import counted, listed, number, p_value, p_words
from camal_rl.comparison.significance import SIGNIFICANT, significance_note
from camal_rl.runs.results import ResultKey
from camal_rl.statistics import holm

# Of results that differ by no more than this number of standard errors, no difference is claimed.
_ERRORS = 2.0
_UNITS = {
    "value": "changes the value by {} standard deviations",
    "policy": "lowers the probability of the preferred action by {}",
    "q": "changes the Q-value of the preferred action by {} standard deviations",
}
_CLASS_UNIT = "lowers the probability of the class by {}"
_DENSITY_UNIT = "lowers the density of the preferred action by {} of itself"
_DENSITY = "density"
_FURTHER = {
    "worst_group_accuracy": "The accuracy of the worst group of {}",
    "accuracy_swapped": "On other backgrounds the accuracy of {}",
}


@dataclass(frozen=True)
class _Pair:
    """One figure of a method and of the first method."""

    own: Estimate
    base: Estimate

    @property
    def difference(self) -> float:
        return self.own.mean - self.base.mean

    @property
    def sign(self) -> int:
        """1 if the method is higher, -1 if lower, 0 if the difference is within twice its standard error."""
        error = (self.own.error**2 + self.base.error**2) ** 0.5
        if self.difference == 0 or abs(self.difference) <= _ERRORS * error:
            return 0
        return 1 if self.difference > 0 else -1

    def text(self, method: str, base: str) -> str:
        return f"{method} {number(self.own.mean, 2)}, {base} {number(self.base.mean, 2)}"


Pairs = Mapping[str, _Pair]
"""Pairs by level set."""


def findings(group: Group) -> list[str]:
    """Return one paragraph for each method after the first: results, attention, faithfulness, significance.

    No difference is claimed between two results within twice the standard error, over seeds or over the measured
    episodes or images, whichever is larger. That does not show that they are equal. A single method gets a paragraph
    with its figures.
    """
    present = [method for method in group.methods if group.evaluated(method)]
    if not present:
        return ["None of these runs is evaluated, so there are no results; camal-rl evaluate RUN measures them."]
    base, *others = present
    told = [_paragraph(group, method, base) for method in others] or [_alone(group, base)]
    return [_noted_once(group, text) for text in told]


def _noted_once(group: Group, text: str) -> str:
    """State once, at the beginning, what a method receives when it acts, instead of a note at every mention."""
    notes = []
    for method in (each for each in group.methods if group.acting_note(each) and each in text):
        plain = group.plain_name(method)
        text = text.replace(method, plain)
        notes.append(f"{plain} {group.acting_note(method)} whenever it acts.")
    return " ".join([*notes, text])


def _paragraph(group: Group, method: str, base: str) -> str:
    sentences = [
        *_results(group, method, base),
        *_attention(group, method, base),
        *_faithfulness(group, method),
        *_faithfulness(group, base, only_without=True),
        *_certainty(group, method, base),
    ]
    return " ".join(sentences) if sentences else f"{method} and {base} have no metric in common."


def _alone(group: Group, method: str) -> str:
    found = [(key, estimates(group, key)[method]) for key in judged_keys(group)]
    told = [
        f"{figure_words(key)} {number(each.mean)}" + (f" ± {number(each.std)}" if each.count > 1 else "")
        for key, each in found
        if each.count
    ]
    seeds = counted(group.evaluated(method), "seed")
    sentence = f"{method} has {seeds} and no method to compare with" + (f": {listed(told)}." if told else ".")
    return " ".join([sentence, *_faithfulness(group, method)])


def _pair(group: Group, key: ResultKey, method: str, base: str) -> _Pair | None:
    found = estimates(group, key)
    return _Pair(found[method], found[base]) if found[method].count and found[base].count else None


def _pairs(group: Group, figure: str, method: str, base: str) -> dict[str, _Pair]:
    """Return both methods' values of a figure by level set, with sampled actions or over all images."""
    found = {}
    for key in keys(group, figure=figure):
        pair = _pair(group, key, method, base) if key.control in (None, "stochastic") else None
        if pair is not None and key.level_set is not None:
            found[key.level_set] = pair
    return found


def _results(group: Group, method: str, base: str) -> list[str]:
    """State which method is better, first on levels or images that were not trained on."""
    kind = "return" if keys(group, figure="return") else "accuracy"
    pairs = _pairs(group, kind, method, base)
    new = [name for name in pairs if name != TRAIN]
    sentences = []
    if new:
        sentences.append(_verdict(kind, new[0], pairs[new[0]], method, base))
    if TRAIN in pairs:
        sentences.append(_on_training(kind, pairs, new, method, base))
    sentences += _other_sets("The " + kind + " of {}", {name: pairs[name] for name in new[1:]}, method, base)
    for figure, subject in _FURTHER.items():
        sentences += _other_sets(subject, _pairs(group, figure, method, base), method, base)
    return sentences


def _verdict(kind: str, name: str, pair: _Pair, method: str, base: str) -> str:
    where = f"{'levels' if kind == 'return' else 'images'} that were not trained on ({name})"
    numbers = f"{kind} {pair.text(method, base)}"
    if pair.sign == 0:
        return f"On {where} no difference is shown: {numbers}, within twice the standard error."
    better = "better" if pair.sign > 0 else "worse"
    return f"On {where} {method} does {better} than {base}: {numbers}."


def _on_training(kind: str, pairs: Pairs, new: list[str], method: str, base: str) -> str:
    pair = pairs[TRAIN]
    where = "training levels" if kind == "return" else "training images"
    numbers = pair.text(method, base)
    if pair.sign < 0:
        told = (
            f"On the {where} {method} is behind ({numbers}): it has learned less in these steps. These runs do not "
            "show whether longer training closes that gap"
        )
    else:
        told = f"On the {where} {'no difference is shown' if pair.sign == 0 else f'{method} is ahead'} ({numbers})"
    if kind == "return" and new:
        lost_base = number(pair.base.mean - pairs[new[0]].base.mean, 2)
        lost_own = number(pair.own.mean - pairs[new[0]].own.mean, 2)
        told += f". From train to {new[0]} {base} loses {lost_base} and {method} {lost_own}"
    return f"{told}."


def _other_sets(subject: str, pairs: Pairs, method: str, base: str) -> list[str]:
    if not pairs:
        return []
    words = {1: "better", -1: "worse", 0: "not shown to differ"}
    parts = []
    for sign, word in words.items():
        of_sign = [f"{name} ({pair.text(method, base)})" for name, pair in pairs.items() if pair.sign == sign]
        if of_sign:
            parts.append(f"{word} on {listed(of_sign)}")
    return [f"{subject.format(method)} is {'; '.join(parts)}."]


def _attention(group: Group, method: str, base: str) -> list[str]:
    """State the share of the attention on the relevant objects, with the share that a uniform map would have."""
    measured = last_maps(group)
    if measured is None:
        return []
    name, targets = measured
    found = {target: _pair(group, ResultKey("epg", name, target, "own"), method, base) for target in targets}
    pairs = {target_words(target): pair for target, pair in found.items() if pair is not None}
    if not pairs:
        return []
    own = [f"{_percent(pair.own.mean)} of the {title}" for title, pair in pairs.items()]
    first = [f"{_percent(pair.base.mean)} of the {title}" for title, pair in pairs.items()]
    area = _pair(group, ResultKey("area_fraction", name, targets[0], "own"), method, base)
    covered = "" if area is None else f", which cover {_percent(area.base.mean)} of the picture"
    return [
        f"On {name}, {listed(own)} of {method} lie on the relevant objects{covered}. For {base} it is {listed(first)}."
    ]


def _faithfulness(group: Group, method: str, only_without: bool = False) -> list[str]:
    """State whether removing the pixels that a method's maps mark changes its output more than removing random pixels.

    Args:
        group: the runs.
        method: the method whose maps are described.
        only_without: describe only maps whose effect is no larger than that of a random map.
    """
    measured = last_maps(group)
    told = []
    for target in measured[1] if measured is not None else ():
        own, random = (
            estimates(group, ResultKey("deletion_effect", measured[0], target, map_, "mean"))[method]  # type: ignore[index]
            for map_ in ("own", "random")
        )
        if not own.count or not random.count or (only_without and own.mean > random.mean):
            continue
        effect, chance = number(own.mean, 2), number(random.mean, 2)
        verdict = "no more than" if own.mean <= random.mean else "about as much as" if effect == chance else "more than"
        costs = _unit(group, method, target).format(effect)
        told.append(
            f"Removing the pixels that the {target_words(target)} of {method} marks {costs}, {verdict} removing a "
            f"random map's pixels ({chance})."
        )
    return told


def _unit(group: Group, method: str, target: str) -> str:
    """Return the words on an effect; policies with continuous actions have a density in place of probabilities."""
    described = (run.metrics.maps.get(target) for run in group.of(method) if run.metrics is not None)
    scores = [each.score or "" for each in described if each is not None]
    if target == "policy" and any(score.startswith(_DENSITY) for score in scores):
        return _DENSITY_UNIT
    return _UNITS.get(target, _CLASS_UNIT)


def _certainty(group: Group, method: str, base: str) -> list[str]:
    """State which differences are significant, before and after Holm's correction, or that the seeds are too few."""
    found = [(key, _pair(group, key, method, base)) for key in judged_keys(group)]
    pairs = {key: pair for key, pair in found if pair is not None}
    counts = {(pair.base.count, pair.own.count) for pair in pairs.values()}
    note = significance_note(counts)
    tested = [(key, pair, p) for key, pair in pairs.items() if (p := pair.own.p_against(pair.base)) is not None]
    if note or not tested:
        return [note] if note else []
    seeds = counted(max(own for _, own in counts), "seed")
    sure = [f"{figure_words(key)} ({p_words(p)})" for key, _, p in tested if p < SIGNIFICANT]
    if not sure:
        return [f"Over {seeds} none of these differences is significant."]
    single = (
        f"Over {seeds} {len(sure)} of {len(tested)} differences {'has' if len(sure) == 1 else 'have'} "
        f"p < {SIGNIFICANT} before correction: {listed(sure)}"
    )
    return [f"{single}; {_corrected(tested)}."]


def _corrected(tested: Sequence[tuple[ResultKey, _Pair, float]]) -> str:
    adjusted = holm([p for _, _, p in tested])
    sure = [(key, pair) for (key, pair, _), p in zip(tested, adjusted, strict=True) if p < SIGNIFICANT]
    if not sure:
        return f"after Holm's correction none is significant (smallest p {p_value(min(adjusted))})"
    gains = [figure_words(key) for key, pair in sure if pair.difference > 0]
    losses = [figure_words(key) for key, pair in sure if pair.difference < 0]
    told = [f"{kind} on {listed(names)}" for kind, names in (("gains", gains), ("losses", losses)) if names]
    return f"after Holm's correction these are significant: {'; '.join(told)}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
