"""One's own images: a folder for each class, and masks of the same names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from camal_rl.supervised.data.arguments import check_flag
from camal_rl.supervised.data.image_files import EmptyMasks, ImageFile, ImageFiles, existing_folder, read_stored

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
SPLIT_FOLDERS = ("train", "validation", "test")
LAYOUT = "images/<class>/<name>.jpg and masks/<class>/<name>.png, in the root or in its folders train, validation, test"


class ImageFolder(ImageFiles):
    """``images/<class>/<name>.*`` with ``masks/<class>/<name>.png``; a pixel of a mask that is not 0 is relevant.

    Classes are the folders in ``images``, by name.
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
            split: ``train``, ``validation`` or ``test``: a folder in ``root`` that holds ``images`` and ``masks``;
                None: ``root`` does.
            require_masks: whether an image without a mask file is an error; otherwise it only classifies.
            empty_masks: what a mask without a relevant pixel is, see :class:`ImageFiles`.

        Raises:
            ValueError: a missing folder, an unknown split, no images, or images without a mask.
        """
        check_flag("require_masks", require_masks)
        top = existing_folder(root, LAYOUT)
        if split is not None:
            top = _split_folder(top, split)
        images = existing_folder(top / "images", LAYOUT)
        classes = sorted(path.name for path in images.iterdir() if path.is_dir() and path.name[0] != ".")
        files = [file for label, name in enumerate(classes) for file in _class_files(top, name, label, require_masks)]
        if not files:
            raise ValueError(f"{images} holds no images ({', '.join(IMAGE_SUFFIXES)}); expected {LAYOUT}")
        super().__init__(files, classes, ("all",), _nonzero, empty_masks)


def split_folders(root: str | Path) -> tuple[str, ...]:
    """Return which of :data:`SPLIT_FOLDERS` a folder has; none where it holds ``images`` itself."""
    top = existing_folder(root, LAYOUT)
    if (top / "images").is_dir():
        return ()
    return tuple(name for name in SPLIT_FOLDERS if (top / name).is_dir())


def _split_folder(top: Path, split: str) -> Path:
    if not (top / split).is_dir():
        there = ", ".join(split_folders(top)) or "none"
        raise ValueError(f"unknown split {split!r} of {top}: there is no folder of that name; splits there: {there}")
    return top / split


def _class_files(top: Path, name: str, label: int, require_masks: bool) -> list[ImageFile]:
    """Return the images of a class with their masks."""
    masks = top / "masks" / name
    listed = sorted((top / "images" / name).iterdir())
    images = [path for path in listed if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."]
    stems = [path.stem for path in images]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None) if len(set(stems)) < len(stems) else None
    if twice is not None:
        raise ValueError(
            f"two images in {top / 'images' / name} are called {twice!r} and would share a mask; rename one"
        )
    files = [
        ImageFile(path, mask if (mask := masks / f"{path.stem}.png").is_file() else None, label) for path in images
    ]
    missing = [file.image for file in files if file.mask is None]
    if require_masks and missing:
        remedy = "add masks, or set require_masks=false to use such images without"
        if not masks.is_dir():
            raise ValueError(f"class folder {name!r} has images but no masks: there is no folder {masks}; {remedy}")
        first = masks / f"{missing[0].stem}.png"
        raise ValueError(
            f"{len(missing)} of {len(files)} images of class {name!r} have no mask, first {first}; {remedy}"
        )
    return files


def _nonzero(file: ImageFile) -> npt.NDArray[np.bool_]:
    """Read a mask: a pixel is relevant if any of its colours is not 0; opacity does not count."""
    assert file.mask is not None
    stored = read_stored(file.mask)
    return np.asarray(stored != 0 if stored.ndim == 2 else (stored != 0).any(axis=2))
