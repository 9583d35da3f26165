"""Pictures of frames: image | segmentation | attention, in sheets with titles and a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from camal_rl.atomic import write_bytes

RGBImage = npt.NDArray[np.uint8]

_GAP = 6
_TITLE = 22
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_SCALE = 0.42
_BACKGROUND = 24
_DIMMED = 0.35


def as_rgb(observations: npt.NDArray[np.uint8]) -> RGBImage:
    """Return RGB pictures ``uint8 (..., H, W, 3)`` of image observations ``uint8 (..., H, W, C)``.

    Three channels are an RGB picture. Any other number is a stack of frames, of which the newest is shown: the last
    three channels if their number is a multiple of three, otherwise the last channel in gray.
    """
    channels = observations.shape[-1]
    if channels % 3 == 0:
        return observations[..., -3:]
    return np.repeat(observations[..., -1:], 3, axis=-1)


def class_colors() -> npt.NDArray[np.uint8]:
    """Return one color for each of the 256 class ids, ``uint8 (256, 3)``; 0 is dark gray.

    Hues step by the golden angle, so that neighboring ids differ clearly.
    """
    ids = np.arange(256)
    hues = (ids * 137.508 / 2) % 180
    hsv = np.stack([hues, np.full(256, 190), np.where(ids % 2 == 0, 255, 215)], axis=1).astype(np.uint8)
    colors = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    colors[0] = 60
    return np.asarray(colors, dtype=np.uint8)


def heat_colors() -> npt.NDArray[np.uint8]:
    """Return the colors of heat maps, ``uint8 (256, 3)``: dark first, yellow last."""
    colors = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)
    return np.asarray(colors[:, 0, ::-1], dtype=np.uint8)


def colored_segmentation(labels: npt.NDArray[np.uint8]) -> RGBImage:
    """Return label maps ``uint8 (..., H, W)`` in the classes' colors, ``uint8 (..., H, W, 3)``."""
    if labels.dtype != np.uint8:
        raise TypeError(f"label maps must be uint8, got {labels.dtype}")
    return class_colors()[labels]


def mask_overlay(image: RGBImage, mask: npt.NDArray[np.bool_]) -> RGBImage:
    """Return ``image (H, W, 3)`` darkened wherever ``mask (H, W)`` is false."""
    if image.shape[:2] != mask.shape:
        raise ValueError(f"the mask must have the image's size {image.shape[:2]}, got {mask.shape}")
    return np.where(mask[..., None], image, (image * _DIMMED).astype(np.uint8))


def heatmap_overlay(image: RGBImage, cam: npt.NDArray[np.floating], strength: float = 0.6) -> RGBImage:
    """Return ``image (H, W, 3)`` with a heat map on top: dark where ``cam`` is 0, yellow where it is 1.

    Args:
        image: uint8 RGB.
        cam: ``(h, w)`` in [0, 1], upsampled to the image's size.
        strength: opacity of the heat where ``cam`` is 1; two thirds of it where ``cam`` is 0.
    """
    if cam.ndim != 2:
        raise ValueError(f"a heat map must be (h, w), got shape {cam.shape}")
    height, width = image.shape[:2]
    large = cv2.resize(cam.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR).clip(0, 1)
    heat = heat_colors()[(large * 255).astype(np.uint8)]
    opacity = strength * (2 + large[..., None]) / 3
    return np.rint(image * (1 - opacity) + heat * opacity).astype(np.uint8)


