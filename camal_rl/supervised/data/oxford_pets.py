"""Oxford-IIIT Pet: 37 breeds of cats and dogs, with trimaps (Parkhi et al., CVPR 2012)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from camal_rl.supervised.data.arguments import check_choice
from camal_rl.supervised.data.image_files import (
    EmptyMasks,
    ImageFile,
    ImageFiles,
    as_number,
    existing_folder,
    read_stored,
    read_table,
)

Border = Literal["outside", "inside"]
Target = Literal["breed", "species"]
BORDERS: tuple[str, ...] = get_args(Border)
TARGETS: tuple[str, ...] = get_args(Target)
SPLITS = ("trainval", "test")
LAYOUT = "Oxford-IIIT Pet: images/<name>.jpg, annotations/trimaps/<name>.png, annotations/trainval.txt and test.txt"
SPECIES = ("cat", "dog")

_PET, _BACKGROUND, _BORDER = 1, 2, 3


class OxfordPets(ImageFiles):
    """Oxford-IIIT Pet in its published layout. A trimap holds 1 for the pet, 2 for background, 3 for the border."""

    def __init__(
        self,
        root: str | Path,
        *,
        split: str,
        target: Target = "breed",
        border: Border = "outside",
        empty_masks: EmptyMasks = "error",
    ) -> None:
        """List the files of a split.

        Args:
            root: folder with ``images`` and ``annotations``.
            split: ``trainval`` or ``test``.
            target: the class is the ``breed`` (37) or the ``species`` (cat, dog).
            border: whether the border, a few pixels on either side of the outline, counts as ``outside`` or ``inside``.
            empty_masks: what a mask without a relevant pixel is, see :class:`ImageFiles`.

        Raises:
            ValueError: an unknown argument, a missing folder or file, or a list that is not of this layout.
        """
        check_choice("split", split, SPLITS)
        check_choice("target", target, TARGETS)
        check_choice("border", border, BORDERS)
        top = existing_folder(root, LAYOUT)
        images, trimaps = (existing_folder(top / part, LAYOUT) for part in ("images", "annotations/trimaps"))
        path = top / "annotations" / f"{split}.txt"
        rows = read_table(path, 3, LAYOUT)
        # The classes are those of both lists: a split of a trimmed copy may lack some.
        everything = [row for part in SPLITS for row in read_table(top / "annotations" / f"{part}.txt", 3, LAYOUT)]
        classes = _breeds(everything, path) if target == "breed" else SPECIES
        column = 1 if target == "breed" else 2
        files = [
            ImageFile(
                images / f"{row[0]}.jpg", trimaps / f"{row[0]}.png", as_number(row[column], path, 1, len(classes)) - 1
            )
            for row in rows
        ]
        self._relevant = (_PET, _BORDER) if border == "inside" else (_PET,)
        super().__init__(files, classes, ("all",), self._read_trimap, empty_masks)

    def _read_trimap(self, file: ImageFile) -> npt.NDArray[np.bool_]:
        assert file.mask is not None
        trimap = read_stored(file.mask)
        known = trimap.ndim == 2 and np.isin(trimap, (_PET, _BACKGROUND, _BORDER)).all()
        if not known:
            raise ValueError(f"{file.mask} is no trimap: expected one channel with 1 (pet), 2 (background), 3 (border)")
        return np.isin(trimap, self._relevant)


def _breeds(rows: list[list[str]], path: Path) -> tuple[str, ...]:
    """Return the breeds in the order of their numbers: an image's name is its breed, ``_`` and a number."""
    names = {as_number(row[1], path, 1, 1000): row[0].rpartition("_")[0] for row in rows}
    return tuple(names.get(number, f"breed {number}") for number in range(1, max(names, default=0) + 1))
