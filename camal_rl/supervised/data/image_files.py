"""Image sets in files: lazy reading and one-line errors for unusable files, shared by all layouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch

from camal_rl.argument_checks import check_choice
from camal_rl.supervised.data.decoding import Pixels, read_image
from camal_rl.supervised.data.listing import Listing, check_index
from camal_rl.supervised.data.samples import BadImageFile, Sample

EmptyMasks = Literal["error", "no_mask"]
EMPTY_MASKS: tuple[str, ...] = get_args(EmptyMasks)


class ImageFile(NamedTuple):
    """The files of an image and its mask; ``mask`` is None for an image without a mask."""

    image: Path
    mask: Path | None
    label: int
    group: int = 0


MaskReader = Callable[[ImageFile], npt.NDArray[np.bool_]]


class ImageFiles:
    """Images in files, each read when it is needed, at its own size."""

    def __init__(
        self,
        files: Sequence[ImageFile],
        classes: Sequence[str],
        groups: Sequence[str],
        read_mask: MaskReader,
        empty_masks: EmptyMasks = "error",
        *,
        turn: bool = False,
    ) -> None:
        """Store the list of files.

        Args:
            files: images, masks, labels, groups.
            classes: names of the labels.
            groups: names of the groups.
            read_mask: reads the mask ``bool (H, W)`` of a file that has one.
            empty_masks: how to treat a mask without a relevant pixel: ``error``, or ``no_mask``, like a missing mask.
            turn: whether to rotate images by their EXIF orientation, unless the mask was drawn on the stored pixels;
                otherwise all images are used as they are stored.
        """
        check_choice("empty_masks", empty_masks, EMPTY_MASKS)
        self.classes, self.groups = tuple(classes), tuple(groups)
        self.files = tuple(files)
        self._read_mask, self._empty_masks, self._turn = read_mask, empty_masks, turn

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        """Read the sample at ``index``.

        Raises:
            BadImageFile: a file cannot be read, or a mask is empty or has another size than its image.
        """
        check_index(index, len(self.files))
        file = self.files[index]
        try:
            image, mask = self._read(file)
        except ValueError as error:
            raise BadImageFile(str(error)) from error
        planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return Sample(planes, file.label, torch.from_numpy(mask), bool(mask.any()), file.group)

    def listing(self) -> Listing:
        """Return labels and which images have a mask file; an empty mask is detected only when it is read."""
        labels = np.array([file.label for file in self.files], dtype=np.int64)
        return Listing(labels, np.array([file.mask is not None for file in self.files], dtype=np.bool_))

    def _read(self, file: ImageFile) -> tuple[Pixels, npt.NDArray[np.bool_]]:
        """Return image ``(H, W, 3)`` and mask ``(H, W)``."""
        picture = read_image(file.image)
        if file.mask is None:
            image = picture.upright() if self._turn else picture.pixels
            return image, np.zeros(image.shape[:2], dtype=np.bool_)
        mask = self._read_mask(file)
        image = picture.pixels
        if self._turn:
            try:
                image = picture.fitting(mask.shape)
            except ValueError as error:
                raise ValueError(f"{file.image} {error}") from error
        self._check_mask(file, mask, image.shape[:2])
        return image, mask

    def _check_mask(self, file: ImageFile, mask: npt.NDArray[np.bool_], size: tuple[int, ...]) -> None:
        if mask.shape != size:
            raise ValueError(
                f"mask {file.mask} is {mask.shape[1]} x {mask.shape[0]} pixels but its image {file.image} is "
                f"{size[1]} x {size[0]}; a mask must have its image's size"
            )
        if self._empty_masks == "error" and not mask.any():
            raise ValueError(
                f"mask {file.mask} marks no pixel; correct it, or set empty_masks='no_mask' to use its image without it"
            )


def existing_folder(path: str | Path, layout: str) -> Path:
    """Return a folder; raise a ValueError with the expected layout if it does not exist."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; expected {layout}")
    return folder


def check_present(files: Sequence[ImageFile], source: Path) -> None:
    """Raise a ValueError unless every image and mask of a list exists.

    Args:
        files: the files of the list.
        source: the file of the list.
    """
    for kind, paths in (
        ("images", [file.image for file in files]),
        ("masks", [file.mask for file in files if file.mask is not None]),
    ):
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise ValueError(
                f"there is no file {missing[0]}; of {len(paths)} {kind} in {source}, {len(missing)} are missing; add "
                "them, or remove them from the list"
            )
