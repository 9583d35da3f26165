"""The findings in words: what is better, what is worse, and whether the seeds can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from camal_rl.comparison.report.estimates import Estimate, estimates, keys
from camal_rl.comparison.report.runs import Group
from camal_rl.comparison.significance import SIGNIFICANT
from camal_rl.comparison.tables import number
from camal_rl.comparison.wording import listed, seeds_words, target_words
from camal_rl.statistics import holm, smallest_p

Path = tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """One figure of a method beside that of the first method; higher is better in all of them."""

    name: str
    own: Estimate
    baseline: Estimate

    @property
    def difference(self) -> float:
        """Mean of the method minus mean of the first method."""
        return self.own.mean - self.baseline.mean

    def text(self) -> str:
        """Return the figure in words, with its p where there is one."""
        p = self.own.p_against(self.baseline)
        tested = "" if p is None else f" (p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{number(p)})"
        return f"{self.name}, {number(self.own.mean)} against {number(self.baseline.mean)}{tested}"


def summary(group: Group) -> list[str]:
    """Return one paragraph for each method that is compared with the first; for a single method, its figures."""
    evaluated = {method: [run for run in group.of(method) if run.metrics] for method in group.methods}
    present = [method for method in group.methods if evaluated[method]]
    if not present:
        return ["None of these runs is evaluated, so there are no results; camal-rl evaluate RUN measures them."]
    baseline, *others = present
    if not others:
        return [_alone(group, baseline)]
    return [_against(group, method, baseline) for method in others]


def headlines(group: Group) -> list[tuple[str, Path]]:
    """Return names and paths of the figures of a summary: returns or accuracy, and attention on the last set."""
    found: list[tuple[str, Path]] = [
        (f"return on {name}", ("returns", name, "stochastic", "mean")) for name in keys(group, "returns")
    ]
    for name in keys(group, "accuracy"):
        found.append((f"accuracy on {name}", ("accuracy", name, "average")))
        found.append((f"accuracy of the worst group on {name}", ("accuracy", name, "worst_group")))
    found += [
        (f"accuracy on other backgrounds of {name}", ("background_swap", name, "accuracy_swapped"))
        for name in keys(group, "background_swap")
    ]
    for name in keys(group, "attention")[-1:]:
        for target in keys(group, "attention", name):
            root = ("attention", name, target)
            found.append((f"EPG of the {target_words(target)} on {name}", (*root, "alignment", "epg")))
            found.append(
                (f"deletion effect of the {target_words(target)}", (*root, "faithfulness", "own", "deletion_effect"))
            )
    return found


def _alone(group: Group, method: str) -> str:
    found = [(name, estimates(group, *path)[method]) for name, path in headlines(group)]
    told = [
        f"{name} {number(estimate.mean)}" + (f" ± {number(estimate.std)}" if estimate.count > 1 else "")
        for name, estimate in found
        if estimate.count
    ]
    sentences = [f"{method}, {_count(group, method)}, nothing to compare it with: {listed(told)}."]
    return " ".join([*sentences, *_unfaithful(group, method)])


def _against(group: Group, method: str, baseline: str) -> str:
    findings = []
    for name, path in headlines(group):
        found = estimates(group, *path)
        if found[method].count and found[baseline].count:
            findings.append(Finding(name, found[method], found[baseline]))
    sentences = [f"{method} ({_count(group, method)}) against {baseline} ({_count(group, baseline)})."]
    for verb, chosen in (
        ("is better on", [each for each in findings if each.difference > 0]),
        ("loses on", [each for each in findings if each.difference < 0]),
        ("equals it on", [each for each in findings if each.difference == 0]),
    ):
        if chosen:
            sentences.append(f"In the mean, {method} {verb} {'; '.join(each.text() for each in chosen)}.")
    sentences.append(_significance(findings))
    for each in (method, baseline):
        sentences += _unfaithful(group, each)
    return " ".join(sentences)


def _significance(findings: Sequence[Finding]) -> str:
    """Say which differences survive Holm's correction, or that so few seeds could not show any."""
    tested = [(each, p) for each in findings if (p := each.own.p_against(each.baseline)) is not None]
    if not tested:
        return "With a single seed nothing can be said about significance."
    possible = min(smallest_p(each.own.count, each.baseline.count) for each, _ in tested)
    if possible >= SIGNIFICANT:
        return f"None of this is significant: with so few seeds no p below {number(possible)} is possible."
    single = (
        f"{sum(p < SIGNIFICANT for _, p in tested)} of {len(tested)} differences have p < {SIGNIFICANT} by themselves"
    )
    adjusted = holm([p for _, p in tested])
    sure = [each for (each, _), p in zip(tested, adjusted, strict=True) if p < SIGNIFICANT]
    if not sure:
        return f"{single}; after Holm's correction none is significant (smallest p {number(min(adjusted))})."
    gains = [each.name for each in sure if each.difference > 0]
    losses = [each.name for each in sure if each.difference < 0]
    told = [f"{kind} on {listed(names)}" for kind, names in (("gains", gains), ("losses", losses)) if names]
    return f"{single}; after Holm's correction these are significant: {'; '.join(told)}."


def _unfaithful(group: Group, method: str) -> list[str]:
    """Say of which maps deleting what they show does no more than deleting by a random map."""
    sentences = []
    for name in keys(group, "attention")[-1:]:
        for target in keys(group, "attention", name):
            root = ("attention", name, target, "faithfulness")
            own = estimates(group, *root, "own", "deletion_effect")[method]
            random = estimates(group, *root, "random", "deletion_effect")[method]
            if own.mean <= random.mean:
                sentences.append(
                    f"The {target_words(target)} of {method} is no more faithful than a random one: deleting by it "
                    f"has an effect of {number(own.mean)}, by a random map {number(random.mean)}."
                )
    return sentences


def _count(group: Group, method: str) -> str:
    return seeds_words(sum(run.metrics is not None for run in group.of(method)))
