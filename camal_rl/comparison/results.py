"""What a comparison found: per-seed values, spread, intervals and tests, as JSON, Markdown and a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from camal_rl.comparison.findings import findings
from camal_rl.comparison.plan import PlannedRun
from camal_rl.comparison.report.document import Table
from camal_rl.comparison.significance import significance_note
from camal_rl.comparison.tables import number, table_of
from camal_rl.comparison.wording import counted, figure_words
from camal_rl.metrics import CUSTOM_METRICS, METRICS_BY_NAME
from camal_rl.runs.run_folder import read_json, read_metrics
from camal_rl.statistics import mann_whitney_p, mean_interval, spread

Values = Mapping[str, float]
_TABLE_RESULTS = ("return/", "gap/held_out", "accuracy/", "worst_group_accuracy/", "background_flips/")
_TABLE_ALIGNMENT = ("epg", "pointing_game", "iou")
_TABLE_EFFECTS = ("deletion_effect", "deletion_effect_random", "deletion_effect_net", "insertion_change_auc_net")


def flat_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a ``metrics.json`` by name; those that are not defined are left out.

    Names: ``return/<set>``, ``return_deterministic/<set>``, ``normalized/<set>``, ``gap/<set>``, alignment metrics
    ``<metric>/<target>/<set>``, and ``deletion_effect/<target>/<set>`` with ``_random`` and ``_mask`` controls; the
    same of ``insertion_change_auc``. Of image classifiers ``accuracy/<set>``, ``worst_group_accuracy/<set>``,
    ``background_flips/<set>`` and ``background_flips_same_texture/<set>`` in place of returns and gaps.
    """
    flat: dict[str, float | None] = {}
    for name, result in metrics.get("returns", {}).items():
        flat[f"return/{name}"] = result["stochastic"]["mean"]
        flat[f"return_deterministic/{name}"] = result["deterministic"]["mean"]
        flat[f"normalized/{name}"] = result["stochastic"].get("normalized")
    for name, gap in metrics.get("gap", {}).items():
        flat[f"gap/{name}"] = gap["stochastic"]
    for name, result in metrics.get("accuracy", {}).items():
        flat[f"accuracy/{name}"] = result["average"]
        flat[f"worst_group_accuracy/{name}"] = result["worst_group"]
    for name, result in metrics.get("background_swap", {}).items():
        flat[f"background_flips/{name}"] = result["flips"]
        flat[f"background_flips_same_texture/{name}"] = result["flips_same_texture"]
    for set_name, targets in metrics["attention"].items():
        for target, result in targets.items():
            for metric, value in result["alignment"].items():
                flat[f"{metric}/{target}/{set_name}"] = value
            for kind, effect in result["faithfulness"].items():
                suffix = "" if kind == "own" else f"_{kind}"
                flat[f"deletion_effect{suffix}/{target}/{set_name}"] = effect["deletion_effect"]
                flat[f"insertion_change_auc{suffix}/{target}/{set_name}"] = effect.get("insertion_change_auc")
            for metric in ("deletion_effect", "insertion_change_auc"):
                flat[f"{metric}_net/{target}/{set_name}"] = _net_of_random(metric, result["faithfulness"])
    return {name: float(value) for name, value in flat.items() if value is not None}


def _net_of_random(metric: str, faithfulness: Mapping[str, Mapping[str, float | None]]) -> float | None:
    """Return by how much the own map does better than a random one on the same frames."""
    own, random = (faithfulness.get(kind, {}).get(metric) for kind in ("own", "random"))
    if own is None or random is None:
        return None
    return own - random if METRICS_BY_NAME[metric].higher_is_better else random - own


