"""The sections of a report and their parts, with one line for each missing part."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from camal_rl import __version__
from camal_rl.comparison.effects import effects_table, seeds_table
from camal_rl.comparison.estimates import names
from camal_rl.comparison.figure_words import CONTROLS
from camal_rl.comparison.findings import findings
from camal_rl.comparison.glossary import glossary_terms, metrics_glossary
from camal_rl.comparison.groups import MANY_METHODS, Group
from camal_rl.comparison.number_words import counted, listed, spanned
from camal_rl.comparison.report import plots, provenance, tables
from camal_rl.comparison.report.document import Document, FrameGrid, Part, Section
from camal_rl.comparison.report.games import games_section
from camal_rl.comparison.report.pictures import frame_grid
from camal_rl.comparison.significance import seeds_note
from camal_rl.runs.curves import UnreadableCurvesWarning

Given = TypeVar("Given")
OnStage = Callable[[str], None]
STAGES = ("results", "learning curves", "pictures", "origin")
# With more environments than this, the heading only counts them.
_NAMED = 3
_NO_AGGREGATE = "no aggregate over environments; it needs normalized returns on at least two"
_FULL = "camal-rl evaluate RUN --suite full measures them"


def document(groups: Sequence[Group], title: str | None = None, on_stage: OnStage = lambda _: None) -> Document:
    """Return the report on groups of runs.

    Args:
        groups: from :func:`camal_rl.comparison.groups.group_runs`.
        title: heading of the page; by default environments and methods.
        on_stage: called with the name of each of :data:`STAGES` when it is done, for every group.
    """
    methods = dict.fromkeys(method for group in groups for method in group.methods)
    envs = listed([group.env for group in groups]) if len(groups) <= _NAMED else counted(len(groups), "environment")
    shown = ", ".join(methods) if len(methods) <= MANY_METHODS else counted(len(methods), "method")
    over_games, why_not = games_section(groups)
    facts = [*_facts(groups), *([f"{_NO_AGGREGATE}: {'; '.join(why_not)}"] if why_not else [])]
    sections = (*_given(over_games), *(_section(group, on_stage) for group in groups))
    return Document(title or f"{envs}: {shown}", tuple(facts), sections, metrics_glossary(), tuple(glossary_terms()))


def _section(group: Group, on_stage: OnStage) -> Section:
    parts = [_RESULTS[name](group) for name in group.task.report_parts]
    parts.append(_effects(group))
    on_stage("results")
    parts.append(_learning(group))
    on_stage("learning curves")
    parts.append(_frames(group))
    on_stage("pictures")
    parts += [_settings(group), _origin(group)]
    on_stage("origin")
    note = seeds_note(group)
    notes = (*group.notes, note) if note else group.notes
    return Section(group.env, tuple(findings(group)), notes, tuple(parts), overview=tables.overview_table(group))


def _returns(group: Group) -> Part:
    found = tables.returns_tables(group)
    notes = () if found else ("No returns were measured.",)
    return Part("Returns", notes, _given(plots.returns_plot(group)), tuple(found))


def _accuracy(group: Group) -> Part:
    found = tables.accuracy_tables(group)
    notes = () if found else ("No accuracy was measured.",)
    return Part("Accuracy", notes, _given(plots.accuracy_plot(group)), tuple(found))


def _backgrounds(group: Group) -> Part:
    found = tables.background_tables(group)
    notes = () if found else ("Backgrounds were not swapped: the image set cannot redraw its images.",)
    return Part("Background swap", notes, tables=tuple(found))


def _alignment(group: Group) -> Part:
    found = [table for target in _targets(group) for table in tables.alignment_tables(group, target)]
    notes = () if found else ("No attention was measured: there are no masks, or it was switched off.",)
    return Part("Alignment", notes, _given(plots.attention_plot(group)), tuple(found))


def _faithfulness(group: Group) -> Part:
    found = [
        table
        for target in _targets(group)
        for table in (*tables.faithfulness_tables(group, target), *tables.sanity_tables(group, target))
    ]
    curves = plots.faithfulness_plots(group)
    notes = [CONTROLS] if found else ["Faithfulness was not measured."]
    if found and not curves and "counterfactuals" in group.task.report_parts:
        notes.append(f"No faithfulness curves: {_FULL}.")
    return Part("Faithfulness", tuple(notes), tuple(curves), tuple(found))


def _counterfactuals(group: Group) -> Part:
    found = tables.counterfactual_tables(group)
    notes = () if found else (f"No counterfactuals were measured: {_FULL}, where the simulator can change a scene.",)
    return Part("Counterfactuals", notes, tables=tuple(found))


def _effects(group: Group) -> Part:
    found = tuple(table for table in (effects_table(group), seeds_table(group)) if table.rows)
    notes = () if found else ("No figure was measured.",)
    return Part("Seeds and effect sizes", notes, tables=found)


_RESULTS: Mapping[str, Callable[[Group], Part]] = {
    "returns": _returns,
    "accuracy": _accuracy,
    "alignment": _alignment,
    "faithfulness": _faithfulness,
    "counterfactuals": _counterfactuals,
    "backgrounds": _backgrounds,
}


def _targets(group: Group) -> list[str]:
    """Return the targets whose maps were measured on at least one set."""
    return names(group, "target", figure="epg")


def _learning(group: Group) -> Part:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UnreadableCurvesWarning)
        plot = plots.curves_plot(group)
    notes = []
    for each in caught:
        if issubclass(each.category, UnreadableCurvesWarning):
            notes.append(f"{each.message}.")
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if plot is None and not notes:
        notes.append("No learning curves: the runs have no TensorBoard logs.")
    return Part("Learning", tuple(notes), _given(plot))


def _frames(group: Group) -> Part:
    grid: FrameGrid | None = None
    notes: tuple[str, ...] = ()
    try:
        grid = frame_grid(group)
    except (ImportError, OSError, ValueError, TypeError) as error:
        notes = (f"No pictures: {' '.join(str(error).split())}.",)
    return Part("Pictures", notes, frames=grid)


def _settings(group: Group) -> Part:
    table = provenance.difference_table(group)
    notes = () if table or len(group.methods) == 1 else ("All methods have the same settings.",)
    shown = () if table is None else (table,)
    return Part("Configuration", notes, tables=shown, texts=tuple(provenance.configurations(group)))


def _origin(group: Group) -> Part:
    versions = provenance.provenance_table(group)
    notes = () if versions else ("The runs have no provenance.json: versions and machine are unknown.",)
    shown = (provenance.runs_table(group), *(() if versions is None else (versions,)))
    return Part("Origin", notes, tables=shown, texts=tuple(provenance.commands(group)))


def _facts(groups: Sequence[Group]) -> list[str]:
    facts = [f"{group.env}: {_group_facts(group)}" for group in groups]
    made = datetime.datetime.now(datetime.timezone.utc).date()
    return [*facts, f"made {made:%Y-%m-%d} by camal-rl {__version__}"]


def _group_facts(group: Group) -> str:
    facts: dict[str, Iterable[object]] = {
        "seeds": sorted({run.seed for run in group.runs}),
        "training": [group.length],
        **_measured(group),
        "suite": dict.fromkeys(run.metrics.suite for run in group.runs if run.metrics is not None),
    }
    told = [f"{name} {', '.join(map(str, values))}" for name, values in facts.items() if values]
    return "; ".join([", ".join(group.methods), *told])


def _measured(group: Group) -> dict[str, Iterable[object]]:
    """Return the numbers of episodes, frames or images that were actually measured."""
    episodes, frames = (
        [each.count for run in group.runs for each in run.results.select(figure=figure) if each.count is not None]
        for figure in ("return", "zero_maps")
    )
    looks = dict.fromkeys(counted(count, group.task.frame) for count in frames)
    told = {"episodes for each return": [spanned(episodes)] if episodes else [], "attention figures on": looks}
    return {words: values for words, values in told.items() if values}


def _given(optional: Given | None) -> tuple[Given, ...]:
    return () if optional is None else (optional,)
