"""The tables of a report: their figures and the labels of their rows."""

from __future__ import annotations

from camal_rl.comparison.estimates import estimates, keys, names
from camal_rl.comparison.figure_words import figure_words, map_words, target_words, with_arrow, words
from camal_rl.comparison.figures import COUNTS, SUCCESS, headline_keys, is_alignment
from camal_rl.comparison.groups import MANY_METHODS, Group
from camal_rl.comparison.method_tables import Row, method_table, narrow_cell
from camal_rl.comparison.number_words import counted, spanned
from camal_rl.comparison.run_tables import ACTIONS, success_words
from camal_rl.comparison.table import Cell, Table, table_of
from camal_rl.runs.attention_results import MAP_COUNTS
from camal_rl.runs.results import ResultKey

_LONG = 15
_RANKED = {"remove": "removals", "all": "all interventions"}
_MEANS = "Mean ± standard deviation over seeds."
_UNDEFINED = "undefined_frames"
_OVERVIEW = ("return", "accuracy", "worst_group_accuracy", "epg")


def overview_table(group: Group) -> Table | None:
    """Return the main figures of every method, a row each; ``None`` for methods so few that sentences do."""
    if len(group.methods) <= MANY_METHODS:
        return None
    rows = [((figure_words(key, arrow=True),), key) for key in headline_keys(group) if key.figure in _OVERVIEW]
    return method_table(group, "All methods", ("figure",), rows, _MEANS, corrections=False)


def returns_tables(group: Group) -> list[Table]:
    """Return the tables of returns by level set and kind of action, of the simulator's own score, and of the gaps."""
    rows: list[Row] = []
    for name in names(group, "level_set", figure="return"):
        rows += [((name, words_), ResultKey("return", name, control=actions)) for actions, words_ in ACTIONS.items()]
        rows.append(((name, "sampled, normalized"), ResultKey("normalized_return", name, control="stochastic")))
    scores: list[Row] = [
        ((name, words_), ResultKey("score", name, control=actions))
        for name in names(group, "level_set", figure="score")
        for actions, words_ in ACTIONS.items()
    ]
    reached: list[Row] = [
        ((success_words(key.figure), key.level_set or "-"), key)
        for key in keys(group, control="stochastic")
        if key.figure.startswith(SUCCESS)
    ]
    gaps: list[Row] = [
        ((name, words_), ResultKey("gap", name, control=actions))
        for name in names(group, "level_set", figure="gap")
        for actions, words_ in ACTIONS.items()
    ]
    caption = "Return on train minus return on the level set. A small gap means little if both returns are low."
    labels = ("level set", "actions")
    return _filled(
        method_table(group, "Return", labels, rows, _MEANS, intervals=True),
        method_table(group, "The simulator's own score", labels, scores, _MEANS, intervals=True),
        method_table(group, "Success rates, sampled actions", ("reached", "level set"), reached, folded=True),
        method_table(group, "Generalization gap", labels, gaps, caption, intervals=True),
    )


def accuracy_tables(group: Group) -> list[Table]:
    """Return the table of accuracies by set: on average, in the worst group, in every group."""
    rows: list[Row] = []
    for name in names(group, "level_set", figure="accuracy"):
        rows.append(((name, "all images"), ResultKey("accuracy", name)))
        rows.append(((name, "worst group"), ResultKey("worst_group_accuracy", name)))
        rows += [
            ((name, each), ResultKey("accuracy", name, control=each))
            for each in names(group, "control", figure="accuracy", level_set=name)
        ]
    return _filled(method_table(group, "Accuracy \N{UPWARDS ARROW}", ("set", "group"), rows, _MEANS, intervals=True))


def background_tables(group: Group) -> list[Table]:
    """Return the table of changes of the prediction on another background."""
    figures = {
        ResultKey("background_flips"): "share of other textures that flip the prediction \N{DOWNWARDS ARROW}",
        ResultKey("background_flips", control="any"): "share of images that some other texture flips "
        "\N{DOWNWARDS ARROW}",
        ResultKey("background_flips", control="same_texture"): "share of images that a new drawing of their texture "
        "flips (control)",
        ResultKey("accuracy_swapped"): "accuracy on other textures \N{UPWARDS ARROW}",
    }
    rows: list[Row] = [
        ((name, words_), key._replace(level_set=name))
        for name in names(group, "level_set", figure="background_flips")
        for key, words_ in figures.items()
    ]
    caption = "The generator redraws the same object on another background and changes nothing else."
    return _filled(method_table(group, "Background swap", ("set", "figure"), rows, caption, intervals=True))


def alignment_tables(group: Group, target: str) -> list[Table]:
    """Return the agreement of a target's map with the masks, one table for each level set."""
    tables = []
    for name in _level_sets(group):
        found = [key for key in keys(group, level_set=name, target=target) if is_alignment(key)]
        rows: list[Row] = [((with_arrow(key.figure),), key) for key in found]
        rows += [((words(count),), ResultKey(count, name, target, "own")) for count in MAP_COUNTS]
        caption = f"Map: {_described(group, target, 'map')}; {_frames(group, name, target)} of each run."
        title = f"Alignment of the {target_words(target)}, level set {name}"
        tables.append(method_table(group, title, ("figure",), rows, caption, intervals=True))
    return _filled(*tables)


