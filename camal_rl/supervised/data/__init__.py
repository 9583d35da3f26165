"""Image sets with segmentation masks: published layouts, plain folders, and a generated benchmark."""

from camal_rl.supervised.data.augmentation import Augmentation, Augmented, Resized
from camal_rl.supervised.data.changed_masks import ChangedMasks
from camal_rl.supervised.data.cub import CUB200
from camal_rl.supervised.data.folder import ImageFolder
from camal_rl.supervised.data.mask_fraction import MaskFraction
from camal_rl.supervised.data.oxford_pets import OxfordPets
from camal_rl.supervised.data.registry import IMAGE_SETS, image_sets, known_options
from camal_rl.supervised.data.samples import BadImageFile, Batch, ImageSet, Sample, UnusedDataWarning, collate
from camal_rl.supervised.data.spurious_shapes import SpuriousShapes
from camal_rl.supervised.data.subset import Subset, held_out
from camal_rl.supervised.data.voc import PascalVOC
from camal_rl.supervised.data.waterbirds import Waterbirds

__all__ = [
    "CUB200",
    "IMAGE_SETS",
    "Augmentation",
    "Augmented",
    "BadImageFile",
    "Batch",
    "ChangedMasks",
    "ImageFolder",
    "ImageSet",
    "MaskFraction",
    "OxfordPets",
    "PascalVOC",
    "Resized",
    "Sample",
    "SpuriousShapes",
    "Subset",
    "UnusedDataWarning",
    "Waterbirds",
    "collate",
    "held_out",
    "image_sets",
    "known_options",
]
