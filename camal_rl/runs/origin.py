"""Where a result comes from, in the few facts that stay with it: command, revision, date, machine, versions."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from camal_rl.runs.json_files import read_provenance
from camal_rl.runs.run_folder import RunFolder
from camal_rl.utf8 import read_utf8

FACTS = ("command", "git_revision", "date", "machine", "versions", "computing")
"""What is known of where a run comes from; null where it was not kept."""


def run_origin(folder: RunFolder) -> dict[str, Any]:
    """Return where a run comes from, as its folder tells; what is missing or cannot be read is null."""
    return origin(_optional(folder.command_file, read_utf8), _optional(folder.provenance_file, read_provenance))


def origin(command: str | None, provenance: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the :data:`FACTS` of a run.

    Args:
        command: its command line, ``None`` if not known.
        provenance: what its ``provenance.json`` holds, ``None`` without any.
    """
    known = {"command": plain_command(command or ""), **(provenance or {})}
    return {name: known.get(name) for name in FACTS}


def plain_command(command: str) -> str | None:
    """Return a command line without the folders of this machine, which say nothing about the run; None if it is none.

    Of the program, and of every absolute path, the last part stays.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    return shlex.join([Path(words[0]).name, *map(_without_folders, words[1:])]) if words else None


def _without_folders(word: str) -> str:
    key, equals, value = word.rpartition("=")
    return f"{key}{equals}{Path(value).name}" if value.startswith(("/", "~/")) else word


def _optional(file: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(file) if file.is_file() else None
    except (ValueError, OSError):
        return None
