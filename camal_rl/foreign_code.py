"""Code that a file from somebody else names by ``package.module:name``: which of it may be imported."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_FOLDERS: ContextVar[tuple[Path, ...]] = ContextVar("folders of files that may come from somebody else", default=())


class ForeignCode(ValueError):
    """A file that may come from somebody else names code that would be run; the message is one line."""


@contextlib.contextmanager
def no_code_from(folder: Path | None) -> Iterator[None]:
    """Refuse inside the block to import modules that lie in a folder; ``None`` refuses nothing.

    A run folder or a model that somebody sent may name what the user has installed or written, an encoder for example.
    It must not bring the code along. Modules that were imported before stay as they are.

    Raises:
        ForeignCode: where something imports such a module, in the block.
    """
    token = _FOLDERS.set(_FOLDERS.get())
    try:
        if folder is not None:
            distrust(folder)
        yield
    finally:
        _FOLDERS.reset(token)


def distrust(*folders: Path) -> None:
    """Refuse from now on, in this context, what :func:`no_code_from` refuses in a block.

    For a whole command: a package that is not installed and that some library looks for may lie in the folder too.
    """
    _FOLDERS.set((*_FOLDERS.get(), *(folder.resolve() for folder in folders)))
    if _GUARD not in sys.meta_path:
        sys.meta_path.insert(0, _GUARD)


def of_this_project(module: str) -> bool:
    """Say whether a module that was imported lies below the current folder and is none of an installed package."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return False
    place = Path(file).resolve()
    return place.is_relative_to(Path.cwd()) and not {"site-packages", "dist-packages"} & set(place.parts)


class _Guard(MetaPathFinder):
    """Finds no module itself; it looks at where the finders behind it find one, before any of its code is run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        folders = _FOLDERS.get()
        finders = [each for each in sys.meta_path if each is not self and hasattr(each, "find_spec")]
        specs = (each.find_spec(fullname, path, target) for each in finders) if folders else ()
        found = next((spec for spec in specs if spec is not None), None)
        if found is not None and found.origin and found.has_location:
            file = Path(found.origin).resolve()
            if any(file.is_relative_to(folder) for folder in folders):
                raise ForeignCode(
                    f"{fullname!r} would run code that came with the folder itself, {found.origin}; install that code "
                    "where you keep your own, or give --trust (trust=True) if all of the folder is yours"
                )
        return found


_GUARD = _Guard()
