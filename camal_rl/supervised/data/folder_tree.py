"""Detects unused files in a folder of images, so that nobody trains on half of their data unknowingly."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from pathlib import Path

from camal_rl.supervised.data.samples import UnusedDataWarning

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
NOT_CLASSES = ("__MACOSX",)
"""Folders that packing programs add: no classes, but named where they lie."""

_JUNK = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found", "icon\r"})
_NAMED = 5
_MOST_LEVELS = 32


def is_junk(path: Path) -> bool:
    """Say whether an operating system or an editor put a file or folder there: hidden ones, ``Thumbs.db`` and such."""
    return path.name.startswith(".") or path.name.lower() in _JUNK


def is_image(path: Path) -> bool:
    """Say whether a file's name is that of an image; junk is none."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_junk(path)


def folders_in(top: Path) -> list[Path]:
    """Return the folders in a folder, by name, without junk."""
    return sorted(path for path in top.iterdir() if path.is_dir() and not is_junk(path))


def files_below(top: Path, levels: int = _MOST_LEVELS) -> Iterator[Path]:
    """Yield the files in a folder and its folders, without junk; links to folders are followed ``levels`` deep."""
    for path in sorted(top.iterdir()):
        if is_junk(path):
            continue
        if path.is_dir():
            if levels:
                yield from files_below(path, levels - 1)
        else:
            yield path


def check_no_stray_images(images: Path, used: Collection[Path]) -> None:
    """Raise a ValueError for an image below the folder ``images`` that is not used: it lies in the wrong place."""
    for folder in folders_in(images):
        if folder.name in NOT_CLASSES:
            continue
        stray = [path for path in files_below(folder) if is_image(path) and path not in used]
        if stray:
            raise ValueError(
                f"{len(stray)} images lie too deep to be read, first {stray[0]}; expected "
                f"{images.name}/<class>/<name>: move them up, or out of the folder"
            )
    loose = [path for path in sorted(images.iterdir()) if path.is_file() and is_image(path)]
    if loose:
        raise ValueError(
            f"{len(loose)} images lie in no class folder, first {loose[0]}; expected {images.name}/<class>/<name>"
        )


def warn_unused(top: Path, used: Collection[Path], elsewhere: Collection[Path] = ()) -> None:
    """Warn of everything below a folder that is not used, in one line that names it.

    A folder of which nothing is used is named as one.

    Args:
        top: the folder.
        used: files that are read.
        elsewhere: folders that somebody else looks after.
    """
    named = [name for path in sorted(top.iterdir()) for name in _unused(path, top, frozenset(used), elsewhere)]
    if named:
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        warnings.warn(f"not used of {top}: {', '.join(named[:_NAMED])}{more}", category=UnusedDataWarning, stacklevel=4)


def warn_unlisted(folder: Path, listed: Collection[Path], source: Path) -> None:
    """Warn of images in a folder that a list does not name, in one line with the first.

    Args:
        folder: of the images.
        listed: the images that the list names, for whatever split.
        source: the list.
    """
    named = frozenset(listed)
    others = [path for path in files_below(folder) if is_image(path) and path not in named]
    if others:
        warnings.warn(
            f"not used of {folder}: {len(others)} images that {source} does not name, first {others[0]}",
            category=UnusedDataWarning,
            stacklevel=3,
        )


def _unused(path: Path, top: Path, used: frozenset[Path], elsewhere: Collection[Path]) -> list[str]:
    """Return what of a file or folder is not used, in words relative to ``top``."""
    name = str(path.relative_to(top))
    if is_junk(path) or path in used or path in elsewhere:
        return []
    if not path.is_dir():
        return [name]
    files = list(files_below(path))
    if used.isdisjoint(files) and not any(folder.is_relative_to(path) for folder in elsewhere):
        return [f"{name} ({len(files)} file{'s' * (len(files) != 1)})" if files else f"{name} (an empty folder)"]
    return [each for inner in sorted(path.iterdir()) for each in _unused(inner, top, used, elsewhere)]
