"""A generated benchmark with a shortcut: the class is the shape; the texture predicts the class only in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch

from camal_rl.argument_checks import check_choice, check_integer, check_number, check_seed
from camal_rl.supervised.data.listing import Listing, check_index
from camal_rl.supervised.data.outlines import REACH, SHAPES, shape_pixels
from camal_rl.supervised.data.samples import Sample
from camal_rl.supervised.data.textures import TEXTURES, texture_pattern

Split = Literal["train", "validation", "test"]
Difficulty = Literal["easy", "medium", "hard"]
SPLITS: tuple[str, ...] = get_args(Split)
DIFFICULTIES: tuple[str, ...] = get_args(Difficulty)
LENGTHS: Mapping[str, int] = MappingProxyType({"train": 8000, "validation": 1000, "test": 2000})
TRAINING_CORRELATION = 0.95

_SCENE, _BACKGROUND, _SWAP = 1, 2, 3  # Random streams of one image; not 0, so that keys do not end like padding.
_STEP = (18, 30)  # Distance of a texture's two colors from their mean, in RGB.
_CENTER_RANGE = (30, 225)  # Colors within a step stay in 0 .. 255.
_CENTER_CANDIDATES = 16


class _Look(NamedTuple):
    """Ranges of the shape's size (radius of the disc of equal area / side) and RGB distance from the background."""

    radius: tuple[float, float]
    contrast: tuple[float, float]


_LOOKS: Mapping[str, _Look] = MappingProxyType(
    {
        "easy": _Look((0.22, 0.28), (130, 338)),
        "medium": _Look((0.16, 0.24), (100, 338)),
        "hard": _Look((0.12, 0.17), (60, 110)),
    }
)


@dataclass(frozen=True)
class _Scene:
    """One image without the drawing of its background."""

    background: int
    pixels: npt.NDArray[np.bool_]
    palette: npt.NDArray[np.uint8]


