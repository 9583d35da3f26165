"""Image sets in files: what all layouts share is reading, lazily, and saying in one line what is wrong with a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import cv2
import numpy as np
import numpy.typing as npt
import torch

from camal_rl.supervised.data.arguments import check_choice
from camal_rl.supervised.data.listing import Listing, check_index
from camal_rl.supervised.data.samples import BadImageFile, Sample

EmptyMasks = Literal["error", "no_mask"]
EMPTY_MASKS: tuple[str, ...] = get_args(EmptyMasks)
Pixels = npt.NDArray[np.uint8]
Stored = npt.NDArray[np.unsignedinteger[Any]]


class ImageFile(NamedTuple):
    """Where an image and its mask lie; ``mask`` is None for an image that nobody marked."""

    image: Path
    mask: Path | None
    label: int
    group: int = 0


MaskReader = Callable[[ImageFile], npt.NDArray[np.bool_]]


class ImageFiles:
    """Images in files, each read when it is asked for, at its own size."""

    def __init__(
        self,
        files: Sequence[ImageFile],
        classes: Sequence[str],
        groups: Sequence[str],
        read_mask: MaskReader,
        empty_masks: EmptyMasks = "error",
    ) -> None:
        """Keep the list of files.

        Args:
            files: images, masks, labels, groups.
            classes: names of the labels.
            groups: names of the groups.
            read_mask: reads the mask ``bool (H, W)`` of a file that has one.
            empty_masks: what a mask without a relevant pixel is: an ``error``, or ``no_mask``, as if it were not there.
        """
        check_choice("empty_masks", empty_masks, EMPTY_MASKS)
        self.classes, self.groups = tuple(classes), tuple(groups)
        self.files = tuple(files)
        self._read_mask, self._empty_masks = read_mask, empty_masks

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        """Read the sample at ``index``.

        Raises:
            BadImageFile: a file that cannot be read, a mask of another size than its image, or an empty mask.
        """
        check_index(index, len(self.files))
        file = self.files[index]
        try:
            image = read_image(file.image)
            size = image.shape[:2]
            mask = np.zeros(size, dtype=np.bool_) if file.mask is None else self._checked_mask(file, size)
        except ValueError as error:
            raise BadImageFile(str(error)) from error
        planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return Sample(planes, file.label, torch.from_numpy(mask), bool(mask.any()), file.group)

    def listing(self) -> Listing:
        """Return labels and which images have a mask file; whether one is empty shows when it is read."""
        labels = np.array([file.label for file in self.files], dtype=np.int64)
        return Listing(labels, np.array([file.mask is not None for file in self.files], dtype=np.bool_))

    def _checked_mask(self, file: ImageFile, size: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        mask = self._read_mask(file)
        if mask.shape != size:
            raise ValueError(
                f"mask {file.mask} is {mask.shape[1]} x {mask.shape[0]} pixels but its image {file.image} is "
                f"{size[1]} x {size[0]}; a mask has its image's size"
            )
        if self._empty_masks == "error" and not mask.any():
            raise ValueError(
                f"mask {file.mask} marks no pixel; mend it, or set empty_masks='no_mask' to use its image without"
            )
        return mask


def read_image(path: Path) -> Pixels:
    """Return an image file as RGB, ``uint8 (H, W, 3)``.

    Pixels come as they are stored, a camera's note to turn the picture is ignored: masks are drawn on stored pixels.

    Raises:
        ValueError: the file is missing or no image.
    """
    pixels = _decode(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_stored(path: Path) -> Stored:
    """Return what a mask file stores, without its opacity: ``(H, W)``, or ``(H, W, 3)`` in RGB.

    OpenCV gives a file with a palette in its colours, not as numbers.

    Raises:
        ValueError: the file is missing or no image.
    """
    pixels = _decode(path, cv2.IMREAD_UNCHANGED)
    return pixels if pixels.ndim == 2 else pixels[..., 2::-1]


def read_grey(path: Path) -> Pixels:
    """Return an image file in shades of grey, ``uint8 (H, W)``.

    Raises:
        ValueError: the file is missing or no image.
    """
    return _decode(path, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION).astype(np.uint8, copy=False)


def existing_folder(path: str | Path, layout: str) -> Path:
    """Return a folder; raise a ValueError with the layout that was expected unless it is there."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; expected {layout}")
    return folder


def read_lines(path: Path, layout: str) -> list[str]:
    """Return the lines of a text file that are not blank; raise a ValueError with the expected layout without it."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}; expected {layout}")
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def read_table(path: Path, columns: int, layout: str) -> list[list[str]]:
    """Return the lines of a text file as words.

    Raises:
        ValueError: the file is missing, or a line has less than ``columns`` words.
    """
    rows = [line.split() for line in read_lines(path, layout)]
    for number, row in enumerate(rows, start=1):
        if len(row) < columns:
            raise ValueError(f"{path} needs {columns} words in a line, line {number} is {' '.join(row)!r}")
    return rows


def as_number(text: str, path: Path, low: int, high: int) -> int:
    """Return a number that a text file holds; raise a ValueError that names the file unless it is in [low, high]."""
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ValueError(f"{path} holds {text!r} where a number in [{low}, {high}] was expected")
    return int(text)


def _decode(path: Path, flags: int) -> Stored:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    data = np.fromfile(path, dtype=np.uint8)
    pixels = cv2.imdecode(data, flags) if len(data) else None
    if pixels is None:
        raise ValueError(f"cannot read {path} as an image; is it complete, and of a format that OpenCV knows?")
    return np.asarray(pixels)
