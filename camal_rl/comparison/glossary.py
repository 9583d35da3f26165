"""What every term of the tables means: one text for the page, the command line and the report.

Name, range and direction of a metric are those of :mod:`camal_rl.metrics.definition`; a test holds that every metric
has an entry here and that the page is what this module writes.
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
_SAME_FRAMES = "shown beside it, on the same frames"


@dataclass(frozen=True)
class Entry:
    """What a reader needs beyond a metric's definition.

    Attributes:
        formula: how it is computed, for one frame; tables show the mean over the frames.
        random: what a random map gets.
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
        "auroc": Entry("how often a cell of the target is brighter than one outside", ".5"),
        "auprc": Entry("precision averaged over the recall of the target's cells", "the area fraction, in large maps"),
        "deletion_effect": Entry(
            "mean change of the output with the brightest 5, 10, ..., 50 % of the pixels removed", _SAME_FRAMES
        ),
        "deletion_change_auc": Entry(
            "area under the change, while more and more of the brightest pixels are removed", _SAME_FRAMES
        ),
        "insertion_change_auc": Entry(
            "area under the remaining change, while more and more of the brightest pixels are shown", _SAME_FRAMES
        ),
        "deletion_effect_lerf": Entry("the deletion effect with the darkest pixels removed first", _SAME_FRAMES),
        "order_gap": Entry("deletion effect, brightest first, minus darkest first", "0"),
        "comprehensiveness": Entry("change of the output without the brightest fifth of the pixels", _SAME_FRAMES),
        "sufficiency": Entry("change of the output with only the brightest fifth of the pixels", _SAME_FRAMES),
        "average_drop": Entry("max(0, p - p') / p; p' with the image times the map", _SAME_FRAMES),
        "increase_in_confidence": Entry("1 if p' > p, else 0; p' with the image times the map", _SAME_FRAMES),
        "faithfulness_correlation": Entry(
            "correlation, over random quarters of the cells, of the attention removed and the change", "0"
        ),
        "deletion_effect_net": Entry("deletion effect of the own map minus that of a random map", "0"),
        "insertion_change_auc_net": Entry("insertion area of a random map minus that of the own map", "0"),
        "consistency_spearman": Entry(
            "rank correlation of the maps of an image and of the image with a little noise or shifted by a pixel",
            "0 for a map drawn anew",
        ),
        "consistency_cosine": Entry("cosine of the same two maps", ".75 for a map drawn anew"),
        "randomized_spearman": Entry("rank correlation of the map with that of the network with random weights", "0"),
    }
)
"""By the name of the metric; m is the map, t the target on the same grid, p a probability."""

