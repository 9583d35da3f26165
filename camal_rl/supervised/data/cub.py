"""CUB-200-2011: 200 species of birds, with segmentations (Wah et al., Caltech CNS-TR-2011-001)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from camal_rl.argument_checks import check_choice
from camal_rl.supervised.data.decoding import read_gray
from camal_rl.supervised.data.folder_tree import warn_unlisted
from camal_rl.supervised.data.image_files import EmptyMasks, ImageFile, ImageFiles, check_present, existing_folder
from camal_rl.supervised.data.text_files import Words, as_number, check_distinct, read_lines

SPLITS = ("train", "test")
LAYOUT = (
    "CUB-200-2011: images/<class>/<name>.jpg, segmentations/<class>/<name>.png, images.txt, image_class_labels.txt, "
    "train_test_split.txt, classes.txt"
)
SEGMENTATIONS_LAYOUT = "CUB's segmentations (a separate archive): <class>/<name>.png"

_MAJORITY = 128  # A segmentation's gray is the share of annotators who marked a pixel, 255 for all of them.


class CUB200(ImageFiles):
    """CUB-200-2011 in its published layout. Pixels that most annotators marked as bird are relevant."""

    def __init__(
        self,
        root: str | Path,
        *,
        split: str,
        segmentations: str | Path | None = None,
        empty_masks: EmptyMasks = "error",
    ) -> None:
        """List the files of a split.

        Args:
            root: folder with ``images`` and the text files.
            split: ``train`` or ``test``.
            segmentations: folder of the segmentations; by default ``segmentations`` in ``root``.
            empty_masks: how to treat a mask without a relevant pixel, see :class:`ImageFiles`.

        Raises:
            ValueError: an argument is unknown, a folder or file is missing, or a list has another layout.
        """
        check_choice("split", split, SPLITS)
        top = existing_folder(root, LAYOUT)
        images = existing_folder(top / "images", LAYOUT)
        masks = existing_folder(segmentations or top / "segmentations", SEGMENTATIONS_LAYOUT)
        classes = _classes(top / "classes.txt")
        names = _by_image(top / "images.txt")
        labels, in_training = _by_image(top / "image_class_labels.txt"), _by_image(top / "train_test_split.txt")
        _check_same_images(names, (labels, in_training), top / "images.txt")
        files = []
        for image, line in names.items():
            name = line.words[1]
            if (_number(in_training[image], 0, 1) == 1) == (split == "train"):
                label = _number(labels[image], 1, len(classes)) - 1
                files.append(ImageFile(images / name, cub_mask(masks, name), label))
        check_present(files, top / "images.txt")
        warn_unlisted(images, {images / line.words[1] for line in names.values()}, top / "images.txt")
        super().__init__(files, classes, ("all",), read_cub_mask, empty_masks)


def cub_mask(masks: Path, image: str) -> Path:
    """Return the path of an image's segmentation: the same class folder and name, as PNG."""
    return masks / Path(image).with_suffix(".png")


def read_cub_mask(file: ImageFile) -> npt.NDArray[np.bool_]:
    """Read a segmentation of CUB: the pixels that most annotators marked."""
    assert file.mask is not None
    return read_gray(file.mask) >= _MAJORITY


def _by_image(path: Path) -> dict[str, Words]:
    """Return the lines of a list, each of two words, by the first word, an image's number."""
    lines = read_lines(path, LAYOUT, 2)
    check_distinct("image", [(line.words[0], line.place) for line in lines])
    return {line.words[0]: line for line in lines}


def _number(line: Words, low: int, high: int) -> int:
    """Return the number in the second word of a line."""
    return as_number(line.words[1], line.place, low, high)


def _classes(path: Path) -> tuple[str, ...]:
    """Return the names of the classes, which must be numbered from 1 in the order of the file."""
    lines = read_lines(path, LAYOUT, 2)
    for number, line in enumerate(lines, start=1):
        as_number(line.words[0], line.place, number, number)
    return tuple(line.words[1] for line in lines)


def _check_same_images(names: Mapping[str, Words], others: Sequence[Mapping[str, Words]], path: Path) -> None:
    """Raise a ValueError unless the lists name the same images, and no file twice."""
    check_distinct("image", [(line.words[1], line.place) for line in names.values()])
    for lines in others:
        for image in names:
            if image not in lines:
                raise ValueError(f"image {image} of {path} has no class or no split; expected {LAYOUT}")
        for image, line in lines.items():
            if image not in names:
                raise ValueError(f"{line.place} is of image {image}, which {path} does not list; expected {LAYOUT}")
