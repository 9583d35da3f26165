"""Draw the generated benchmark, classes down, backgrounds across, masks outlined: docs/images/spurious_shapes.png.

Run from the repository's root::

    python docs/examples/spurious_shapes.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from camal_rl.overlays import RGBImage, enlarged, sheet
from camal_rl.supervised.data import Sample, SpuriousShapes

HEIGHT = 128
BAR = 8


def outlined(sample: Sample) -> RGBImage:
    """Return a sample enlarged, its mask's outline in white on black, so that it shows on any color."""
    picture = np.ascontiguousarray(enlarged(sample.image.numpy().transpose(1, 2, 0), HEIGHT))
    mask = enlarged(sample.mask.numpy()[..., None].repeat(3, axis=2).astype(np.uint8), HEIGHT)[..., 0]
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for color, width in (((0, 0, 0), 4), ((255, 255, 255), 2)):
        cv2.drawContours(picture, contours, -1, color, width)
    return picture


def main(path: Path) -> None:
    """Write the picture: one shape in each row, redrawn on every background; its own is marked by a white bar."""
    images = SpuriousShapes("test", num_classes=6, difficulty="medium", seed=3)
    columns: dict[str, list[RGBImage]] = {}
    for texture, title in enumerate(images.textures):
        columns[title] = []
        for index in range(len(images.classes)):
            picture = outlined(images.on_background(index, texture, texture_seed=0))
            if texture == index:
                picture[-BAR:] = 255
            columns[title].append(picture)
    cv2.imwrite(str(path), sheet(columns, HEIGHT)[..., ::-1])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/spurious_shapes.png"))
