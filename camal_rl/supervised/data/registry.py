"""Image sets by name, split and prepared for training, from the section ``data`` of a configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from camal_rl.argument_checks import check_flag, check_integer, check_number, check_seed
from camal_rl.mask_changes import MaskChange, check_mask_change
from camal_rl.spelling import check_names
from camal_rl.supervised.data.augmentation import Augmentation, Augmented, Resized
from camal_rl.supervised.data.changed_masks import ChangedMasks
from camal_rl.supervised.data.cub import CUB200
from camal_rl.supervised.data.folder import ImageFolder, check_splits, split_folders
from camal_rl.supervised.data.folder_tree import warn_unused
from camal_rl.supervised.data.image_files import EmptyMasks
from camal_rl.supervised.data.mask_fraction import MaskFraction
from camal_rl.supervised.data.oxford_pets import Border, OxfordPets, Target
from camal_rl.supervised.data.samples import ImageSet
from camal_rl.supervised.data.spurious_shapes import LENGTHS, TRAINING_CORRELATION, Difficulty, SpuriousShapes
from camal_rl.supervised.data.subset import held_out
from camal_rl.supervised.data.voc import PascalVOC
from camal_rl.supervised.data.waterbirds import Waterbirds

ImageSets = dict[str, ImageSet]


def image_sets(
    name: str,
    *,
    root: str | Path | None = None,
    image_size: int = 64,
    seed: int = 0,
    mask_fraction: float = 1.0,
    mask_change: MaskChange = "none",
    mask_amount: float = 0.0,
    augment: bool | Mapping[str, float] | None = None,
    **options: Any,
) -> ImageSets:
    """Return the image sets ``train``, ``validation`` and ``test`` of a data set, resized to one size.

    A missing split is held out from the training images, by class and with ``seed``.

    Args:
        name: one of :data:`IMAGE_SETS`.
        root: folder of the local copy; None for a generated set.
        image_size: height and width of the resized images.
        seed: seed of generated images, of held-out images, of the choice of masks, and of the augmentation.
        mask_fraction: share of the training images that keep their mask; validation and test keep all of theirs.
        mask_change: the change of the masks of the training images (:class:`ChangedMasks`).
        mask_amount: the amount of this change, in [0, 1].
        augment: whether to augment training images, or settings of :class:`Augmentation`; None augments photographs but
            not generated images, which vary already.
        options: options of the data set, see :func:`known_options`.

    Raises:
        TypeError, ValueError: a name or option is unknown, a value is out of range, or files are not as expected.
    """
    check_names([name], IMAGE_SETS, "image set")
    check_names(options, known_options(name), f"option of {name}")
    check_integer("image_size", image_size, 8, 4096)
    check_seed("seed", seed)
    check_number("mask_fraction", mask_fraction, 0.0, 1.0)
    check_mask_change(mask_change, mask_amount)
    if name == "spurious_shapes":
        if root is not None:
            raise ValueError(f"spurious_shapes is generated and reads no folder; omit root={str(root)!r}")
        sets = _spurious_shapes(image_size, seed, **options)
    else:
        if root is None:
            raise ValueError(f"{name} reads a local copy; set root to its folder")
        sets = _FROM_FILES[name](root, seed, **options)
        sets = {"train": sets["train"], **{part: Resized(sets[part], image_size) for part in ("validation", "test")}}
    augmentation = _augmentation(augment, photographs=name != "spurious_shapes")
    exact = sets["train"] if mask_change == "none" else ChangedMasks(sets["train"], mask_change, mask_amount)
    train = MaskFraction(exact, mask_fraction, seed)
    varied = Resized(train, image_size) if augmentation is None else Augmented(train, image_size, seed, augmentation)
    return {**sets, "train": varied}


def known_options(name: str) -> tuple[str, ...]:
    """Return the options of a data set besides the named arguments of :func:`image_sets`."""
    build = _spurious_shapes if name == "spurious_shapes" else _FROM_FILES[name]
    parameters = inspect.signature(build).parameters.values()
    return tuple(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)


def _augmentation(augment: bool | Mapping[str, float] | None, photographs: bool) -> Augmentation | None:
    """Return the augmentation of training images, None without augmentation."""
    if isinstance(augment, Mapping):
        check_names(augment, inspect.signature(Augmentation).parameters, "option of augment")
        return Augmentation(**augment)
    if augment is None:
        return Augmentation() if photographs else None
    if not isinstance(augment, bool):
        raise TypeError(f"augment must be true, false or a mapping of settings, got {augment!r}")
    return Augmentation() if augment else None


def _spurious_shapes(
    image_size: int,
    seed: int,
    *,
    num_classes: int = 4,
    correlation: float = TRAINING_CORRELATION,
    difficulty: Difficulty = "medium",
    train_length: int = LENGTHS["train"],
    validation_length: int = LENGTHS["validation"],
    test_length: int = LENGTHS["test"],
) -> ImageSets:
    """``correlation`` applies to training and validation; in the test set the texture is independent of the class."""
    looks: dict[str, Any] = {
        "image_size": image_size,
        "seed": seed,
        "num_classes": num_classes,
        "difficulty": difficulty,
    }
    return {
        "train": SpuriousShapes("train", length=train_length, correlation=correlation, **looks),
        "validation": SpuriousShapes("validation", length=validation_length, correlation=correlation, **looks),
        "test": SpuriousShapes("test", length=test_length, **looks),
    }


def _folder(
    root: str | Path,
    seed: int,
    *,
    require_masks: bool = True,
    empty_masks: EmptyMasks = "error",
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
) -> ImageSets:
    """Use the folders train, validation and test if they exist; hold out missing ones from the training images."""
    check_flag("require_masks", require_masks)
    options: dict[str, Any] = {"require_masks": require_masks, "empty_masks": empty_masks}
    parts = split_folders(root)
    if not parts:
        kept, test = held_out(ImageFolder(root, **options), test_fraction, seed, "test_fraction")
        train, validation = held_out(kept, validation_fraction, seed, "validation_fraction")
        return {"train": train, "validation": validation, "test": test}
    if "train" not in parts:
        raise ValueError(f"{root} has the folders {', '.join(parts)} but not train, which every image set needs")
    top = Path(root).expanduser()
    check_splits(top)
    warn_unused(top, (), [top / part for part in parts])
    sets: ImageSets = {part: ImageFolder(root, split=part, **options) for part in parts}
    for part, fraction in (("test", test_fraction), ("validation", validation_fraction)):
        if part not in sets:
            sets["train"], sets[part] = held_out(sets["train"], fraction, seed, f"{part}_fraction")
        elif sets[part].classes != sets["train"].classes:
            others = sorted({*sets[part].classes} ^ {*sets["train"].classes})
            raise ValueError(
                f"{Path(root) / part} has other class folders than train: {', '.join(others)} "
                f"{'is' if len(others) == 1 else 'are'} in only one of them; every split needs the same folders"
            )
    return sets


def _oxford_pets(
    root: str | Path,
    seed: int,
    *,
    target: Target = "breed",
    border: Border = "outside",
    empty_masks: EmptyMasks = "error",
    validation_fraction: float = 0.1,
) -> ImageSets:
    trainval, test = (
        OxfordPets(root, split=split, target=target, border=border, empty_masks=empty_masks)
        for split in ("trainval", "test")
    )
    return _with_validation(trainval, test, validation_fraction, seed)


def _cub(
    root: str | Path,
    seed: int,
    *,
    segmentations: str | None = None,
    empty_masks: EmptyMasks = "error",
    validation_fraction: float = 0.1,
) -> ImageSets:
    train, test = (
        CUB200(root, split=split, segmentations=segmentations, empty_masks=empty_masks) for split in ("train", "test")
    )
    return _with_validation(train, test, validation_fraction, seed)


def _voc(root: str | Path, seed: int, *, validation_fraction: float = 0.1) -> ImageSets:
    """The published test set has no public masks, so ``val`` is the test set here."""
    train, test = (PascalVOC(root, split=split) for split in ("train", "val"))
    return _with_validation(train, test, validation_fraction, seed)


def _waterbirds(
    root: str | Path, seed: int, *, segmentations: str | None = None, empty_masks: EmptyMasks = "error"
) -> ImageSets:
    """All splits are published; ``seed`` is unused."""
    return {
        split: Waterbirds(root, split=split, segmentations=segmentations, empty_masks=empty_masks)
        for split in ("train", "validation", "test")
    }


def _with_validation(train: ImageSet, test: ImageSet, validation_fraction: float, seed: int) -> ImageSets:
    kept, validation = held_out(train, validation_fraction, seed, "validation_fraction")
    return {"train": kept, "validation": validation, "test": test}


_FROM_FILES: Mapping[str, Callable[..., ImageSets]] = MappingProxyType(
    {"folder": _folder, "oxford_pets": _oxford_pets, "cub": _cub, "voc": _voc, "waterbirds": _waterbirds}
)
IMAGE_SETS: tuple[str, ...] = ("spurious_shapes", *_FROM_FILES)
