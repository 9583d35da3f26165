"""The line on the origin of a table's numbers: command, seeds, length, machine, revision, date."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from camal_rl.comparison.number_words import listed

NOT_KEPT = "not kept"
"""Placeholder for a fact that was not recorded when the numbers were produced."""
_SHORT_REVISION = 7


@dataclass(frozen=True)
class Origin:
    """The origin of runs or measurements; ``None`` for an unrecorded fact.

    Attributes:
        command: the command line.
        revision: revision of the source from git, or the version of an installed package.
        date: ``YYYY-MM-DD``.
        machine: processor, cores and precision, in words.
        versions: versions of the packages.
        note: a remark, such as which of these facts were added later.
    """

    command: str | None
    revision: str | None
    date: str | None
    machine: str | None
    versions: Mapping[str, str] = field(compare=False)
    note: str | None = None

    @property
    def shared(self) -> tuple[str | None, ...]:
        """The facts that origins on the same line have in common."""
        return (self.command, self.machine, self.note)


def origins_words(origins: Mapping[str, Origin], between: Sequence[str] = (), command: bool = True) -> str:
    """Return the line on origins that share command, machine and note.

    Args:
        origins: origins by the names of their methods.
        between: text between command and machine.
        command: whether the line contains the command.
    """
    first = next(iter(origins.values()))
    parts = [_or_not_kept("command", first.command and f"`{first.command}`")] if command else []
    parts += [*between, _or_not_kept("machine", first.machine)]
    if len(origins) == 1:
        parts += [_revision_words(first), _or_not_kept("date", first.date)]
    else:
        each = [
            f"{_revision_words(one)} of {one.date or f'a date {NOT_KEPT}'} ({names})" for names, one in origins.items()
        ]
        parts.append(listed(each))
    return "; ".join(part for part in [*parts, first.note] if part)


def _revision_words(origin: Origin) -> str:
    return f"revision {origin.revision or NOT_KEPT}"


def _or_not_kept(fact: str, text: str | None) -> str:
    return text or f"{fact} {NOT_KEPT}"


def read_origin(data: object, where: str) -> Origin:
    """Return the origin in JSON data, see :data:`camal_rl.runs.origin.FACTS`; ``note`` is optional.

    Raises:
        ValueError: a fact has the wrong type; the message begins with ``where``.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} must be an object, got {data!r}")
    for name in ("command", "git_revision", "date", "note"):
        if not isinstance(data.get(name), str | None):
            raise ValueError(f"{where}: {name} must be a text or null, got {data[name]!r}")
    versions, machine = data.get("versions") or {}, data.get("machine")
    if not all(isinstance(each, Mapping | None) for each in (versions, machine, data.get("computing"))):
        raise ValueError(f"{where}: versions, machine and computing must be objects or null")
    return Origin(
        data.get("command"),
        _revision(data.get("git_revision"), versions),
        data.get("date"),
        machine_words(machine or {}, data.get("computing") or {}),
        versions,
        data.get("note"),
    )


def machine_words(machine: Mapping[str, Any], computing: Mapping[str, Any]) -> str | None:
    """Return cores, processor, and device and precision of training in words; ``None`` if nothing is known."""
    cores, cpu, precision = machine.get("cores"), machine.get("cpu"), computing.get("precision")
    parts = [cores and f"{cores} core{'s' * (cores != 1)}", cpu, precision and f"{precision} on {computing['device']}"]
    return ", ".join(str(part) for part in parts if part) or None


def seeds_words(seeds: Iterable[int]) -> str:
    """Return ``seed 0``, ``seeds 0 and 1``, ``seeds 0 to 4``."""
    found = sorted(set(seeds))
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"seeds {found[0]} to {found[-1]}"
    return f"seed{'s' * (len(found) > 1)} {listed([str(seed) for seed in found])}"


def _revision(revision: str | None, versions: Mapping[str, str]) -> str | None:
    if revision is None:
        version = versions.get("camal-rl")
        return None if version is None else f"camal-rl {version}"
    name, dirty, _ = revision.partition("-dirty")
    return name[:_SHORT_REVISION] + (" with local changes" if dirty else "")
