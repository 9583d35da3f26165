"""A small convolutional classifier for small images, made for training on a CPU."""

from __future__ import annotations

from torch import Tensor, nn

from camal_rl.supervised.ifam.images import Normalize

GROUPS = 8
"""Groups of the group normalization, which does not mix samples like batch normalization, so that maps are exact."""


class CompactClassifier(nn.Module):
    """3x3 convolutions with group normalization, global average pooling and a linear head.

    The channels double with each halving of the resolution. Two more convolutions at the last resolution enlarge the
    receptive field. With the defaults, 64x64 images have a map of 16x16 cells.

    Attributes:
        cam_layer: ``"features"``, the last feature map.
    """

    def __init__(self, num_classes: int, *, width: int = 16, halvings: int = 2) -> None:
        super().__init__()
        self.normalize = Normalize()
        layers = _convolution(3, width, 1)
        channels = width
        for _ in range(halvings):
            layers += _convolution(channels, 2 * channels, 2)
            channels *= 2
        for _ in range(2):
            layers += _convolution(channels, channels, 1)
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, num_classes)
        self.cam_layer = "features"

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, K)`` of images ``(B, 3, H, W)`` in [0, 1]."""
        features: Tensor = self.features(self.normalize(images))
        return self.head(features.mean(dim=(2, 3)))


def compact(num_classes: int, image_size: tuple[int, int], *, width: int = 16, halvings: int = 2) -> CompactClassifier:
    """Build a :class:`CompactClassifier`.

    Args:
        num_classes: number of classes.
        image_size: ``(H, W)``.
        width: channels of the first convolution, a multiple of 8.
        halvings: how often the resolution halves: 2 gives 16x16 for 64x64 images, 3 gives 8x8.

    Raises:
        ValueError: the width is not a multiple of 8, or the image is too small for the halvings.
    """
    if width < GROUPS or width % GROUPS:
        raise ValueError(f"width must be a positive multiple of {GROUPS}, got {width}")
    if halvings < 0 or min(image_size) >> halvings < 2:
        raise ValueError(
            f"halvings must leave a map of at least 2x2, got {halvings} for images of {image_size[0]}x{image_size[1]}"
        )
    return CompactClassifier(num_classes, width=width, halvings=halvings)


def _convolution(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(GROUPS, outputs),
        nn.ReLU(),
    ]
