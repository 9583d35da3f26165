"""Hook of the site: lays the package out as it is imported, for the Python reference to read.

``setup.cfg`` maps folders of the repository to packages (``agents`` is ``camal_rl.agents``); a reader of sources alone
does not see that.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.plugins import event_priority

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

ROOT = Path(__file__).parents[2]
MAPPED = {"camal_rl": "camal_rl", "envs": "camal_rl/envs", "agents": "camal_rl/agents"}
_folder = tempfile.TemporaryDirectory(prefix="camal_rl_site_")


@event_priority(100)  # before mkdocstrings takes its settings
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let mkdocstrings read a copy of the sources."""
    for folder, package in MAPPED.items():
        shutil.copytree(ROOT / folder, Path(_folder.name) / package, dirs_exist_ok=True, ignore=_all_but_python)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [_folder.name]
    return config


def on_shutdown() -> None:
    """Remove the copy."""
    _folder.cleanup()


def _all_but_python(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if not name.endswith(".py") and not (Path(folder) / name).is_dir()} | {"__pycache__"}
