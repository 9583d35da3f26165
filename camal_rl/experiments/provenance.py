"""Where a result comes from: versions, revision, machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

_PACKAGES = (
    "camal-rl",
    "torch",
    "stable-baselines3",
    "gymnasium",
    "numpy",
    "opencv-python",
    "accelerate",
    "transformers",
    "procgen",
    "procgen-mirror",
)


def provenance() -> dict[str, Any]:
    """Return versions, git revision and machine, ready for JSON; ``None`` where something is not known."""
    return {
        "versions": {"python": platform.python_version(), **package_versions()},
        "git_revision": git_revision(),
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "system": platform.platform()},
    }


def package_versions() -> dict[str, str]:
    """Return the versions of the installed packages that a result depends on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


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