def measuring_errors(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the standard errors of returns and accuracies over the episodes and images that they are means of."""
    errors = {}
    for name, result in metrics.get("returns", {}).items():
        found = result["stochastic"]
        if found.get("std") is not None and found.get("episodes"):
            errors[f"return/{name}"] = found["std"] / math.sqrt(found["episodes"])
    for name, result in metrics.get("accuracy", {}).items():
        share = result["average"]
        errors[f"accuracy/{name}"] = math.sqrt(share * (1 - share) / result["n"])
    return errors


def compare_runs(runs: Sequence[PlannedRun]) -> dict[str, Any]:
    """Return the comparison: for each figure and method per-seed values, mean, std and a 95 % bootstrap interval.

    Methods are tested against the first one (two-sided Mann-Whitney p); with n seeds each the smallest possible p is
    .10 for 3 seeds and .008 for 5, so few seeds cannot show significance. ``measuring_error`` is the standard error of
    a mean over episodes or images; how much seeds differ comes on top of it.
    """
    methods = list(dict.fromkeys(planned.method for planned in runs))
    config = runs[0].config
    metrics = {planned: read_metrics(planned.folder.metrics_file) for planned in runs}
    by_run = {planned: flat_metrics(found) for planned, found in metrics.items()}
    errors = {planned: measuring_errors(found) for planned, found in metrics.items()}
    names = list(dict.fromkeys(name for values in by_run.values() for name in values))
    figures: dict[str, Any] = {}
    for name in names:
        seeds = {
            method: {str(run.seed): by_run[run][name] for run in runs if run.method == method and name in by_run[run]}
            for method in methods
        }
        figures[name] = {method: _summary(values, seeds[methods[0]]) for method, values in seeds.items()}
        figures[name][methods[0]]["p_against_first"] = None
        for method in methods:
            measured = [errors[run].get(name) for run in runs if run.method == method and name in by_run[run]]
            figures[name][method]["measuring_error"] = _error_of_mean(measured)
    return {
        "env": config.task,
        "methods": methods,
        "seeds": sorted({planned.seed for planned in runs}),
        "length": trained_length(runs),
        "figures": figures,
    }


def trained_length(runs: Sequence[PlannedRun]) -> str:
    """Return how long the runs were trained, in words: agents for whole rollouts, which may be more than asked for."""
    files = [planned.folder.train_file for planned in runs]
    steps = {read_json(file)["timesteps"] for file in files if file.is_file()}
    if not runs[0].config.counts_steps or not steps:
        return runs[0].config.length
    return " or ".join(f"{count:,}" for count in sorted(steps)) + " steps"


def _error_of_mean(errors: Sequence[float | None]) -> float | None:
    known = [each for each in errors if each is not None]
    return math.hypot(*known) / len(known) if known and len(known) == len(errors) else None


def _summary(values: Values, baseline: Values) -> dict[str, Any]:
    scores = list(values.values())
    if not scores:
        return {"seeds": {}, "mean": None, "std": None, "interval": None, "p_against_first": None}
    both = len(scores) > 1 and len(baseline) > 1
    summary = spread(scores)
    interval = mean_interval(scores)
    return {
        "seeds": dict(values),
        "mean": summary.mean,
        "std": summary.std,
        "interval": None if interval is None else [interval.low, interval.high],
        "p_against_first": mann_whitney_p(scores, list(baseline.values())) if both else None,
    }


def headline_figures(comparison: Mapping[str, Any]) -> list[str]:
    """Return the names of the figures that the table shows: returns, and attention on the last attention set."""
    names = list(comparison["figures"])
    returns = [name for name in names if name.startswith(_TABLE_RESULTS)]
    measured = [name.split("/", 2)[1:] for name in names if name.startswith("epg/")]
    if not measured:
        return returns
    set_name = measured[-1][1]
    targets = list(dict.fromkeys(target for target, _ in measured))
    attention = [
        f"{metric}/{target}/{set_name}" for metric in (*_TABLE_ALIGNMENT, *CUSTOM_METRICS) for target in targets
    ]
    effects = [f"{metric}/{target}/{set_name}" for target in targets for metric in _TABLE_EFFECTS]
    return [name for name in (*returns, *attention, *effects) if name in names]


def comparison_rows(comparison: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table, as text; without a second seed there is nothing to test."""
    first, *others = comparison["methods"]
    figures = {name: comparison["figures"][name] for name in headline_figures(comparison)}
    tested = [m for m in others if any(figure[m]["p_against_first"] is not None for figure in figures.values())]
    header = ["figure", *comparison["methods"], *(f"p, {method} against {first}" for method in tested)]
    rows = []
    for name, figure in figures.items():
        cells = [figure_words(name, arrow=True)]
        for method in comparison["methods"]:
            mean, std = figure[method]["mean"], figure[method]["std"]
            cells.append(number(mean) if std is None or std != std else f"{number(mean)} ± {number(std)}")
        cells += [number(figure[method]["p_against_first"]) for method in tested]
        rows.append(cells)
    return header, rows


def comparison_title(comparison: Mapping[str, Any]) -> str:
    """Return what the comparison is of."""
    seeds = len(comparison["seeds"])
    spread_ = "mean ± std over " if seeds > 1 else ""
    return f"{comparison['env']}, {comparison['length']}, {spread_}{counted(seeds, 'seed')} of each method"


def comparison_caption(comparison: Mapping[str, Any]) -> str:
    """Return how to read the table; whether the seeds are enough for any test."""
    first, *others = comparison["methods"]
    figures = [comparison["figures"][name] for name in headline_figures(comparison)]
    pairs = [(len(each[first]["seeds"]), len(each[method]["seeds"])) for each in figures for method in others]
    return significance_note(pair for pair in pairs if min(pair) > 0)


def comparison_table(comparison: Mapping[str, Any]) -> Table:
    """Return the table for the terminal."""
    header, rows = comparison_rows(comparison)
    return table_of(comparison_title(comparison), header[:1], header[1:], rows, comparison_caption(comparison))


def comparison_markdown(comparison: Mapping[str, Any]) -> str:
    """Return what came out in words, the table and every method's per-seed values as Markdown."""
    header, rows = comparison_rows(comparison)
    caption = comparison_caption(comparison)
    lines = [f"# {comparison_title(comparison)}", ""]
    lines += [line for paragraph in findings(comparison) for line in (paragraph, "")]
    lines += [*_markdown_table(header, rows), "", *([caption, ""] if caption else []), "## Every seed", ""]
    names = headline_figures(comparison)
    seeds = [str(seed) for seed in comparison["seeds"]]
    detail = []
    for name in names:
        for method in comparison["methods"]:
            figure = comparison["figures"][name][method]
            interval = figure["interval"]
            span = "-" if interval is None else f"{number(interval[0])} to {number(interval[1])}"
            values = (number(figure["seeds"].get(seed)) for seed in seeds)
            detail.append([figure_words(name), method, span, *values])
    lines += _markdown_table(["figure", "method", "95 % interval", *(f"seed {seed}" for seed in seeds)], detail)
    lines += ["", "What the terms mean: `camal-rl glossary`, or docs/glossary.md."]
    return "\n".join(lines) + "\n"


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]
