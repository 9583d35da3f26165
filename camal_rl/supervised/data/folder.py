"""Your own images: a folder for each class, and masks with the same names."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from camal_rl.argument_checks import check_flag
from camal_rl.supervised.data.decoding import read_mask
from camal_rl.supervised.data.folder_tree import (
    IMAGE_SUFFIXES,
    NOT_CLASSES,
    check_no_stray_images,
    files_below,
    folders_in,
    is_image,
    is_junk,
    warn_unused,
)
from camal_rl.supervised.data.image_files import EmptyMasks, ImageFile, ImageFiles, existing_folder
from camal_rl.supervised.data.samples import UnusedDataWarning

SPLIT_FOLDERS = ("train", "validation", "test")
_SPLIT_NAMES = (*SPLIT_FOLDERS, "val", "valid", "dev", "eval", "training", "testing")
LAYOUT = "images/<class>/<name>.jpg and masks/<class>/<name>.png, in the root or in its folders train, validation, test"


class ImageFolder(ImageFiles):
    """``images/<class>/<name>.*`` with ``masks/<class>/<name>.png``; a pixel of a mask that is not 0 is relevant.

    Classes are the folders in ``images``, sorted by name. An image that cannot be used or a class without images is an
    error; other unused files cause a warning (:class:`UnusedDataWarning`).
    """

    def __init__(
        self,
        root: str | Path,
        *,
        split: str | None = None,
        require_masks: bool = True,
        empty_masks: EmptyMasks = "error",
    ) -> None:
        """List the files of a folder.

        Args:
            root: the folder.
            split: ``train``, ``validation`` or ``test``: a folder in ``root`` that contains ``images`` and ``masks``;
                None if ``root`` itself contains them.
            require_masks: whether an image without a mask file is an error; otherwise it is used for classification
                only.
            empty_masks: how to treat a mask without a relevant pixel, see :class:`ImageFiles`.

        Raises:
            ValueError: a folder is missing, the split is unknown, a class has no images, or images are in the wrong
                place or have no mask.
        """
        check_flag("require_masks", require_masks)
        top = existing_folder(root, LAYOUT)
        if split is None:
            check_splits(top)
        else:
            top = _split_folder(top, split)
        images = existing_folder(top / "images", LAYOUT)
        classes = [path.name for path in folders_in(images) if path.name not in NOT_CLASSES]
        files = [file for label, name in enumerate(classes) for file in _class_files(top, name, label, require_masks)]
        check_no_stray_images(images, {file.image for file in files})
        if not files:
            raise ValueError(f"{images} contains no images ({', '.join(IMAGE_SUFFIXES)}); expected {LAYOUT}")
        counts = Counter(file.label for file in files)
        # An evaluation split may have an empty class folder, since all splits must have the same classes.
        empty = [images / name for label, name in enumerate(classes) if not counts[label]]
        if empty and split in (None, "train"):
            raise ValueError(_no_images(empty[0]))
        for folder in empty:
            warnings.warn(_no_images(folder), category=UnusedDataWarning, stacklevel=2)
        warn_unused(top, {path for file in files for path in (file.image, file.mask) if path is not None}, empty)
        super().__init__(files, classes, ("all",), _nonzero, empty_masks, turn=True)


def split_folders(root: str | Path) -> tuple[str, ...]:
    """Return which of :data:`SPLIT_FOLDERS` a folder has; none if it contains ``images`` itself."""
    top = existing_folder(root, LAYOUT)
    if (top / "images").is_dir():
        return ()
    return tuple(name for name in SPLIT_FOLDERS if (top / name).is_dir())


def check_splits(top: Path) -> None:
    """Raise a ValueError for a folder that looks like a split but is not read, such as ``val`` for ``validation``."""
    read = split_folders(top)
    for folder in folders_in(top):
        is_split = (folder / "images").is_dir() or (folder.name.lower() in _SPLIT_NAMES and any(files_below(folder)))
        if folder.name not in (*read, *NOT_CLASSES) and is_split:
            own = (top / "images").is_dir()
            reason = f"images come from {top / 'images'}" if own else f"splits are called {', '.join(SPLIT_FOLDERS)}"
            raise ValueError(f"folder {folder} is not read, because {reason}; rename it, or move it out of {top}")


def _split_folder(top: Path, split: str) -> Path:
    if split not in SPLIT_FOLDERS or not (top / split).is_dir():
        there = ", ".join(split_folders(top)) or "none"
        raise ValueError(
            f"unknown split {split!r} of {top}: splits are folders called {', '.join(SPLIT_FOLDERS)}; there: {there}"
        )
    return top / split


def _no_images(folder: Path) -> str:
    """Return the line about a class folder without images."""
    others = sorted({path.suffix.lower() or path.name for path in files_below(folder)})
    held = f", only {', '.join(others)}" if others else ""
    return f"class folder {folder} has no images{held}; expected {', '.join(IMAGE_SUFFIXES)}: add images, or remove it"


def _class_files(top: Path, name: str, label: int, require_masks: bool) -> list[ImageFile]:
    """Return the images of a class with their masks."""
    masks = top / "masks" / name
    images = sorted(path for path in (top / "images" / name).iterdir() if is_image(path) and not path.is_dir())
    stem, count = Counter(path.stem for path in images).most_common(1)[0] if images else ("", 0)
    if count > 1:
        raise ValueError(
            f"two images in {top / 'images' / name} are called {stem!r} and would share a mask; rename one"
        )
    files = [
        ImageFile(path, mask if (mask := masks / f"{path.stem}.png").is_file() else None, label) for path in images
    ]
    missing = [file.image for file in files if file.mask is None]
    if require_masks and missing:
        remedy = "add masks, or set require_masks=false to use such images without masks"
        if not masks.is_dir():
            raise ValueError(f"class folder {name!r} has images but no masks: there is no folder {masks}; {remedy}")
        first = masks / f"{missing[0].stem}.png"
        raise ValueError(
            f"{len(missing)} of {len(files)} images of class {name!r} have no mask, first {first}"
            f"{_instead(masks, missing[0].stem)}; {remedy}"
        )
    return files


def _instead(masks: Path, stem: str) -> str:
    """Return text for a message: a file that may be the missing mask under another name."""
    near = sorted(path.name for path in masks.iterdir() if path.stem.startswith(stem) and not is_junk(path))
    return f" (there is {near[0]}, but a mask must have its image's name and end in .png)" if near else ""


def _nonzero(file: ImageFile) -> npt.NDArray[np.bool_]:
    """Read a mask: a pixel is relevant if any of its colors is not 0.

    Raises:
        ValueError: index 0 and black are not the same pixels in a file with a palette.
    """
    assert file.mask is not None
    pixels, numbers = read_mask(file.mask)
    marked = np.asarray(pixels != 0 if pixels.ndim == 2 else (pixels != 0).any(axis=2))
    if numbers is not None and not np.array_equal(numbers != 0, marked):
        raise ValueError(
            f"{file.mask} has a palette in which index 0 is not black, or another index is black, so the background is "
            "ambiguous; save it in gray, with 0 as background"
        )
    return marked
