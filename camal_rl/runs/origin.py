"""The origin of a result, stored with it: command, revision, date, machine, versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from camal_rl.runs.json_files import read_provenance
from camal_rl.runs.provenance import plain_command
from camal_rl.runs.run_folder import RunFolder
from camal_rl.utf8 import read_utf8

FACTS = ("command", "git_revision", "date", "machine", "versions", "computing")
"""Facts about the origin of a run; null if not recorded."""


def run_origin(folder: RunFolder) -> dict[str, Any]:
    """Return the origin of a run from its folder; missing or unreadable facts are null."""
    return origin(_optional(folder.command_file, read_utf8), _optional(folder.provenance_file, read_provenance))


def origin(command: str | None, provenance: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the :data:`FACTS` of a run.

    Args:
        command: its command line, ``None`` if unknown.
        provenance: content of its ``provenance.json``, ``None`` if missing.
    """
    known = {"command": plain_command(command or ""), **(provenance or {})}
    return {name: known.get(name) for name in FACTS}


def _optional(file: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(file) if file.is_file() else None
    except (ValueError, OSError):
        return None
