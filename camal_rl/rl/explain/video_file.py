"""Writes MP4 files that browsers can play."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from camal_rl.atomic import replacing
from camal_rl.extras import install_command
from camal_rl.overlays import RGBImage

# Nearly lossless for drawings and enlarged pixels, in a fraction of the default preset's time.
_ENCODER = {"crf": "18", "preset": "veryfast"}
# ITU-T H.273: OpenCV's and FFmpeg's conversion from RGB is that of BT.601 in limited range; players that are not told
# so may take larger pictures for BT.709 and shift the colors.
_BT601_MATRIX, _BT709, _LIMITED_RANGE = 6, 1, 1


def check_video_support() -> None:
    """Raise an ImportError with the install line unless PyAV is installed."""
    _pyav()


def write_mp4(path: Path, pictures: Iterable[RGBImage], fps: int) -> int:
    """Write pictures as H.264 in 4:2:0 and return their number.

    The file is written atomically; after an error or Ctrl-C an earlier one is intact.

    Args:
        path: the file; missing folders are created.
        pictures: ``uint8 (H, W, 3)``, at least one, all of the same size. H.264 in 4:2:0 needs even sizes: an odd size
            is extended by a copy of the last row or column.
        fps: pictures per second, at least 1.

    Raises:
        ValueError: no pictures, or an ``fps`` below 1.
        ImportError: PyAV is not installed.
    """
    if fps < 1:
        raise ValueError(f"fps must be at least 1, got {fps}")
    remaining = iter(pictures)
    first = next(remaining, None)
    if first is None:
        raise ValueError("a video needs at least one picture")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        return _encode(partial, itertools.chain([first], remaining), first.shape[:2], fps)


def even_sized(picture: RGBImage) -> RGBImage:
    """Return ``picture (H, W, 3)`` with an even height and width."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _encode(path: Path, pictures: Iterable[RGBImage], size: tuple[int, ...], fps: int) -> int:
    av = _pyav()
    count = 0
    # The index at the front lets a browser start before it has loaded the whole file.
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options=_ENCODER)
        stream.height, stream.width = (length + length % 2 for length in size)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = _BT601_MATRIX
        stream.codec_context.color_range = _LIMITED_RANGE
        stream.codec_context.color_primaries = stream.codec_context.color_trc = _BT709
        for picture in pictures:
            if picture.shape[:2] != size:
                raise ValueError(f"every picture of a video must have the size {size}, got {picture.shape[:2]}")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even_sized(picture), format="rgb24")))
            count += 1
        container.mux(stream.encode())
    return count


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise ImportError(f"videos need PyAV; install it with: {install_command('video')}") from error
    return av
