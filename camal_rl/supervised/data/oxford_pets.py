"""Oxford-IIIT Pet: 37 breeds of cats and dogs, with trimaps (Parkhi et al., CVPR 2012)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from camal_rl.argument_checks import check_choice
from camal_rl.supervised.data.decoding import read_stored
from camal_rl.supervised.data.folder_tree import warn_unlisted
from camal_rl.supervised.data.image_files import EmptyMasks, ImageFile, ImageFiles, check_present, existing_folder
from camal_rl.supervised.data.text_files import Words, as_number, check_distinct, read_lines

Border = Literal["outside", "inside"]
Target = Literal["breed", "species"]
BORDERS: tuple[str, ...] = get_args(Border)
TARGETS: tuple[str, ...] = get_args(Target)
SPLITS = ("trainval", "test")
LAYOUT = "Oxford-IIIT Pet: images/<name>.jpg, annotations/trimaps/<name>.png, annotations/trainval.txt and test.txt"
SPECIES = ("cat", "dog")

_PET, _BACKGROUND, _BORDER = 1, 2, 3


class OxfordPets(ImageFiles):
    """Oxford-IIIT Pet in its published layout. A trimap is 1 for the pet, 2 for background, 3 for the border."""

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
            empty_masks: how to treat a mask without a relevant pixel, see :class:`ImageFiles`.

        Raises:
            ValueError: an argument is unknown, a folder or file is missing, or a list has another layout.
        """
        check_choice("split", split, SPLITS)
        check_choice("target", target, TARGETS)
        check_choice("border", border, BORDERS)
        top = existing_folder(root, LAYOUT)
        images, trimaps = (existing_folder(top / part, LAYOUT) for part in ("images", "annotations/trimaps"))
        lists = {part: top / "annotations" / f"{part}.txt" for part in SPLITS}
        lines = {part: read_lines(path, LAYOUT, 3, 4) for part, path in lists.items()}
        # The classes are those of both lists, since a split of an incomplete copy may lack some.
        everything = [line for part in SPLITS for line in lines[part]]
        check_distinct("image", [(line.words[0], line.place) for line in everything])
        classes = _breeds(everything) if target == "breed" else SPECIES
        column = 1 if target == "breed" else 2
        files = []
        for words, place in lines[split]:
            label = as_number(words[column], place, 1, len(classes)) - 1
            files.append(ImageFile(images / f"{words[0]}.jpg", trimaps / f"{words[0]}.png", label))
        check_present(files, lists[split])
        warn_unlisted(images, {images / f"{line.words[0]}.jpg" for line in everything}, top / "annotations")
        self._relevant = (_PET, _BORDER) if border == "inside" else (_PET,)
        super().__init__(files, classes, ("all",), self._read_trimap, empty_masks)

    def _read_trimap(self, file: ImageFile) -> npt.NDArray[np.bool_]:
        assert file.mask is not None
        trimap = read_stored(file.mask)
        known = trimap.ndim == 2 and np.isin(trimap, (_PET, _BACKGROUND, _BORDER)).all()
        if not known:
            raise ValueError(
                f"{file.mask} is not a trimap: expected one channel with 1 (pet), 2 (background), 3 (border)"
            )
        return np.isin(trimap, self._relevant)


def _breeds(lines: list[Words]) -> tuple[str, ...]:
    """Return the breeds in the order of their numbers: an image's name is its breed, ``_`` and a number."""
    names = {as_number(words[1], place, 1, 1000): words[0].rpartition("_")[0] for words, place in lines}
    return tuple(names.get(number, f"breed {number}") for number in range(1, max(names, default=0) + 1))
