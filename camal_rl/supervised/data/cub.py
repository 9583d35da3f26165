"""CUB-200-2011: 200 species of birds, with segmentations (Wah et al., Caltech CNS-TR-2011-001)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from camal_rl.supervised.data.arguments import check_choice
from camal_rl.supervised.data.image_files import (
    EmptyMasks,
    ImageFile,
    ImageFiles,
    as_number,
    existing_folder,
    read_grey,
    read_table,
)

SPLITS = ("train", "test")
LAYOUT = (
    "CUB-200-2011: images/<class>/<name>.jpg, segmentations/<class>/<name>.png, images.txt, image_class_labels.txt, "
    "train_test_split.txt, classes.txt"
)
SEGMENTATIONS_LAYOUT = "CUB's segmentations (an archive of its own): <class>/<name>.png"

_MAJORITY = 128  # A segmentation's grey is the share of annotators who marked a pixel, 255 for all of them.


class CUB200(ImageFiles):
    """CUB-200-2011 in its published layout. Relevant is what most annotators marked as bird."""

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
            empty_masks: what a mask without a relevant pixel is, see :class:`ImageFiles`.

        Raises:
            ValueError: an unknown argument, a missing folder or file, or a list that is not of this layout.
        """
        check_choice("split", split, SPLITS)
        top = existing_folder(root, LAYOUT)
        images = existing_folder(top / "images", LAYOUT)
        masks = existing_folder(segmentations or top / "segmentations", SEGMENTATIONS_LAYOUT)
        classes = tuple(name for _, name in read_table(top / "classes.txt", 2, LAYOUT))
        names = _by_image(top / "images.txt")
        labels, in_training = _by_image(top / "image_class_labels.txt"), _by_image(top / "train_test_split.txt")
        files = []
        for image, name in names.items():
            if image not in labels or image not in in_training:
                raise ValueError(f"image {image} of {top / 'images.txt'} has no class or no split; expected {LAYOUT}")
            if (in_training[image] == "1") == (split == "train"):
                label = as_number(labels[image], top / "image_class_labels.txt", 1, len(classes)) - 1
                files.append(ImageFile(images / name, cub_mask(masks, name), label))
        super().__init__(files, classes, ("all",), read_cub_mask, empty_masks)


def cub_mask(masks: Path, image: str) -> Path:
    """Return the segmentation of an image: the same class folder and name, as PNG."""
    return masks / Path(image).with_suffix(".png")


def read_cub_mask(file: ImageFile) -> npt.NDArray[np.bool_]:
    """Read a segmentation of CUB: what most annotators marked."""
    assert file.mask is not None
    return read_grey(file.mask) >= _MAJORITY


def _by_image(path: Path) -> dict[str, str]:
    """Return the second word of each line by the first, an image's number."""
    return {row[0]: row[1] for row in read_table(path, 2, LAYOUT)}
