"""Decides which code an untrusted file may import by naming ``package.module:name``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_FOLDERS: ContextVar[tuple[Path, ...]] = ContextVar("folders of untrusted files", default=())


class ForeignCode(ValueError):
    """An untrusted file names code that would be run; the message is one line."""


@contextlib.contextmanager
def no_code_from(folder: Path | None) -> Iterator[None]:
    """Refuse to import modules from a folder inside the block; ``None`` refuses nothing.

    A run folder or model from somebody else may name code that the user has installed or written, such as an encoder.
    It must not bring its own code. Modules that are already imported are not affected.

    Raises:
        ForeignCode: if such a module is imported inside the block.
    """
    token = _FOLDERS.set(_FOLDERS.get())
    try:
        if folder is not None:
            distrust(folder)
        yield
    finally:
        _FOLDERS.reset(token)


def distrust(*folders: Path) -> None:
    """Refuse imports like :func:`no_code_from`, from now on in this context.

    For a whole command: a library may also look for an optional package that is not installed and find it in the
    folder.
    """
    _FOLDERS.set((*_FOLDERS.get(), *(folder.resolve() for folder in folders)))
    if _GUARD not in sys.meta_path:
        sys.meta_path.insert(0, _GUARD)


def of_this_project(module: str) -> bool:
    """Return whether an imported module is inside the current folder and not part of an installed package."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return False
    place = Path(file).resolve()
    return place.is_relative_to(Path.cwd()) and not {"site-packages", "dist-packages"} & set(place.parts)


class _Guard(MetaPathFinder):
    """An import finder that finds nothing itself but checks the location of a module before its code runs."""

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
