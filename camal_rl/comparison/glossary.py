"""The glossary: one definition of every term, used by the page, the command line and the report.

Name, range and direction of a metric come from :mod:`camal_rl.metrics.definition`. A test checks that every metric has
an entry here and that the page matches this module.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from camal_rl.comparison.figure_words import words
from camal_rl.comparison.table import Cell, Table
from camal_rl.metrics.custom import CUSTOM_METRICS, custom_metric
from camal_rl.metrics.definition import (
    ALIGNMENT_METRICS,
    CONTROLLED_METRICS,
    FAITHFULNESS_METRICS,
    STABILITY_METRICS,
    Metric,
)

_SOURCE = "../camal_rl/metrics"
_SAME_FRAMES = "measured on the same frames and shown beside it"


@dataclass(frozen=True)
class Entry:
    """Formula of a metric and its value for a random map.

    Attributes:
        formula: how the metric is computed for one frame; tables show the mean over frames.
        random: the value for a random map.
    """

    formula: str
    random: str


ENTRIES: Mapping[str, Entry] = MappingProxyType(
    {
        "epg": Entry("sum(m t) / sum(m): the share of the attention that lies on the target", "the area fraction"),
        "area_fraction": Entry(
            "mean(t): the share of the cells that the target covers", "it does not depend on the map"
        ),
        "epg_over_area": Entry("EPG / area fraction", "1"),
        "pointing_game": Entry("1 if the map's maximum lies on the target, else 0", "the area fraction"),
        "iou": Entry(
            "cells in both / cells in either, of the target and of the map above half of its range",
            "a / (1 + a) of the area fraction a",
        ),
        "iou_auc": Entry("IoU, averaged over the thresholds .05, .10, ..., .95", "less than the area fraction"),
        "soft_dice": Entry("2 sum(m t) / (sum(m) + sum(t))", "a / (a + .5) of the area fraction a"),
        "mae": Entry("mean |m - t|", ".5"),
        "auroc": Entry("probability that a cell of the target has a higher value than a cell outside", ".5"),
        "auprc": Entry(
            "average precision of the map's values as scores for the cells of the target",
            "the area fraction, for large maps",
        ),
        "deletion_effect": Entry(
            "mean change of the output after removing the most attended 5, 10, ..., 50 % of the pixels", _SAME_FRAMES
        ),
        "deletion_change_auc": Entry(
            "area under the curve of the change, as more and more of the most attended pixels are removed", _SAME_FRAMES
        ),
        "insertion_change_auc": Entry(
            "area under the curve of the remaining change, as more and more of the most attended pixels are shown",
            _SAME_FRAMES,
        ),
        "deletion_effect_lerf": Entry("the deletion effect with the least attended pixels removed first", _SAME_FRAMES),
        "order_gap": Entry("deletion effect, most attended first, minus least attended first", "0"),
        "comprehensiveness": Entry(
            "change of the output after removing the most attended fifth of the pixels", _SAME_FRAMES
        ),
        "sufficiency": Entry(
            "change of the output after keeping only the most attended fifth of the pixels", _SAME_FRAMES
        ),
        "average_drop": Entry(
            "max(0, p - p') / p, where p' is the probability for the image multiplied by the map", _SAME_FRAMES
        ),
        "increase_in_confidence": Entry(
            "1 if p' > p, else 0, where p' is the probability for the image multiplied by the map", _SAME_FRAMES
        ),
        "faithfulness_correlation": Entry(
            "correlation of the removed attention with the change of the output, over removals of a random quarter "
            "of the cells",
            "0",
        ),
        "deletion_effect_net": Entry("deletion effect of the own map minus that of a random map", "0"),
        "insertion_change_auc_net": Entry("insertion area of a random map minus that of the own map", "0"),
        "consistency_spearman": Entry(
            "rank correlation between the map of an image and the map of the same image with a little noise or a "
            "shift by one pixel",
            "0 for a newly drawn map",
        ),
        "consistency_cosine": Entry("cosine similarity of the same two maps", ".75 for a newly drawn map"),
        "randomized_spearman": Entry(
            "rank correlation between the map and the map of the network with random weights", "0"
        ),
    }
)
"""Entries by name of the metric; m is the map, t the target on the same grid, p a probability."""

TERMS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "How numbers are written": {
            "a ± b": "mean and standard deviation: over the seeds in comparisons and reports (divided by n - 1), over "
            "the episodes in the tables of one run.",
            "a (b)": "in tables of deletion: the effect of the model's own map, and in brackets the effect of a random "
            "map on the same frames. Only the difference between the two is informative.",
            "↑, ↓": "higher is better, lower is better. Without an arrow, neither is better.",
            "n": "number of seeds that were evaluated.",
            "p": "p-value of an exact two-sided Mann-Whitney test over the seeds of two methods, not corrected for "
            "the number of rows. Its smallest possible value is 2 / C(n + k, n): .10 for 3 against 3 seeds, .029 "
            "for 4 against 4, .008 for 5 against 5. Tables note where no p below .05 is possible.",
            "Holm": "p after Holm's correction for testing all rows of one method in the table: the smallest p is "
            "multiplied by the number of rows, the next by one less, and so on; the values never decrease and "
            "are at most 1. If the rows below .05 are called different, at most 5 % of such tables contain a "
            "wrong claim. Tables note where the number of rows makes a value below .05 impossible.",
            "Hedges' g": "difference of two methods' means in pooled standard deviations over seeds, with a "
            "correction for few seeds. The 95 % interval is from the noncentral t distribution. It is undefined "
            "if all seeds of each method have the same value.",
            "P(higher)": "probability that a seed of a method has a higher value than a seed of the first method; ties "
            "count half. It is Mann-Whitney's U divided by the number of pairs. .5: neither is higher. Cliff's delta "
            "is 2 P - 1.",
            "95 % interval": "bootstrap interval of the mean over the seeds. It is too narrow with fewer than five "
            "seeds.",
            "undefined": "number of frames for which the metric is undefined, because there is no map or nothing "
            "relevant is in sight. Means exclude these frames.",
        },
        "Returns": {
            "return": "sum of the raw rewards of an episode, averaged over a number of episodes that is fixed in "
            "advance.",
            "level set": "the levels that are played. `train` is the set of training levels. `held_out`, and every "
            "set whose name begins with it, is never used for training. `camal-rl envs ID` lists the level sets "
            "of an environment.",
            "sampled actions": "actions drawn from the policy, as in training (`stochastic` in metrics.json). "
            "Return, gap and normalized return use sampled actions unless stated otherwise.",
            "preferred actions": "always the most probable action (`deterministic` in metrics.json).",
            "gap": "return on `train` minus return on the level set. 0: new levels cost no return. A small gap means "
            "little if both returns are low.",
            "normalized return": "(R - R_min) / (R_max - R_min) where R is the return with sampled actions. 0 is the "
            "return of an agent that sees nothing, 1 is about the best possible return. R_min and R_max are the "
            "constants of Procgen's easy mode (arXiv 1912.01588); other simulators have none.",
            "score": "the number by which the simulator's authors rank agents. Crafter's is exp(mean(ln(1 + s))) - 1 "
            "over the success rates s, in percent, of its 22 achievements (arXiv 2109.06780). It is in [0, 100], and "
            "rare achievements count as much as frequent ones.",
            "success rate": "share of the episodes, in [0, 1], in which the agent achieved something at least once, "
            "such as one of Crafter's achievements.",
            "sees masks": "the agent receives the simulator's segmentation whenever it acts, and sees only objects. "
            "Other agents see unmodified images and use masks only in training, if at all.",
            "excluded duplicates": "episodes on held-out levels that look identical to a training level. Results "
            "exclude them.",
        },
        "Several games": {
            "aggregate": "a summary of the normalized returns on several games. Every game has the same weight, "
            "whatever its number of seeds. Only methods with results on all games are included. The definitions "
            "are those of rliable (arXiv 2108.13264).",
            "IQM": "interquartile mean: the mean of the middle half of all seeds on all games.",
            "optimality gap": "1 minus the mean of min(normalized return, 1): how far a method falls short of the "
            "best return. 0 is best.",
            "P(improvement)": "probability that a seed of a method beats a seed of the first method on a random "
            "game; ties count half. .5: neither is better. An interval that contains .5 shows no difference.",
            "performance profile": "for every value of the normalized return, the share of the seeds above it, "
            "averaged over the games.",
            "stratified bootstrap": "the method behind the intervals of aggregates: seeds are resampled within each "
            "game, 2,000 times. With n seeds per game the intervals are too narrow by the factor sqrt((n - 1) / "
            "n): .71 for 2, .82 for 3, .89 for 5.",
        },
        "Image classifiers": {
            "accuracy": "share of the images that are classified correctly.",
            "worst group": "the lowest accuracy of any group of images, such as a class on one background.",
            "flips": "share of the images whose prediction changes when the same object is drawn on another "
            "background. The control is a new drawing of the same background.",
        },
        "Maps": {
            "attention map": "class activation map (CAM): how much each cell of a layer contributes to one output of "
            "the network, (h, w), at least 0.",
            "value map, policy map": "the attention map of the value V, and of the score of the preferred action.",
            "class map, built-in attention": "the attention map of a classifier's class, and the mask that a model "
            "such as iFAM computes itself.",
            "target": "the cells of the map that contain pixels of relevant objects, from the segmentation. Relevant "
            "classes are marked with * in `camal-rl envs`.",
            "own map": "the attention map of the evaluated model.",
            "random map": "uniform noise on the same grid, upsampled like the own map. It is the chance level.",
            "uniform map": "the same value everywhere. It shows the effect of area alone.",
            "mask as map": "the relevant pixels themselves, used as the map.",
            "neutral map": "a map on which no method is trained: perturbation, integrated gradients.",
            "zero maps": "frames whose map is zero everywhere.",
            "empty masks": "frames in which nothing relevant is in sight.",
        },
        "Changes of the output": {
            "change in std of V": "abs(V - V') in standard deviations of V over the frames. 1 is the typical "
            "difference between frames. For a Q-network, V is the Q-value of the greedy action on the unmodified "
            "frame.",
            "drop in probability": "p(a) - p'(a), where a is the preferred action on the unmodified frame; for "
            "classifiers, the class.",
            "under other backgrounds": "the change when the simulator paints another background behind the same state, "
            "averaged over the interventions background_1, background_2, ... Lower is better. The full suite "
            "measures it.",
            "KL of the policies, SARFA": "other measures of a change of the policy: the KL divergence between the "
            "action probabilities in nats, and a drop that is specific to the preferred action (arXiv "
            "1912.12191).",
            "net": "how much better the own map is than a random map on the same frames. 0 is chance level.",
            "removed pixels": "pixels that are replaced by the frame's mean color, unless a table names another fill.",
            "rank correlation with interventions": "the simulator redraws a frame with another background or without "
            "an object. The metric is Spearman's correlation over these interventions between the attention on "
            "the changed pixels and the change of the decision, averaged over frames. 1: the more attention, the "
            "larger the change.",
        },
    }
)
"""Sections of terms that are not metrics of a map."""

METRIC_SECTIONS: Mapping[str, tuple[Sequence[Metric], str]] = MappingProxyType(
    {
        "Alignment: is the attention on the target": (ALIGNMENT_METRICS, "alignment.py"),
        "Faithfulness: do the marked pixels drive the output": (FAITHFULNESS_METRICS, "faithfulness.py"),
        "Net of a random map": (CONTROLLED_METRICS, "definition.py"),
        "Stability": (STABILITY_METRICS, "consistency.py"),
    }
)

_KEY = 1
_HEADER = ("term", "key", "better", "range", "random map", "formula", "source")
_INTRODUCTION = """# Glossary

