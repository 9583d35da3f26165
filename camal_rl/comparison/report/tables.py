"""Tables of what was measured: one row for each figure, one column for each method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from camal_rl.comparison.report.document import Cell, Table
from camal_rl.comparison.report.estimates import Estimate, as_number, estimates, keys, look_up
from camal_rl.comparison.report.runs import Group
from camal_rl.comparison.tables import ACTIONS, number
from camal_rl.comparison.wording import counted, map_words, target_words, with_arrow, words

Row = tuple[tuple[str, ...], tuple[str, ...]]
"""The words at the left of a row, and the path of its figure in ``metrics.json``."""

_LONG = 15
_RANKED = {"rank_correlation": "removals", "rank_correlation_all": "all interventions"}
_COUNTS = ("undefined", "zero_maps", "nonfinite_maps", "empty_targets")


def method_table(
    group: Group,
    title: str,
    labels: Sequence[str],
    rows: Sequence[Row],
    caption: str = "",
    intervals: bool = False,
    folded: bool = False,
) -> Table:
    """Return a table with the mean and spread of every method, and the p of each against the first.

    Args:
        group: the runs.
        title: what the table shows.
        labels: titles of the columns of words.
        rows: words and figures; those that no run has are left out.
        caption: how to read it, beside what all such tables need.
        intervals: show the bootstrap interval of every mean.
        folded: show the table only on request.
    """
    others = group.methods[1:]
    header = (*labels, *(_with_count(group, method) for method in group.methods), *(_p_title(group, m) for m in others))
    cells = []
    for texts, path in rows:
        found = estimates(group, *path)
        if _worth_a_row(path[-1], found.values()):
            line = [Cell(text) for text in texts]
            line += [estimate_cell(found[method], intervals, path[-1] in _COUNTS) for method in group.methods]
            line += [Cell(number(found[method].p_against(found[group.baseline]))) for method in others]
            cells.append(tuple(line))
    return Table(title, caption, header, len(labels), tuple(cells), folded)


def _worth_a_row(key: str, found: Iterable[Estimate]) -> bool:
    """Say whether any method has the figure; of what is only counted, whether there was anything to count."""
    return any(estimate.count and (key not in _COUNTS or estimate.mean > 0) for estimate in found)


def estimate_cell(estimate: Estimate, interval: bool = False, count: bool = False) -> Cell:
    """Return mean ± standard deviation, and on request the 95 % bootstrap interval below it."""
    digits = 1 if count else 3
    text = number(estimate.mean, digits)
    if count and estimate.std == 0:
        text = text.removesuffix(".0")
    elif estimate.count > 1:
        text += f" ± {number(estimate.std, digits)}"
    span = estimate.interval() if interval else None
    return Cell(text, "" if span is None else f"{number(span.low)} to {number(span.high)}")


def returns_tables(group: Group) -> list[Table]:
    """Return the table of returns by level set and kind of action, and that of the gaps to the training levels."""
    rows: list[Row] = []
    for name in keys(group, "returns"):
        rows += [((name, words_), ("returns", name, key, "mean")) for key, words_ in ACTIONS.items()]
        rows.append(((name, "sampled, normalized"), ("returns", name, "stochastic", "normalized")))
    gaps: list[Row] = [
        ((name, words_), ("gap", name, key)) for name in keys(group, "gap") for key, words_ in ACTIONS.items()
    ]
    labels = ("level set", "actions")
    caption = "Mean ± standard deviation over seeds; below, the 95 % bootstrap interval of the mean."
    return _filled(
        method_table(group, "Return", labels, rows, caption, intervals=True),
        method_table(
            group,
            "Generalization gap",
            labels,
            gaps,
            "Return on train minus return on the level set. A small gap is worth little where both returns are low.",
            intervals=True,
        ),
    )


def accuracy_tables(group: Group) -> list[Table]:
    """Return the table of accuracies by set: on average, in the worst group, in every group."""
    rows: list[Row] = []
    for name in keys(group, "accuracy"):
        root = ("accuracy", name)
        rows += [((name, "all images"), (*root, "average")), ((name, "worst group"), (*root, "worst_group"))]
        rows += [((name, each), (*root, "groups", each, "accuracy")) for each in keys(group, *root, "groups")]
    caption = "Mean ± standard deviation over seeds; below, the 95 % bootstrap interval of the mean."
    return _filled(method_table(group, "Accuracy \N{UPWARDS ARROW}", ("set", "group"), rows, caption, intervals=True))


def background_tables(group: Group) -> list[Table]:
    """Return the table of what another background does to the prediction."""
    figures = {
        "flips": "share of other textures that flip the prediction \N{DOWNWARDS ARROW}",
        "flips_any": "share of images that some other texture flips \N{DOWNWARDS ARROW}",
        "flips_same_texture": "share of images that a new drawing of their texture flips (control)",
        "accuracy_swapped": "accuracy on other textures \N{UPWARDS ARROW}",
    }
    rows: list[Row] = [
        ((name, words_), ("background_swap", name, key))
        for name in keys(group, "background_swap")
        for key, words_ in figures.items()
    ]
    caption = "The same object on another background, drawn by the generator: nothing else changes."
    return _filled(method_table(group, "Background swap", ("set", "figure"), rows, caption, intervals=True))


def alignment_tables(group: Group, target: str) -> list[Table]:
    """Return the agreement of a target's map with the masks, one table for each level set."""
    tables = []
    for name in keys(group, "attention"):
        root = ("attention", name, target)
        rows: list[Row] = [((with_arrow(key),), (*root, "alignment", key)) for key in keys(group, *root, "alignment")]
        rows += [((words(key),), (*root, key)) for key in _COUNTS[1:]]
        caption = f"Map: {_texts(group, *root, 'map')}; {_frames(group, root)} of each run."
        title = f"Alignment of the {target_words(target)}, level set {name}"
        tables.append(method_table(group, title, ("figure",), rows, caption, intervals=True))
    return _filled(*tables)


