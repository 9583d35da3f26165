"""The provenance of a result: versions, revision, date, machine."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

_SELF = "camal-rl"
_SEVERAL_NAMES = ("opencv-",)
"""Prefix of distributions that provide the same module: OpenCV exists with and without GUI."""
_REQUIREMENT = re.compile(r"\s*(?P<name>[\w.-]+)\s*(?:\[(?P<extras>[^\]]*)\])?")
_EXTRA = re.compile(r"extra\s*==\s*[\"'](?P<extra>[^\"']+)[\"']")


def provenance() -> dict[str, Any]:
    """Return versions, git revision, date and machine, ready for JSON; ``None`` for unknown facts."""
    return {
        "versions": {"python": platform.python_version(), **package_versions()},
        "git_revision": git_revision(),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "system": platform.platform()},
    }


def program_provenance() -> dict[str, Any]:
    """Return :func:`provenance` with the plain command line of the running program, for benchmarks."""
    return {"command": plain_command(shlex.join(["python", *sys.argv])), **provenance()}


def plain_command(command: str) -> str | None:
    """Return a command line without the folders of this machine; None if it is invalid.

    The program and every absolute path are reduced to their last part.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    return shlex.join([Path(words[0]).name, *map(_without_folders, words[1:])]) if words else None


def _without_folders(word: str) -> str:
    key, equals, value = word.rpartition("=")
    return f"{key}{equals}{Path(value).name}" if value.startswith(("/", "~/")) else word


def package_versions() -> dict[str, str]:
    """Return the versions of this package and of all its installed requirements, by name."""
    wanted = {_plain(name) for name in required_packages(_SELF)}
    installed = {_plain(each.metadata["Name"] or ""): each.version for each in importlib.metadata.distributions()}
    used = sorted(name for name in installed if name in wanted or name.startswith(_SEVERAL_NAMES))
    return {name: installed[name] for name in (_SELF, *used) if name in installed}


def required_packages(package: str, extras: Collection[str] | None = None) -> set[str]:
    """Return the requirements in the metadata of an installed package.

    An extra of another package, such as ``gymnasium[box2d]``, is expanded.

    Args:
        package: its name; a package that is not installed has no requirements.
        extras: only the requirements of these extras; ``None`` takes all, with and without an extra.
    """
    try:
        requirements = importlib.metadata.requires(package) or []
    except importlib.metadata.PackageNotFoundError:
        return set()
    found: set[str] = set()
    for requirement in requirements:
        stated, extra = _REQUIREMENT.match(requirement), _EXTRA.search(requirement)
        if stated is None or (extras is not None and (extra is None or extra["extra"] not in extras)):
            continue
        if _plain(stated["name"]) != _plain(package):
            found.add(stated["name"])
            inner = [name.strip() for name in (stated["extras"] or "").split(",") if name.strip()]
            found |= required_packages(stated["name"], inner) if inner else set()
        elif extras is not None:
            found |= required_packages(package, [name.strip() for name in (stated["extras"] or "").split(",")])
    return found


def _plain(name: str) -> str:
    """Return a distribution's name in the normalized spelling of package indexes."""
    return re.sub(r"[-_.]+", "-", name).lower()


def git_revision() -> str | None:
    """Return the revision of the source checkout, ``-dirty`` with local changes; ``None`` for an installed wheel."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def cpu_model() -> str | None:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else None