def faithfulness_tables(group: Group, target: str) -> list[Table]:
    """Return the effect of removing pixels, for the model's own map and its controls."""
    tables = []
    sets = _level_sets(group)
    for name in sets:
        caption = f"Score: {_described(group, target, 'score')}."
        title = f"Faithfulness of the {target_words(target)}, level set {name}"
        for fill in names(group, "control", figure="deletion_effect", level_set=name, target=target):
            rows = _faithfulness_rows(group, name, target, fill)
            heading = title if fill == "mean" else f"{title}, fill {fill}"
            folded = fill != "mean" or (name != sets[-1] and len(rows) > _LONG)
            tables.append(method_table(group, heading, ("figure", "map"), rows, caption, folded=folded))
    return _filled(*tables)


def _faithfulness_rows(group: Group, level_set: str, target: str, fill: str) -> list[Row]:
    found = keys(group, level_set=level_set, target=target, control=fill)
    figures = list(dict.fromkeys(key.figure for key in found))
    figures.sort(key=lambda figure: figure in COUNTS)
    maps = list(dict.fromkeys(key.map for key in found if key.map is not None))
    titles = {each: "undefined frames" if each == _UNDEFINED else with_arrow(each) for each in figures}
    return [
        ((titles[figure], map_words(each)), ResultKey(figure, level_set, target, each, fill))
        for figure in figures
        for each in maps
    ]


def sanity_tables(group: Group, target: str) -> list[Table]:
    """Return the consistency of maps, and their change as the network's weights are randomized."""
    tables = []
    for name in _level_sets(group):
        found = keys(group, level_set=name, target=target, map="own")
        consistency: list[Row] = [
            ((with_arrow(key.figure), words(key.control)), key)
            for key in found
            if key.figure.startswith("consistency_") and key.control is not None
        ]
        stages: list[Row] = [
            ((words(key.control),), key)
            for key in found
            if key.figure == "randomized_spearman" and key.control is not None
        ]
        where = f"{target_words(target)}, level set {name}"
        caption = "Correlation with the map of the trained network; ideally 0."
        tables += [
            method_table(group, f"Consistency, {where}", ("figure", "change of the image"), consistency),
            method_table(group, f"Randomized weights, {where}", ("randomized up to",), stages, caption),
        ]
    return _filled(*tables)


def counterfactual_tables(group: Group) -> list[Table]:
    """Return the effects of the simulator's interventions, and whether the maps rank them in the same order."""
    tables = []
    figure = "rank_correlation"
    sets = dict.fromkeys(name for each in ("changed_area", figure) for name in names(group, "level_set", figure=each))
    for name in sets:
        tables.append(_interventions(group, name))
        for control, over in _RANKED.items():
            rows: list[Row] = [
                ((target_words(key.target), map_words(key.map)), key)
                for key in keys(group, figure=figure, level_set=name, control=control)
                if key.target is not None and key.map is not None
            ]
            title = f"Rank correlation of attention and effect over {over}, level set {name}"
            caption = "1: the more attention, the larger the effect. A uniform map shows the effect of area alone."
            tables.append(method_table(group, title, ("attention", "map"), rows, caption))
    return _filled(*tables)


def _interventions(group: Group, level_set: str) -> Table:
    """Return the effect of every intervention, and the number of frames that it changes."""
    interventions = names(group, "control", figure="changed_area", level_set=level_set)
    found = [key for key in keys(group, level_set=level_set) if key.control in interventions]
    columns = list(dict.fromkeys(key._replace(control=None) for key in found))
    rows: list[list[str | Cell]] = []
    for name in interventions:
        known = {column: estimates(group, column._replace(control=name)) for column in columns}
        for method in group.methods:
            cells = [narrow_cell(known[column][method]) for column in columns]
            rows.append([name, method, _frames_of(group, method, level_set, name), *cells])
    caption = "Changes of the output when the simulator changes the scene; below, the standard deviation over seeds."
    title = f"Interventions, level set {level_set}"
    return table_of(title, ("intervention", "method"), ("frames", *map(_column_words, columns)), rows, caption)


def _frames_of(group: Group, method: str, level_set: str, intervention: str) -> str:
    found = (each for run in group.of(method) for each in run.results.select(level_set=level_set, control=intervention))
    counts = [each.count for each in found if each.count is not None]
    return spanned(counts) if counts else "-"


def _column_words(key: ResultKey) -> str:
    return (
        f"attention of the {target_words(key.target)}" if key.map is not None and key.target else with_arrow(key.figure)
    )


def _level_sets(group: Group) -> list[str]:
    return names(group, "level_set", figure="epg")


def _described(group: Group, target: str, part: str) -> str:
    """Return how a target's map was computed or scored, or one description for each method where they differ."""
    texts = {
        run.method: getattr(run.metrics.maps[target], part)
        for run in group.runs
        if run.metrics is not None and target in run.metrics.maps
    }
    texts = {method: text for method, text in texts.items() if text is not None}
    if len(set(texts.values())) < 2:
        return next(iter(texts.values()), "unknown")
    return "; ".join(f"{method}: {text}" for method, text in texts.items())


def _frames(group: Group, level_set: str, target: str) -> str:
    found = (run.results.find(ResultKey("zero_maps", level_set, target, "own")) for run in group.runs if run.metrics)
    counts = dict.fromkeys(None if each is None else each.count for each in found)
    return " or ".join("an unknown number" if count is None else counted(count, group.task.frame) for count in counts)


def _filled(*tables: Table) -> list[Table]:
    return [table for table in tables if table.rows]
