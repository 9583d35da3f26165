"""Pascal VOC: 20 classes, with segmentations, as a classification of each image's largest class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from camal_rl.argument_checks import check_choice
from camal_rl.supervised.data.decoding import Stored, read_stored
from camal_rl.supervised.data.image_files import ImageFile, ImageFiles, check_present, existing_folder
from camal_rl.supervised.data.text_files import check_distinct, read_lines

SPLITS = ("train", "val", "trainval")
LAYOUT = (
    "Pascal VOC: JPEGImages/<name>.jpg, SegmentationClass/<name>.png, ImageSets/Segmentation/train.txt, val.txt "
    "(the folder VOC2012 of the archive)"
)
CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
VOID = 255


class PascalVOC(ImageFiles):
    """Pascal VOC's segmentation part in its published layout, with one class for each image.

    The class is the one with the largest area; of two with the same area, the first in the list of classes. The mask
    is that class's pixels. Pixels of other classes and void pixels along outlines (255) are not relevant.
    """

    def __init__(self, root: str | Path, *, split: str) -> None:
        """List the files of a split. This reads all its segmentations once, since they determine the classes.

        Args:
            root: folder with ``JPEGImages``, ``SegmentationClass`` and ``ImageSets``.
            split: ``train``, ``val`` or ``trainval``.

        Raises:
            ValueError: the split is unknown, a folder or file is missing, or a segmentation has colors that are not
                VOC's or contains no object.
        """
        check_choice("split", split, SPLITS)
        top = existing_folder(root, LAYOUT)
        images, masks = (existing_folder(top / part, LAYOUT) for part in ("JPEGImages", "SegmentationClass"))
        lists = {part: top / "ImageSets" / "Segmentation" / f"{part}.txt" for part in SPLITS}
        lines = read_lines(lists[split], LAYOUT)
        # An image in both training and test would invalidate the test.
        other = {"train": "val", "val": "train"}.get(split, "")
        others = read_lines(lists[other], LAYOUT) if other and lists[other].is_file() else []
        check_distinct("image", [(line.words[0], line.place) for line in (*lines, *others)])
        names = [line.words[0] for line in lines]
        unread = [ImageFile(images / f"{name}.jpg", masks / f"{name}.png", 0) for name in names]
        check_present(unread, lists[split])
        files = [file._replace(label=_largest_class(masks / f"{file.image.stem}.png")) for file in unread]
        super().__init__(files, CLASSES, ("all",), _read_mask)


def read_class_map(path: Path) -> npt.NDArray[np.uint8]:
    """Return a segmentation as numbers ``uint8 (H, W)``: 0 background, ``k + 1`` for ``CLASSES[k]``, 255 void.

    The file stores colors (a palette that OpenCV resolves) or the numbers themselves.

    Raises:
        ValueError: the file is unreadable, or contains something else.
    """
    stored = read_stored(path)
    labels = stored if stored.ndim == 2 else _numbers(stored)
    if labels is None or not ((labels <= len(CLASSES)) | (labels == VOID)).all():
        raise ValueError(f"{path} is not a segmentation of Pascal VOC: expected its palette of 21 colors and void")
    return labels.astype(np.uint8, copy=False)


def _numbers(colors: Stored) -> npt.NDArray[np.uint8] | None:
    """Return the numbers of VOC's colors ``(H, W, 3)``, None if another color occurs.

    The palette assigns the bits of a number to red, green and blue in turn, starting with each color's highest bit:
    bit ``3 j + c`` of the number is bit ``7 - j`` of color ``c``. The lowest bit in use is bit 5.
    """
    bits = colors.astype(np.uint8)
    if colors.dtype != np.uint8 or (bits & 31).any():
        return None
    numbers = np.zeros(bits.shape[:2], dtype=np.uint8)
    for bit in range(8):
        numbers += ((bits[..., bit % 3] >> np.uint8(7 - bit // 3)) & np.uint8(1)) << np.uint8(bit)
    return numbers if not (bits[..., 2] & 32).any() else None


def _largest_class(path: Path) -> int:
    counts = np.bincount(read_class_map(path).ravel(), minlength=VOID + 1)[1 : len(CLASSES) + 1]
    if not counts.any():
        raise ValueError(
            f"{path} contains no object of the {len(CLASSES)} classes; remove its name from the list of the split"
        )
    return int(counts.argmax())


def _read_mask(file: ImageFile) -> npt.NDArray[np.bool_]:
    assert file.mask is not None
    return read_class_map(file.mask) == file.label + 1
