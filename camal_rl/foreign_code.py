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

_FOLDER: ContextVar[Path | None] = ContextVar("folder of files that may come from somebody else", default=None)


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
    token = _FOLDER.set(None if folder is None else folder.resolve())
    if _GUARD not in sys.meta_path:
        sys.meta_path.insert(0, _GUARD)
    try:
        yield
    finally:
        _FOLDER.reset(token)


class _Guard(MetaPathFinder):
    """Finds no module itself; it looks at where the finders behind it find one, before any of its code is run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        folder = _FOLDER.get()
        if folder is None:
            return None
        for finder in sys.meta_path:
            found = None if finder is self else finder.find_spec(fullname, path, target)
            if found is not None:
                if found.origin and found.has_location and Path(found.origin).resolve().is_relative_to(folder):
                    raise ForeignCode(
                        f"{fullname!r} would run code that came with the folder itself, {found.origin}; install that "
                        "code where you keep your own, or give --trust (trust=True) if all of the folder is yours"
                    )
                return found
        return None


_GUARD = _Guard()
