"""Reads the pixels of image and mask files; a file that would be read wrongly is refused with a remedy in one line."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from camal_rl.supervised.data.image_header import PNG_SIGNATURE, Header, image_header, png_chunks

Pixels = npt.NDArray[np.uint8]
Stored = npt.NDArray[np.unsignedinteger[Any]]

_DARK = 4096  # 12-bit samples in 16-bit files would be almost 0 in 8 bits.
_QUARTER_TURNS = (5, 6, 7, 8)


class StoredImage(NamedTuple):
    """An image as it is stored, RGB, ``uint8 (H, W, 3)``, and its EXIF orientation (1: upright)."""

    pixels: Pixels
    orientation: int

    def upright(self) -> Pixels:
        """Return the image as a viewer shows it."""
        pixels = self.pixels
        if self.orientation in _QUARTER_TURNS:
            pixels = pixels.transpose(1, 0, 2)
        # After the transposition, 3, 4, 7, 8 are mirrored in rows and 2, 3, 6, 7 in columns.
        rows = slice(None, None, -1 if self.orientation in (3, 4, 7, 8) else 1)
        columns = slice(None, None, -1 if self.orientation in (2, 3, 6, 7) else 1)
        return pixels[rows, columns]

    def fitting(self, size: tuple[int, ...]) -> Pixels:
        """Return the image in the orientation of its mask of ``size``: as it is stored, or upright.

        Raises:
            ValueError: the mask's size fits both.
        """
        stored, upright = self.pixels.shape[:2], self.upright().shape[:2]
        if self.orientation == 1 or (stored == size and upright != size):
            return self.pixels
        if stored == size:
            raise ValueError(
                f"has an EXIF orientation ({self.orientation}), and its mask fits with and without the rotation; save "
                "the image in the orientation of its mask, without the EXIF orientation"
            )
        return self.upright()


class StoredMask(NamedTuple):
    """A mask as it is stored: ``(H, W)``, or ``(H, W, 3)`` in RGB; ``numbers (H, W)`` are the indices of a palette."""

    pixels: Stored
    numbers: Stored | None


def read_image(path: Path) -> StoredImage:
    """Return an image file as it is stored, in RGB with 8 bits per sample.

    Samples of 16 bits are scaled to 8.

    Raises:
        ValueError: the file is missing, is not an image, or would be read wrongly.
    """
    data, header = _opened(path)
    if header.opacity:
        _check_opaque(path, _decoded(path, data, cv2.IMREAD_UNCHANGED))
    pixels = _decoded(path, data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION)
    return StoredImage(np.ascontiguousarray(_eight_bits(path, pixels)[..., ::-1]), header.orientation)


def read_mask(path: Path) -> StoredMask:
    """Return a mask file as it is stored.

    OpenCV returns the colors of a file with a palette; ``numbers`` are the indices in the file. Gray samples of less
    than 8 bits keep their values.

    Raises:
        ValueError: the file is missing, is not an image, or would be read wrongly.
    """
    data, header = _opened(path)
    if header.format == "JPEG":
        raise ValueError(f"{path} is a JPEG file, whose compression changes a mask's pixels; save it as PNG")
    pixels = _decoded(path, data, cv2.IMREAD_UNCHANGED)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{path} stores {pixels.dtype} samples; save it with unsigned samples of 8 or 16 bits")
    if header.opacity:
        _check_opaque(path, pixels)
    numbers = _decoded(path, _with_numbers(data), cv2.IMREAD_UNCHANGED)[..., 0] if header.palette else None
    if pixels.ndim == 3:
        return StoredMask(pixels[..., 2::-1], numbers)
    step = 255 // (2**header.bits - 1) if header.gray and header.bits < 8 else 1
    return StoredMask(pixels // np.uint8(step) if step > 1 else pixels, numbers)


def read_stored(path: Path) -> Stored:
    """Return the pixels of :func:`read_mask`."""
    return read_mask(path).pixels


def read_gray(path: Path) -> Pixels:
    """Return an image file in shades of gray, ``uint8 (H, W)``.

    Raises:
        ValueError: the file is missing, is not an image, or would be read wrongly.
    """
    data, _ = _opened(path)
    return _decoded(path, data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION).astype(np.uint8, copy=False)


def _opened(path: Path) -> tuple[bytes, Header]:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    data = path.read_bytes()
    try:
        return data, image_header(data)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error


def _decoded(path: Path, data: bytes, flags: int) -> npt.NDArray[Any]:
    level = cv2.getLogLevel()
    cv2.setLogLevel(0)  # The error below replaces OpenCV's messages.
    try:
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags) if data else None
    finally:
        cv2.setLogLevel(level)
    if pixels is None:
        raise ValueError(f"cannot read {path} as an image; is it complete, and in a format that OpenCV supports?")
    return np.asarray(pixels)


def _eight_bits(path: Path, pixels: npt.NDArray[Any]) -> Pixels:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype != np.uint16:
        raise ValueError(f"{path} stores {pixels.dtype} samples; save it as 8-bit RGB or gray")
    highest = int(pixels.max())
    if 0 < highest < _DARK:
        raise ValueError(
            f"{path} stores 16-bit samples of at most {highest} of 65535, almost black in 8 bits; scale them to 8 bits"
        )
    return np.asarray((pixels.astype(np.uint32) + 128) // 257, dtype=np.uint8)


def _check_opaque(path: Path, pixels: npt.NDArray[Any]) -> None:
    if pixels.ndim == 3 and pixels.shape[2] == 4 and (pixels[..., 3] != np.iinfo(pixels.dtype).max).any():
        raise ValueError(
            f"{path} is partly transparent, so its colors are undefined; save it without transparency (flattened)"
        )


def _with_numbers(data: bytes) -> bytes:
    """Return a PNG file whose palette maps each index to the gray of that value."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes()
    parts = [PNG_SIGNATURE]
    for name, start, end in png_chunks(data):
        if name != b"tRNS":
            content = ramp[: end - start] if name == b"PLTE" else data[start:end]
            parts.append(
                struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
            )
    return b"".join(parts)