TERMS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "How numbers are written": {
            "a ± b": "mean and standard deviation: over the seeds in comparisons and reports (divided by n - 1), over "
            "the episodes in the tables of one run.",
            "a (b)": "in tables of deletion: the effect of the model's own map, and in brackets that of a random map "
            "on the same frames. Only the difference of the two is informative.",
            "↑, ↓": "higher is better, lower is better. Without an arrow, neither is better.",
            "n": "number of seeds that were evaluated.",
            "p": "two-sided Mann-Whitney test over the seeds of two methods, exact, not corrected for the number of "
            "rows. Its smallest possible value is 2 / C(n + k, n): .10 for 3 against 3 seeds, .029 for 4 against 4, "
            ".008 for 5 against 5. Where no p below .05 is possible, tables say so.",
            "Holm": "p corrected for testing all rows of the table for one method: the smallest p times the number of "
            "rows, the next times one less, and so on, never falling, at most 1. If the rows below .05 are called "
            "different, any of them is wrong in at most 5 % of such tables. Where so many rows leave no value "
            "below .05, tables say so.",
            "Hedges' g": "difference of two methods' means in pooled standard deviations over seeds, corrected for "
            "few seeds; with its 95 % interval from the noncentral t distribution. It is undefined where no seed "
            "differs from another of its method.",
            "P(higher)": "how often a seed of a method is higher than one of the first method, ties counted half: "
            "Mann-Whitney's U over the number of pairs. .5: neither is higher. Cliff's delta is 2 P - 1.",
            "95 % interval": "bootstrap interval of the mean over the seeds. With fewer than five seeds it is too "
            "narrow.",
            "undefined": "number of frames for which the metric is undefined: no map, or nothing relevant in sight. "
            "No mean includes them.",
        },
        "Returns": {
            "return": "sum of the raw rewards of an episode, averaged over a number of episodes that is fixed "
            "beforehand.",
            "level set": "the levels that are played. `train` are the training levels; `held_out` and sets whose name "
            "begins with it are never trained on. `camal-rl envs ID` lists those of an environment.",
            "sampled actions": "drawn from the policy, as in training (`stochastic` in metrics.json). Return, gap and "
            "normalized return are of sampled actions unless stated otherwise.",
            "preferred actions": "always the most probable one (`deterministic` in metrics.json).",
            "gap": "return on `train` minus return on the level set; 0: nothing is lost on new levels. A small gap "
            "means little where both returns are low.",
            "normalized return": "(R - R_min) / (R_max - R_min) of the sampled actions' return R: 0 is the return of "
            "an agent that sees nothing, about 1 the best possible. R_min and R_max are those of Procgen's easy mode "
            "(arXiv 1912.01588); other simulators have no such range.",
            "score": "what the simulator's authors rank agents by. Crafter's is exp(mean(ln(1 + s))) - 1 over the "
            "success rates s in percent of its 22 achievements (arXiv 2109.06780): 0 to 100, and rare achievements "
            "count as much as frequent ones.",
            "success rate": "share of the episodes in which something was reached at least once, in [0, 1].",
            "sees masks": "the agent is given the simulator's segmentation whenever it acts, and sees objects only. "
            "Other agents see images as they are, and use masks in training at most.",
            "excluded duplicates": "episodes on held-out levels that look like a training level; they are left out.",
        },
        "Several games": {
            "aggregate": "a summary of the normalized returns of several games. Every game has the same weight, "
            "however many seeds it has; only methods with results on all games are in it. The definitions are those of "
            "rliable (arXiv 2108.13264).",
            "IQM": "interquartile mean: the mean of the middle half of all seeds on all games.",
            "optimality gap": "1 minus the mean of min(normalized return, 1): by how much a method falls short of the "
            "best. 0 is best.",
            "P(improvement)": "how often a seed of a method beats one of the first method on a random game, ties "
            "counted half. .5: neither is better. An interval that contains .5 shows no difference.",
            "performance profile": "for every normalized return, the share of the seeds above it, averaged over the "
            "games.",
            "stratified bootstrap": "the intervals of aggregates: seeds are drawn anew within each game, 2,000 times. "
            "With n seeds a game they are too narrow by the factor sqrt((n - 1) / n): .71 for 2, .82 for 3, .89 for 5.",
        },
        "Image classifiers": {
            "accuracy": "share of the images whose class is recognized.",
            "worst group": "the lowest accuracy of any group of images, such as a class on one background.",
            "flips": "share of the images whose prediction changes when the same object is drawn on another "
            "background. The control draws the same background anew.",
        },
        "Maps": {
            "attention map": "class activation map (CAM): how much each cell of a layer contributes to one output of "
            "the network, (h, w), at least 0.",
            "value map, policy map": "the map of the value V, and that of the preferred action's score.",
            "class map, built-in attention": "the map of a classifier's class, and the mask that a model such as iFAM "
            "makes itself.",
            "target": "the cells of the map that contain pixels of relevant objects, from the segmentation. Relevant "
            "classes are marked with * in `camal-rl envs`.",
            "own map": "the map of the model that is measured.",
            "random map": "uniform noise on the same grid, enlarged like the own map. It shows what chance alone "
            "gives.",
            "uniform map": "the same value everywhere. It shows what area alone gives.",
            "mask as map": "the relevant pixels themselves, used as the map.",
            "neutral map": "a map that no method is trained on: perturbation, integrated gradients.",
            "zero maps": "frames whose map is zero everywhere.",
            "empty masks": "frames with nothing relevant in sight.",
        },
        "Changes of the output": {
            "change in std of V": "abs(V - V') in standard deviations of V over the frames. 1 is as much as the value "
            "typically differs between frames. For a Q-network V is Q of the action that is greedy on the whole frame.",
            "drop in probability": "p(a) - p'(a) of the action a that the policy prefers on the whole frame; for "
            "classifiers, of the class.",
            "KL of the policies, SARFA": "other measures of the change of the policy: the divergence of the action "
            "probabilities in nats, and a drop that is specific to the preferred action (arXiv 1912.12191).",
            "net": "by how much the own map is better than a random map on the same frames; 0 is no better than "
            "chance.",
            "removed pixels": "replaced by the frame's mean color, unless a table names another fill.",
            "rank correlation with interventions": "the simulator redraws a frame with another background or without "
            "an object. The metric is Spearman's correlation, over these interventions, of the attention on the "
            "changed pixels with the change of the decision, as a mean over frames. 1: the more attention, the larger "
            "the change.",
        },
    }
)
"""Sections of terms that are no metrics of a map."""

METRIC_SECTIONS: Mapping[str, tuple[Sequence[Metric], str]] = MappingProxyType(
    {
        "Alignment: does the map lie on the target": (ALIGNMENT_METRICS, "alignment.py"),
        "Faithfulness: does what the map shows drive the output": (FAITHFULNESS_METRICS, "faithfulness.py"),
        "Net of a random map": (CONTROLLED_METRICS, "definition.py"),
        "Stability": (STABILITY_METRICS, "consistency.py"),
    }
)

_KEY = 1
_HEADER = ("term", "key", "better", "range", "a random map gets", "formula", "source")
_INTRODUCTION = """# Glossary

Every term of the tables, plots and reports. `camal-rl glossary [WORD]` prints it. This page is written by
`python -m camal_rl.comparison.glossary`; change the entries there.
"""
METRIC_NOTE = (
    "m is the map, t the target on its grid (1 where something relevant is). IoU, soft Dice and MAE use the map "
    "scaled to [0, 1] by its minimum and maximum. Tables show means over the frames where a metric is defined."
)


def glossary_tables(word: str = "") -> list[Table]:
    """Return the glossary as tables, or only the terms whose name or key holds a word."""
    tables = glossary_terms()
    sections = {title: metrics for title, (metrics, _) in METRIC_SECTIONS.items()}
    for title, metrics in {**sections, "Your own": _own_metrics()}.items():
        rows = tuple(tuple(Cell(text) for text in _metric_row(metric)) for metric in metrics)
        tables.append(Table(title, METRIC_NOTE, _HEADER, len(_HEADER), rows))
    found = [_filtered(table, word.casefold()) for table in tables]
    return [table for table in found if table.rows]


def glossary_terms() -> list[Table]:
    """Return the terms that are no metrics of a map, a table for each section."""
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
