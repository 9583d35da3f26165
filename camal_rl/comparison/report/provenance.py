"""The origin of results: settings and their differences, commands, versions, machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from camal_rl.comparison.groups import FoundRun, Group
from camal_rl.comparison.report.document import Folded
from camal_rl.comparison.table import Cell, Table
from camal_rl.runs.loading import dump_yaml
from camal_rl.runs.provenance import plain_command

# These differ between any two runs and are shown elsewhere.
_NO_DIFFERENCE = ("seed", "name")


def difference_table(group: Group) -> Table | None:
    """Return the settings in which the methods' first runs differ; values unlike the first method's are marked."""
    first = {method: group.of(method)[0].settings() for method in group.methods}
    keys = dict.fromkeys(key for settings in first.values() for key in settings)
    rows = []
    for key in keys:
        texts = [_value(settings, key) for settings in first.values()]
        if key not in _NO_DIFFERENCE and len(set(texts)) > 1:
            rows.append((Cell(key), *(Cell(text, marked=text != texts[0]) for text in texts)))
    caption = f"Only settings that differ between methods; values that differ from {group.baseline} are marked."
    return Table("Settings", caption, ("setting", *group.methods), 1, tuple(rows)) if rows else None


def configurations(group: Group) -> list[Folded]:
    """Return the resolved configuration of each method's first run as YAML."""
    runs = [group.of(method)[0] for method in group.methods]
    return [Folded(f"Configuration of {run.label}", dump_yaml(run.config)) for run in runs]


def runs_table(group: Group) -> Table:
    """Return one line for each run: steps, time, folder."""
    rows = []
    for run in group.runs:
        training = run.training or {}
        steps, seconds, speed = (training.get(key) for key in ("timesteps", "seconds", "steps_per_second"))
        cells = (
            run.method,
            str(run.folder.path),
            str(run.seed),
            "-" if steps is None else f"{steps:,}",
            "-" if seconds is None else f"{seconds:,.0f}",
            "-" if speed is None else f"{speed:,.0f}",
            "yes" if run.metrics else "no",
        )
        rows.append(tuple(Cell(text) for text in cells))
    header = ("method", "folder", "seed", "steps", "seconds", "steps/s", "evaluated")
    return Table("Runs", "Time is that of training alone.", header, 2, tuple(rows))


def provenance_table(group: Group) -> Table | None:
    """Return versions, revision and machine; if runs differ, each value with its runs."""
    rows = []
    for title, read in _facts(group).items():
        values: dict[str, list[str]] = {}
        for run in group.runs:
            values.setdefault(read(run), []).append(run.label)
        for text, labels in values.items():
            if text:
                rows.append((Cell(title), Cell(text, ", ".join(labels) if len(values) > 1 else "")))
    return Table("Versions and machine", "", ("what", "value"), 2, tuple(rows)) if rows else None


def commands(group: Group) -> list[Folded]:
    """Return the command lines that made the runs, each once."""
    lines = dict.fromkeys(line for run in group.runs if run.command and (line := plain_command(run.command)))
    return [Folded("Commands that made the runs", "\n".join(lines))] if lines else []


def _facts(group: Group) -> dict[str, Callable[[FoundRun], str]]:
    packages = dict.fromkeys(name for run in group.runs for name in (run.provenance or {}).get("versions", {}))
    facts: dict[str, Callable[[FoundRun], str]] = {
        "git revision": lambda run: str((run.provenance or {}).get("git_revision") or ""),
        "date": lambda run: str((run.provenance or {}).get("date") or ""),
        "machine": lambda run: _machine((run.provenance or {}).get("machine", {})),
        "training computed in": lambda run: _computing((run.provenance or {}).get("computing", {})),
    }
    for name in packages:
        facts[name] = lambda run, name=name: (run.provenance or {}).get("versions", {}).get(name, "")  # type: ignore[misc]
    return facts


def _machine(machine: Mapping[str, Any]) -> str:
    parts = [machine.get("cpu"), machine.get("cores") and f"{machine['cores']} cores", machine.get("system")]
    return ", ".join(str(part) for part in parts if part)


def _computing(computing: Mapping[str, str]) -> str:
    """Return the precision and device of training; empty if an earlier version did not record them."""
    return f"{computing['precision']} on {computing['device']}" if computing else ""


def _value(settings: Mapping[str, Any], key: str) -> str:
    if key not in settings:
        return "-"
    value = settings[key]
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
