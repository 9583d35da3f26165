"""Detects unused files in a folder of images, so that nobody trains on half of their data unknowingly."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from pathlib import Path

from camal_rl.supervised.data.samples import UnusedDataWarning

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
NOT_CLASSES = ("__MACOSX",)
"""Folders that archiving programs add; they are not classes, but warnings name them."""

_JUNK = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found", "icon\r"})
_NAMED = 5
_MOST_LEVELS = 32


def is_junk(path: Path) -> bool:
    """Return whether a file or folder is hidden or was created by an operating system, such as ``Thumbs.db``."""
    return path.name.startswith(".") or path.name.lower() in _JUNK


def is_image(path: Path) -> bool:
    """Return whether a file's name is that of an image and not junk."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_junk(path)


def folders_in(top: Path) -> list[Path]:
    """Return the folders in a folder, sorted by name, without junk."""
    return sorted(path for path in top.iterdir() if path.is_dir() and not is_junk(path))


def files_below(top: Path, levels: int = _MOST_LEVELS) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders, without junk, down to a depth of ``levels``."""
    for path in sorted(top.iterdir()):
        if is_junk(path):
            continue
        if path.is_dir():
            if levels:
                yield from files_below(path, levels - 1)
        else:
            yield path


def check_no_stray_images(images: Path, used: Collection[Path]) -> None:
    """Raise a ValueError for an unused image below the folder ``images``, since it is in the wrong place."""
    for folder in folders_in(images):
        if folder.name in NOT_CLASSES:
            continue
        stray = [path for path in files_below(folder) if is_image(path) and path not in used]
        if stray:
            raise ValueError(
                f"{len(stray)} images are in subfolders that are not read, first {stray[0]}; expected "
                f"{images.name}/<class>/<name>: move them up, or out of the folder"
            )
    loose = [path for path in sorted(images.iterdir()) if path.is_file() and is_image(path)]
    if loose:
        raise ValueError(
            f"{len(loose)} images are not in a class folder, first {loose[0]}; expected {images.name}/<class>/<name>"
        )


def warn_unused(top: Path, used: Collection[Path], elsewhere: Collection[Path] = ()) -> None:
    """Warn of everything unused below a folder, in one line.

    A folder without used files is named as a whole.

    Args:
        top: the folder.
        used: files that are read.
        elsewhere: folders that are checked elsewhere.
    """
    named = [name for path in sorted(top.iterdir()) for name in _unused(path, top, frozenset(used), elsewhere)]
    if named:
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        warnings.warn(f"unused in {top}: {', '.join(named[:_NAMED])}{more}", category=UnusedDataWarning, stacklevel=4)


def warn_unlisted(folder: Path, listed: Collection[Path], source: Path) -> None:
    """Warn of images in a folder that a list does not contain, in one line that names the first.

    Args:
        folder: the folder of the images.
        listed: the images in the list, of all splits.
        source: the file of the list.
    """
    named = frozenset(listed)
    others = [path for path in files_below(folder) if is_image(path) and path not in named]
    if others:
        warnings.warn(
            f"unused in {folder}: {len(others)} images that {source} does not list, first {others[0]}",
            category=UnusedDataWarning,
            stacklevel=3,
        )


def _unused(path: Path, top: Path, used: frozenset[Path], elsewhere: Collection[Path]) -> list[str]:
    """Return the unused files and folders at a path, by names relative to ``top``."""
    name = str(path.relative_to(top))
    if is_junk(path) or path in used or path in elsewhere:
        return []
    if not path.is_dir():
        return [name]
    files = list(files_below(path))
    if used.isdisjoint(files) and not any(folder.is_relative_to(path) for folder in elsewhere):
        return [f"{name} ({len(files)} file{'s' * (len(files) != 1)})" if files else f"{name} (an empty folder)"]
    return [each for inner in sorted(path.iterdir()) for each in _unused(inner, top, used, elsewhere)]
