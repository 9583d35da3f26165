"""The look of a scene: colors, lights, classes that are not drawn, and a video in place of sky and ground.

A level's number determines its colors and its video; in DMControl-GB (Hansen and Wang 2021, arXiv 2011.13389) the
episode does. This module draws the videos; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from camal_rl.envs.segmentation import LabelMap
from camal_rl.envs.wrappers import Image

Color = tuple[float, float, float]
_COLOR_STREAM, _VIDEO_STREAM = 1, 2
# The suite's own colors: its material `self`, the top of its sky, the two colors of its ground.
_OWN: tuple[Color, Color, Color, Color] = ((0.7, 0.5, 0.3), (0.4, 0.6, 0.8), (0.1, 0.2, 0.3), (0.2, 0.3, 0.4))
# Gray value of the brightest part of the suite's sky, without its stars.
_SKY_PEAK = 150.0
_DISCS, _WAVES = 5, 3


@dataclass(frozen=True)
class Look:
    """The look of a scene; the default is the suite's own.

    Attributes:
        body: color of the class ``body``; differences in brightness between its parts stay.
        sky: color of the sky; its stars and gradient stay.
        ground: the two colors of the ground's texture, the darker one first.
        lights: factor on the strength of every light.
        video: classes whose pixels show a video instead.
        hidden: classes that are not drawn.
    """

    body: Color | None = None
    sky: Color | None = None
    ground: tuple[Color, Color] | None = None
    lights: float = 1.0
    video: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()

    @property
    def painted_over(self) -> bool:
        """Whether pixels of the drawn image are replaced, which needs their labels."""
        return self.sky is not None or bool(self.video)


ORIGINAL = Look()
VIDEO_EASY, VIDEO_HARD = Look(video=("background",)), Look(video=("background", "ground"))


def look_of_level(appearance: str, level: int) -> Look:
    """Return a level's look; ``appearance`` is one of :data:`~camal_rl.envs.dm_control.options.APPEARANCES`."""
    if appearance == "video_easy":
        return VIDEO_EASY
    if appearance == "video_hard":
        return VIDEO_HARD
    if appearance == "original":
        return ORIGINAL
    draw = np.random.default_rng([level, _COLOR_STREAM])
    colors = [_near(own, draw) if appearance == "color_easy" else _any(draw) for own in _OWN]
    body, sky, dark, bright = colors
    return Look(body, sky, (dark, bright))


def _near(own: Color, draw: np.random.Generator) -> Color:
    """Return a color that differs from the suite's by up to a fifth of the range in each channel."""
    return _color(np.clip(np.asarray(own) + draw.uniform(-0.2, 0.2, 3), 0.05, 0.95))


def _any(draw: np.random.Generator) -> Color:
    return _color(draw.uniform(0.05, 0.95, 3))


def _color(values: npt.NDArray[np.float64]) -> Color:
    return float(values[0]), float(values[1]), float(values[2])


def without(look: Look, name: str) -> Look:
    """Return a look in which a class is not drawn."""
    return replace(look, hidden=(*look.hidden, name))


def recolored_texture(texture: npt.NDArray[np.uint8], colors: tuple[Color, Color]) -> npt.NDArray[np.uint8]:
    """Return a texture ``uint8[H, W, 3]`` from the first color at its darkest texel to the second at its brightest."""
    gray = texture.mean(axis=2, dtype=np.float32)
    low, high = float(gray.min()), float(gray.max())
    share = ((gray - low) / max(high - low, 1.0))[..., None]
    dark, bright = (255 * np.asarray(color, dtype=np.float32) for color in colors)
    return np.rint(dark + share * (bright - dark)).astype(np.uint8)


def shaded(color: Color, own: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return ``color`` times the brightness of a part's own color ``float32[3]`` relative to the suite's usual body."""
    return np.clip(np.asarray(color, dtype=np.float32) * (own.mean() / np.float32(np.mean(_OWN[0]))), 0, 1)


def painted(image: Image, labels: LabelMap, look: Look, names: Sequence[str], level: int, step: int) -> Image:
    """Return a drawn image ``uint8[H, W, 3]`` with the look's sky, and with the level's video at a simulator step."""
    if look.sky is not None:
        sky = labels == 0
        gray = image[sky].mean(axis=1, dtype=np.float32) / _SKY_PEAK
        image = image.copy()
        image[sky] = np.clip(gray[:, None] * (255 * np.asarray(look.sky, dtype=np.float32)), 0, 255).astype(np.uint8)
    if look.video:
        covered = np.isin(labels, [names.index(name) for name in look.video])
        image = np.where(covered[..., None], video_frame(level, step, len(image)), image)
    return image


def video_frame(level: int, step: int, side: int) -> Image:
    """Return a frame ``uint8[side, side, 3]`` of a level's video: waves of color, and discs that drift over them.

    In 50 steps, a second in most tasks, the discs move by about a fifth of the image.
    """
    draw = np.random.default_rng([level, _VIDEO_STREAM])
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32) / side
    picture = np.full((side, side, 3), 0.5, dtype=np.float32)
    for _ in range(_WAVES):
        angle, pitch, speed, phase = draw.uniform((0, 8, -0.06, 0), (2 * np.pi, 30, 0.06, 2 * np.pi))
        wave = np.sin(pitch * (np.cos(angle) * rows + np.sin(angle) * columns) + speed * step + phase)
        picture += wave[..., None] * draw.uniform(-0.25, 0.25, 3).astype(np.float32)
    for _ in range(_DISCS):
        row, column, down, right, radius = draw.uniform((0, 0, -0.005, -0.005, 0.06), (1, 1, 0.005, 0.005, 0.2))
        color = draw.uniform(0, 1, 3).astype(np.float32)
        # A disc that leaves the image on one side comes back on the other.
        across = (rows - row - down * step + 0.5) % 1 - 0.5, (columns - column - right * step + 0.5) % 1 - 0.5
        picture[across[0] ** 2 + across[1] ** 2 < radius**2] = color
    return (255 * np.clip(picture, 0, 1)).astype(np.uint8)