This page defines every term of the tables, plots and reports; `camal-rl glossary [WORD]` prints the entries. The page
is generated by `python -m camal_rl.comparison.glossary`; change the entries there.
"""
METRIC_NOTE = (
    "m is the map, t the target on its grid (1 in cells with relevant objects). IoU, soft Dice and MAE use the map "
    "scaled to [0, 1] by its minimum and maximum. Tables show means over the frames for which a metric is defined."
)


def glossary_tables(word: str = "") -> list[Table]:
    """Return the glossary as tables, or only the terms whose name or key contains a word."""
    tables = glossary_terms()
    sections = {title: metrics for title, (metrics, _) in METRIC_SECTIONS.items()}
    for title, metrics in {**sections, "Your own": _own_metrics()}.items():
        rows = tuple(tuple(Cell(text) for text in _metric_row(metric)) for metric in metrics)
        tables.append(Table(title, METRIC_NOTE, _HEADER, len(_HEADER), rows))
    found = [_filtered(table, word.casefold()) for table in tables]
    return [table for table in found if table.rows]


def glossary_terms() -> list[Table]:
    """Return the terms that are not metrics of a map, one table for each section."""
    return [_terms_table(title, terms) for title, terms in TERMS.items()]


def metrics_glossary() -> Table:
    """Return the table of all metrics, for a report."""
    shipped = [metric for metrics, _ in METRIC_SECTIONS.values() for metric in metrics]
    rows = [_metric_row(metric) for metric in (*shipped, *_own_metrics())]
    cells = tuple(tuple(Cell(text) for place, text in enumerate(row) if place != _KEY) for row in rows)
    header = tuple(title for place, title in enumerate(_HEADER) if place != _KEY)
    return Table("Metrics of maps", METRIC_NOTE, header, len(header), cells)


def glossary_page() -> str:
    """Return the text of docs/glossary.md."""
    lines = [_INTRODUCTION]
    for title, terms in TERMS.items():
        lines += [f"## {title}", "", "| term | meaning |", "| --- | --- |"]
        lines += [f"| {term} | {_linked(_escaped(meaning))} |" for term, meaning in terms.items()]
        lines.append("")
    for title, (metrics, module) in METRIC_SECTIONS.items():
        lines += [f"## {title}", "", METRIC_NOTE, ""]
        lines += [f"| {' | '.join(_HEADER)} |", f"|{' --- |' * len(_HEADER)}"]
        for metric in metrics:
            term, key, *rest, source = map(_escaped, _metric_row(metric))
            code = f"[code]({_SOURCE}/{module})"
            lines.append(f"| {' | '.join((term, f'`{key}`', *rest, f'{_linked(source)} ({code})'))} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _own_metrics() -> list[Metric]:
    return [custom_metric(name).definition for name in CUSTOM_METRICS]


def _entry(name: str) -> Entry:
    if name in ENTRIES:
        return ENTRIES[name]
    own = custom_metric(name)
    return Entry(own.formula, own.random)


def _metric_row(metric: Metric) -> tuple[str, ...]:
    entry = _entry(metric.name)
    better = {True: "higher", False: "lower", None: "-"}[metric.higher_is_better]
    low, high = map(_bound, metric.range)
    return (
        words(metric.name),
        metric.name,
        better,
        f"{low}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{high}",
        entry.random,
        entry.formula,
        metric.source,
    )


def _terms_table(title: str, terms: Mapping[str, str]) -> Table:
    rows = tuple((Cell(term), Cell(meaning.replace("`", ""))) for term, meaning in terms.items())
    return Table(title, "", ("term", "meaning"), 2, rows)


def _filtered(table: Table, word: str) -> Table:
    names = 1 if table.header != _HEADER else 2
    rows = tuple(row for row in table.rows if any(word in cell.text.casefold() for cell in row[:names]))
    return Table(table.title, table.caption, table.header, table.labels, rows)


def _bound(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else ("-∞" if value < 0 else "∞")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def _linked(text: str) -> str:
    return re.sub(r"arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", text)


if __name__ == "__main__":
    print(glossary_page(), end="")