def faithfulness_tables(group: Group, target: str) -> list[Table]:
    """Return what removing pixels does, for the model's own map and the controls beside it."""
    tables = []
    sets = keys(group, "attention")
    for name in sets:
        root = ("attention", name, target)
        caption = f"Score: {_texts(group, *root, 'score')}."
        title = f"Faithfulness of the {target_words(target)}, level set {name}"
        rows = _faithfulness_rows(group, *root, "faithfulness")
        folded = name != sets[-1] and len(rows) > _LONG
        tables.append(method_table(group, title, ("figure", "map"), rows, caption, folded=folded))
        for fill in keys(group, *root, "fills"):
            rows = _faithfulness_rows(group, *root, "fills", fill)
            heading = f"{title}, fill {fill}"
            tables.append(method_table(group, heading, ("figure", "map"), rows, caption, folded=True))
    return _filled(*tables)


def sanity_tables(group: Group, target: str) -> list[Table]:
    """Return how consistent maps are, and how they change as the network's weights are randomized."""
    tables = []
    for name in keys(group, "attention"):
        root = ("attention", name, target)
        consistency: list[Row] = [
            ((with_arrow(key),), (*root, "consistency", key)) for key in keys(group, *root, "consistency")
        ]
        layers = keys(group, *root, "randomization")
        stages: list[Row] = [((words(key),), (*root, "randomization", key)) for key in layers]
        where = f"{target_words(target)}, level set {name}"
        caption = "Correlation with the map of the trained network; ideally 0."
        tables += [
            method_table(group, f"Consistency, {where}", ("figure",), consistency),
            method_table(group, f"Randomized weights, {where}", ("randomized up to",), stages, caption),
        ]
    return _filled(*tables)


def counterfactual_tables(group: Group) -> list[Table]:
    """Return what the simulator's own interventions change, and whether the maps rank them the same way."""
    tables = []
    for name in keys(group, "counterfactuals"):
        root = ("counterfactuals", name)
        caption = "What changes when the simulator itself changes the scene; below, the standard deviation over seeds."
        tables.append(_interventions(group, f"Interventions, level set {name}", caption, (*root, "interventions")))
        for part, over in _RANKED.items():
            rows: list[Row] = [
                ((target_words(target), map_words(key)), (*root, part, target, key))
                for target in keys(group, *root, part)
                for key in keys(group, *root, part, target)
            ]
            title = f"Rank correlation of attention and effect over {over}, level set {name}"
            caption = "1: what is attended to most matters most. A uniform map earns what area alone earns."
            tables.append(method_table(group, title, ("attention", "map"), rows, caption))
    return _filled(*tables)


def _interventions(group: Group, title: str, caption: str, root: tuple[str, ...]) -> Table:
    names = keys(group, *root)
    items = [look_up(run.metrics, (*root, name)) or {} for run in group.runs for name in names]
    figures = list(dict.fromkeys(key for item in items for key in item if as_number(item[key]) is not None))
    rows = []
    for name in names:
        found = {figure: estimates(group, *root, name, figure) for figure in figures}
        for method in group.methods:
            cells = [_narrow_cell(found[figure][method], figure == "frames") for figure in figures]
            rows.append((Cell(name), Cell(method), *cells))
    return Table(title, caption, ("intervention", "method", *map(with_arrow, figures)), 2, tuple(rows))


def _narrow_cell(estimate: Estimate, count: bool) -> Cell:
    """Return the mean, and the standard deviation below it: for tables with many columns."""
    mean, _, std = estimate_cell(estimate, count=count).text.partition(" ± ")
    return Cell(mean, f"± {std}" if std else "")


def _faithfulness_rows(group: Group, *root: str) -> list[Row]:
    maps = keys(group, *root)
    figures = list(dict.fromkeys(figure for each in maps for figure in keys(group, *root, each)))
    figures.sort(key=lambda figure: figure in _COUNTS)
    titles = {figure: "undefined frames" if figure == "undefined" else with_arrow(figure) for figure in figures}
    return [((titles[figure], map_words(each)), (*root, each, figure)) for figure in figures for each in maps]


def _with_count(group: Group, method: str) -> str:
    evaluated = sum(run.metrics is not None for run in group.of(method))
    return f"{method} (n = {evaluated})"


def _p_title(group: Group, method: str) -> str:
    return "p" if len(group.methods) == 2 else f"p {method}"


def _texts(group: Group, *path: str) -> str:
    """Return the text at a path, or each method's own where they differ."""
    texts = {run.method: look_up(run.metrics, path) for run in group.runs if look_up(run.metrics, path) is not None}
    if len(set(texts.values())) < 2:
        return next(iter(texts.values()), "unknown")
    return "; ".join(f"{method}: {text}" for method, text in texts.items())


def _frames(group: Group, root: tuple[str, ...]) -> str:
    counts = dict.fromkeys(look_up(run.metrics, (*root, "frames")) for run in group.runs if run.metrics)
    return " or ".join("an unknown number" if count is None else counted(count, group.task.frame) for count in counts)


def _filled(*tables: Table) -> list[Table]:
    return [table for table in tables if table.rows]
