"""The requirements of this package's extras, as a pip command that works however the package was installed."""

from __future__ import annotations

import shlex
from importlib import metadata

from packaging.requirements import Requirement

DISTRIBUTION = "camal-rl"


def requirements(extra: str) -> tuple[str, ...]:
    """Return the requirements of an extra on this Python, such as ``("minigrid>=3.1",)``; empty for an unknown extra.

    Extras inside an extra, as in ``all``, are expanded.

    If the package is imported without being installed, its requirements are unknown and the result is empty.
    """
    try:
        declared = metadata.requires(DISTRIBUTION) or ()
    except metadata.PackageNotFoundError:
        return ()
    found = [Requirement(line) for line in declared]
    wanted = [each for each in found if each.marker is not None and not each.marker.evaluate({"extra": ""})]
    chosen = [each for each in wanted if each.marker is not None and each.marker.evaluate({"extra": extra})]
    return tuple(dict.fromkeys(name for each in chosen for name in _spelled_out(each)))


def _spelled_out(requirement: Requirement) -> tuple[str, ...]:
    if requirement.name == DISTRIBUTION:
        return tuple(name for extra in sorted(requirement.extras) for name in requirements(extra))
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return (f"{requirement.name}{extras}{requirement.specifier}",)


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra.

    The command names the packages: ``pip install camal-rl[...]`` would look for this package on an index.
    """
    packages = requirements(extra) or (f".[{extra}]",)
    return f"pip install {' '.join(shlex.quote(each) for each in packages)}"
