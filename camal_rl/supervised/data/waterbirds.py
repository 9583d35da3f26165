"""Waterbirds: birds of CUB on backgrounds of land and water (Sagawa et al., ICLR 2020, arXiv 1911.08731)."""

from __future__ import annotations

from pathlib import Path

from camal_rl.argument_checks import check_choice
from camal_rl.supervised.data.cub import SEGMENTATIONS_LAYOUT, cub_mask, read_cub_mask
from camal_rl.supervised.data.folder_tree import warn_unlisted
from camal_rl.supervised.data.image_files import EmptyMasks, ImageFile, ImageFiles, check_present, existing_folder
from camal_rl.supervised.data.text_files import as_number, check_distinct, read_csv

SPLITS = ("train", "validation", "test")
LAYOUT = "Waterbirds: metadata.csv with the columns img_filename, y, place, split, and the images at img_filename"
COLUMNS = ("img_filename", "y", "place", "split")
CLASSES = ("landbird", "waterbird")
PLACES = ("land", "water")


class Waterbirds(ImageFiles):
    """Waterbirds in its published layout, with masks from CUB's segmentations; its birds come from CUB.

    In training 95 % of the birds are on the background of their class; in validation and test half of them are. The
    group of class ``y`` at ``place`` is ``2 y + place``: landbird on land, landbird on water, waterbird on land,
    waterbird on water.
    """

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
            root: folder with ``metadata.csv``.
            split: ``train``, ``validation`` or ``test`` (0, 1 and 2 in the file).
            segmentations: folder of CUB-200-2011's segmentations; by default ``segmentations`` in ``root``.
            empty_masks: how to treat a mask without a relevant pixel, see :class:`ImageFiles`.

        Raises:
            ValueError: an argument is unknown, a folder or file is missing, or the table has another layout.
        """
        check_choice("split", split, SPLITS)
        top = existing_folder(root, LAYOUT)
        masks = existing_folder(segmentations or top / "segmentations", SEGMENTATIONS_LAYOUT)
        path = top / "metadata.csv"
        files = []
        rows = read_csv(path, COLUMNS, LAYOUT)
        check_distinct("image", [(row.cells["img_filename"], row.place) for row in rows])
        for cells, line in rows:
            label, place, part = (as_number(cells[key], line, 0, high) for key, high in _CODES)
            if SPLITS[part] == split:
                name = cells["img_filename"]
                files.append(ImageFile(top / name, cub_mask(masks, name), label, label * len(PLACES) + place))
        check_present(files, path)
        # CUB's segmentations may be in the same folder, and they are of more images than these.
        known = {top / row.cells["img_filename"] for row in rows}
        for folder in {image.parent for image in known if image.parent != top}:
            warn_unlisted(folder, known, path)
        groups = [f"{bird} on {place}" for bird in CLASSES for place in PLACES]
        super().__init__(files, CLASSES, groups, read_cub_mask, empty_masks)


_CODES = (("y", len(CLASSES) - 1), ("place", len(PLACES) - 1), ("split", len(SPLITS) - 1))
