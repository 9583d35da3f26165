"""The model card of a shared model: description, training, results, loading and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camal_rl import __version__
from camal_rl.comparison.findings import findings
from camal_rl.comparison.groups import FoundRun, essential_settings, group_runs
from camal_rl.comparison.number_words import listed
from camal_rl.comparison.report.hub_metadata import front_matter
from camal_rl.comparison.report.write import markdown_template
from camal_rl.comparison.run_tables import run_tables
from camal_rl.comparison.table import Table, table_of
from camal_rl.runs.hub_model import HubModel
from camal_rl.runs.task import task_of

_CITATION = """\
@misc{hundal2026camal,
  title = {CAMAL: Improving Attention Alignment and Faithfulness with Segmentation Masks},
  author = {Hundal, Rajdeep Singh and Xiao, Yan and Dong, Jin Song and Rigger, Manuel},
  year = {2026},
  eprint = {2605.08325},
  archivePrefix = {arXiv},
}"""
_PACKAGES = ("python", "camal-rl", "torch", "stable-baselines3", "gymnasium", "transformers", "numpy")
_LISTED = 12
"""Longer settings, such as lists of interventions, are only in ``config.yaml``."""


@dataclass(frozen=True)
class Card:
    """The values for the card's template; see ``templates/model_card.md.j2``."""

    title: str
    version: str
    verb: str
    model: HubModel
    facts: Table
    resumed: str
    settings: Table
    left_out: str
    evaluated: bool
    findings: Sequence[str]
    tables: Sequence[Table]
    measured: str
    maps: Sequence[str]
    sets: Table
    limits: Sequence[str]
    citation: str = _CITATION


def model_card(run: FoundRun, model: HubModel, settings: Mapping[str, Any], left_out: Sequence[str]) -> str:
    """Return the text of ``README.md``, beginning with the metadata for the Hub.

    Args:
        run: the run; the contents of its files may be published.
        model: the task's description of the model.
        settings: its configuration with dotted keys; it may be published.
        left_out: keys of the settings that are not published.
    """
    metrics = run.metrics
    group = group_runs([run])[0]
    card = Card(
        title=card_title(run),
        version=__version__,
        verb=task_of(run.config).verb,
        model=model,
        facts=_facts(run),
        resumed=_resumed(run),
        settings=_settings(run, settings),
        left_out=listed([f"`{key}`" for key in left_out]) if left_out else "",
        evaluated=metrics is not None,
        findings=findings(group) if metrics is not None else (),
        tables=run_tables(run.results, run.config.acting_note) if metrics is not None else (),
        measured=_measured(run),
        maps=[] if metrics is None else [_map_words(name, each) for name, each in metrics.maps.items()],
        sets=table_of("Level sets and splits", ["name", "what it is"], [], list(map(list, model.level_sets.items()))),
        limits=_limits(run, model),
    )
    return front_matter(run, model, card.title) + markdown_template("model_card.md").render(card=card)


def card_title(run: FoundRun) -> str:
    """Return the name of a shared model: method, environment or images, seed."""
    return f"{run.config.method_name} on {run.config.task}, seed {run.seed}"


def _facts(run: FoundRun) -> Table:
    training, provenance = run.training or {}, run.provenance or {}
    machine, computing, versions = (provenance.get(key) or {} for key in ("machine", "computing", "versions"))
    length = f"{training['timesteps']:,} {run.config.step_name}" if training else "unknown"
    told = {
        "method": run.method,
        "trained for": length + (" (interrupted before its end)" if training.get("interrupted") else ""),
        "asked for": run.config.length,
        "seed": str(run.seed),
        "time of training": _seconds(training.get("seconds")),
        "date": provenance.get("date"),
        "machine": ", ".join(
            str(each) for each in (machine.get("cpu"), _cores(machine), machine.get("system")) if each
        ),
        "computed in": f"{computing['precision']} on {computing['device']}" if computing else "",
        "revision of camal_rl": provenance.get("git_revision"),
        "versions": ", ".join(f"{name} {versions[name]}" for name in _PACKAGES if name in versions),
    }
    rows = [[title, str(text)] for title, text in told.items() if text]
    return table_of("How it was trained", ["what", "value"], [], rows)


def _cores(machine: Mapping[str, Any]) -> str:
    return f"{machine['cores']} cores" if machine.get("cores") else ""


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:,.0f} s"


def _resumed(run: FoundRun) -> str:
    """Return the steps at which training was resumed, and with which revision."""
    parts = (run.provenance or {}).get("resumed") or []
    told = [f"at step {part.get('step')} (revision {part.get('git_revision') or 'unknown'})" for part in parts]
    return listed(told) if told else ""


def _settings(run: FoundRun, settings: Mapping[str, Any]) -> Table:
    rows = []
    for key in essential_settings(run):
        value = settings.get(key)
        if not isinstance(value, list) or len(value) <= _LISTED:
            rows.append([key, ", ".join(map(str, value)) or "none" if isinstance(value, list) else _shown(value)])
    return table_of("Settings that affect learning", ["setting", "value"], [], rows)


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _measured(run: FoundRun) -> str:
    """Describe in one or two sentences how results were measured."""
    if run.metrics is None:
        return ""
    asked = {key: run.metrics.settings.get(key) for key in ("episodes", "frames", "images", "seed")}
    told = ", ".join(f"{key} {value}" for key, value in asked.items() if value is not None)
    return (
        f"Measured by `camal-rl evaluate` (suite {run.metrics.suite}; {told}) on the trained model without further "
        "training. Definitions of the terms: `camal-rl glossary`."
    )


def _map_words(target: str, described: Any) -> str:
    return f"{target} map: {described.map}" + (f"; its score: {described.score}" if described.score else "")


def _limits(run: FoundRun, model: HubModel) -> list[str]:
    limits = [
        "This is one run with one seed, so a difference from another single run is weak evidence. `camal-rl compare` "
        "trains several seeds.",
        f"It was trained only on `{run.config.task}`; its behavior on other environments or images is unknown.",
        "An attention map on the relevant objects does not prove that these objects drive the decision: compare the "
        "deletion effect with its controls.",
    ]
    if model.acting:
        limits.insert(0, model.acting)
    if run.training is None or run.training.get("interrupted"):
        limits.insert(0, "Training was not completed.")
    return limits