def to_grayscale(image: RGBImage) -> RGBImage:
    """Return ``image (H, W, 3)`` without color, so that color comes only from the heat map."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def sheet(columns: Mapping[str, Sequence[RGBImage]], height: int = 128) -> RGBImage:
    """Lay out pictures in titled columns of equal length.

    Args:
        columns: title to pictures ``uint8 (H, W, 3)``, all of one size.
        height: height of each picture in the sheet; small images are enlarged by an integer factor, so pixels stay
            sharp.

    Returns:
        ``uint8 (rows, columns, 3)``.
    """
    if len({len(pictures) for pictures in columns.values()}) != 1:
        raise ValueError("every column of a sheet needs the same number of pictures, at least one column")
    drawn = [_column(title, pictures, height) for title, pictures in columns.items()]
    return np.concatenate([part for column in drawn for part in (_gap(column.shape[0], _GAP), column)][1:], axis=1)


def attention_sheet(
    frames: RGBImage,
    labels: npt.NDArray[np.uint8],
    relevant: npt.NDArray[np.bool_],
    maps: Mapping[str, npt.NDArray[np.floating]],
) -> RGBImage:
    """Return a sheet: image | image with irrelevant pixels dimmed | one heat map for each entry of ``maps``.

    Args:
        frames: ``uint8 (N, H, W, C)``; see :func:`as_rgb`.
        labels: label maps ``uint8 (N, H, W)``.
        relevant: ``bool (256,)``, which labels are relevant.
        maps: title to maps ``(N, h, w)`` in [0, 1].
    """
    frames = as_rgb(frames)
    columns: dict[str, Sequence[RGBImage]] = {
        "image": list(frames),
        "relevant": [mask_overlay(image, relevant[label]) for image, label in zip(frames, labels, strict=True)],
    }
    for title, cams in maps.items():
        columns[title] = [heatmap_overlay(image, cam) for image, cam in zip(frames, cams, strict=True)]
    return sheet(columns)


def segmentation_sheet(
    frames: RGBImage,
    labels: npt.NDArray[np.uint8],
    names: Sequence[str],
    relevant: npt.NDArray[np.bool_],
    height: int = 192,
    legend: Sequence[int] | None = None,
) -> RGBImage:
    """Return a sheet image | segmentation | relevant with a legend of the classes that occur.

    Args:
        frames: ``uint8 (N, H, W, C)``; see :func:`as_rgb`.
        labels: label maps ``uint8 (N, H, W)``.
        names: ``names[id]`` is the class name.
        relevant: ``bool (256,)``, which labels are relevant; the legend marks them with ``*``.
        height: height of each picture in the sheet.
        legend: classes in the legend; by default those that occur.
    """
    frames = as_rgb(frames)
    pictures = sheet(
        {
            "image": list(frames),
            "segmentation": list(colored_segmentation(labels)),
            "relevant": [mask_overlay(image, relevant[label]) for image, label in zip(frames, labels, strict=True)],
        },
        height,
    )
    named = np.unique(labels).tolist() if legend is None else legend
    entries = {label: names[label] + (" *" if relevant[label] else "") for label in named}
    return np.concatenate([pictures, _legend(entries, pictures.shape[1])], axis=0)


def _column(title: str, pictures: Sequence[RGBImage], height: int) -> RGBImage:
    grown = [enlarged(picture, height) for picture in pictures]
    width = grown[0].shape[1]
    parts = [_text(title, width)]
    for picture in grown:
        parts += [picture, _gap(_GAP, width)]
    return np.concatenate(parts[:-1], axis=0)


def enlarged(picture: RGBImage, height: int) -> RGBImage:
    """Return ``picture (H, W, 3)`` enlarged by the integer factor that comes nearest to a height; pixels stay sharp."""
    factor = max(1, round(height / picture.shape[0]))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _gap(height: int, width: int) -> RGBImage:
    return np.full((height, width, 3), _BACKGROUND, dtype=np.uint8)


def _text(text: str, width: int) -> RGBImage:
    strip = _gap(_TITLE, width)
    needed = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)[0][0]
    # Titles too long for their column are drawn smaller, so that they do not overlap the next one.
    scale = _FONT_SCALE * min(1.0, (width - 8) / max(needed, 1))
    cv2.putText(strip, text, (3, _TITLE - 7), _FONT, scale, (235, 235, 235), 1, cv2.LINE_AA)
    return strip


def _legend(entries: Mapping[int, str], width: int) -> RGBImage:
    """Return color patches with names, in as many lines as needed for the width."""
    colors = class_colors()
    lines = [_gap(_TITLE, width)]
    left = 4
    for label, name in [*entries.items(), (-1, "* relevant")]:
        needed = 18 + cv2.getTextSize(name, _FONT, _FONT_SCALE, 1)[0][0] + 14
        if left + needed > width and left > 4:
            lines.append(_gap(_TITLE, width))
            left = 4
        if label >= 0:
            lines[-1][6:18, left : left + 12] = colors[label]
        cv2.putText(lines[-1], name, (left + 18, 16), _FONT, _FONT_SCALE, (235, 235, 235), 1, cv2.LINE_AA)
        left += needed
    return np.concatenate([_gap(_GAP, width), *lines, _gap(_GAP, width)], axis=0)


def write_png(path: Path, picture: RGBImage) -> None:
    """Write an RGB picture; missing folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", picture[..., ::-1])
    if not done:
        raise ValueError(f"OpenCV cannot encode a picture of shape {picture.shape}")
    write_bytes(path, data.tobytes())