class SpuriousShapes:
    """Shapes on textured backgrounds, generated on the fly, deterministic for each seed, split and index.

    The shape is the class. A share ``correlation`` of the images of a class has the class's own texture; the others
    have one of the other textures, each equally often. The mask is exactly the shape's pixels: edges are not
    anti-aliased. Shapes vary in position, size and rotation; all classes have the same distribution of areas, and none
    touches the border. An image has three colors, the shape's and the two of the texture, drawn independently of class
    and texture. Over all images, pixels of shapes and of backgrounds have the same distribution of colors, so color
    alone predicts neither the class nor the mask.

    Attributes:
        classes: the shapes.
        textures: the backgrounds; ``textures[k]`` goes with ``classes[k]``.
        groups: ``"circle on stripes"``, ...; the group of class ``c`` on texture ``t`` is ``c * len(textures) + t``.
    """

    def __init__(
        self,
        split: Split = "train",
        *,
        length: int | None = None,
        image_size: int = 64,
        num_classes: int = 4,
        correlation: float | None = None,
        difficulty: Difficulty = "medium",
        seed: int = 0,
    ) -> None:
        """Store the settings; images are drawn when they are needed.

        Args:
            split: ``train``, ``validation`` or ``test``: three disjoint streams of images.
            length: number of images; by default that in :data:`LENGTHS`. Classes alternate, so they are balanced.
            image_size: height and width in pixels.
            num_classes: number of first shapes of :data:`~camal_rl.supervised.data.outlines.SHAPES`.
            correlation: probability that the background is the class's own texture. By default .95 in ``train`` and
                ``validation``, and ``1 / num_classes`` in ``test``, where the texture is independent of the class.
            difficulty: determines the size of the shapes and the distance of the colors.
            seed: seed of all images.

        Raises:
            TypeError, ValueError: an argument is out of range; one line.
        """
        check_choice("split", split, SPLITS)
        check_choice("difficulty", difficulty, DIFFICULTIES)
        check_integer("image_size", image_size, 32, 1024)
        check_integer("num_classes", num_classes, 2, len(SHAPES))
        check_seed("seed", seed)
        usual = 1 / num_classes if split == "test" else TRAINING_CORRELATION
        self.correlation = usual if correlation is None else correlation
        check_number("correlation", self.correlation, 0.0, 1.0)
        self._length = LENGTHS[split] if length is None else length
        check_integer("length", self._length, 1, 2**32 - 1)
        self.split, self.difficulty, self.image_size, self.seed = split, difficulty, image_size, seed
        self.classes, self.textures = SHAPES[:num_classes], TEXTURES[:num_classes]
        self.groups = tuple(f"{shape} on {texture}" for shape in self.classes for texture in self.textures)

    def __len__(self) -> int:
        """Return the number of images."""
        return self._length

    def __getitem__(self, index: int) -> Sample:
        """Return the sample at ``index``."""
        scene = self._scene(index)
        return self._draw(index, scene, scene.background, self._generator(index, _BACKGROUND))

    def on_background(self, index: int, texture: int, texture_seed: int) -> Sample:
        """Return the image at ``index`` with another background: the counterfactual of the shortcut.

        Only the texture changes; the shape's pixels and the texture's two colors stay the same.

        Args:
            index: index of the image.
            texture: index into :attr:`textures`; the image's own texture gives another drawing of it, the control for
                the effect of redrawing alone.
            texture_seed: seed of the drawing.
        """
        check_integer("texture", texture, 0, len(self.textures) - 1)
        check_seed("texture_seed", texture_seed)
        return self._draw(index, self._scene(index), texture, self._generator(index, _SWAP, texture_seed))

    def background(self, index: int) -> int:
        """Return the texture of the image at ``index``, an index into :attr:`textures`."""
        return self._pick_background(index, self._generator(index, _SCENE))

    def listing(self) -> Listing:
        """Return the labels; every image has a mask."""
        return Listing(np.arange(self._length) % len(self.classes), np.ones(self._length, dtype=np.bool_))

    def _generator(self, index: int, stream: int, texture_seed: int = 0) -> np.random.Generator:
        """Return a generator for a stream of an image. All keys have one length, since NumPy pads short ones with 0."""
        check_index(index, self._length)
        return np.random.default_rng((self.seed, SPLITS.index(self.split), index, texture_seed, stream))

    def _pick_background(self, index: int, generator: np.random.Generator) -> int:
        label, count = index % len(self.classes), len(self.textures)
        own, other = generator.random() < self.correlation, int(generator.integers(1, count))
        return label if own else (label + other) % count

    def _scene(self, index: int) -> _Scene:
        """Draw everything but the background's pattern. The background is drawn first, as in :meth:`background`."""
        generator = self._generator(index, _SCENE)
        background = self._pick_background(index, generator)
        look = _LOOKS[self.difficulty]
        radius = self.image_size * generator.uniform(*look.radius)
        margin = radius * REACH + 1
        x, y = generator.uniform(margin, self.image_size - 1 - margin, 2)
        angle = generator.uniform(0, 2 * np.pi)
        pixels = shape_pixels(self.classes[index % len(self.classes)], self.image_size, (x, y), radius, angle)
        return _Scene(background, pixels, _three_colors(look.contrast, generator))

    def _draw(self, index: int, scene: _Scene, texture: int, generator: np.random.Generator) -> Sample:
        """Put the shape on a drawing of the texture."""
        layers = texture_pattern(self.textures[texture], self.image_size, generator).view(np.uint8)
        layers[scene.pixels] = 2
        image = scene.palette.take(layers, axis=1)
        label = index % len(self.classes)
        group = label * len(self.textures) + texture
        return Sample(torch.from_numpy(image), label, torch.from_numpy(scene.pixels), True, group)


def _three_colors(contrast: tuple[float, float], generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return an image's colors ``uint8 (3 channels, 3 colors)``: the texture's two and the shape's.

    Two centers are drawn from the same distribution, at a distance in the range ``contrast``. The texture's colors are
    the first center plus and minus a step; the shape's is the second center plus a step of the same distribution.
    """
    low, high = contrast[0] ** 2, contrast[1] ** 2
    steps = generator.standard_normal((2, 3))
    steps *= generator.uniform(*_STEP, (2, 1)) / np.linalg.norm(steps, axis=1, keepdims=True)
    while True:
        centers = generator.uniform(*_CENTER_RANGE, (_CENTER_CANDIDATES, 2, 3))
        squares = np.square(centers[:, 0] - centers[:, 1]).sum(axis=1)
        fitting = np.flatnonzero((squares >= low) & (squares <= high))
        if len(fitting):
            ground, shape = centers[fitting[0]]
            return np.rint(np.stack([ground - steps[0], ground + steps[0], shape + steps[1]], axis=1)).astype(np.uint8)
