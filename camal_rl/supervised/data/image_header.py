"""The header of an image file: whether OpenCV reads the file correctly, and its orientation."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from camal_rl.supervised.data.tiff_header import SIGNATURES as TIFF_SIGNATURES
from camal_rl.supervised.data.tiff_header import UPRIGHT, check_tiff, exif_orientation

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_GRAY, PNG_PALETTE = 0, 3

_CUT_OFF = "is cut off; copy it again"
_FRAMES = "is an animation of {} frames; save the right one as a separate file"
_EXIF = b"Exif\x00\x00"
_JPEG_NOTES, _JPEG_SCAN, _JPEG_END = 0xE1, 0xDA, b"\xff\xd9"
_JPEG_BARE = frozenset({0x00, 0x01, 0xFF, *range(0xD0, 0xD8)})  # No segment follows.
# Markers that begin a frame: C0 to CF except those of tables and of arithmetic conditioning.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_CMYK_CHANNELS = 4
_WEBP_ANIMATION = 0x02
_BMP_ALPHA_HEADER, _BMP_ALPHA_BITS = 56, 32


@dataclass(frozen=True)
class Header:
    """The content of a file's header.

    Attributes:
        format: such as ``PNG``.
        orientation: EXIF orientation: 1 is upright, 5 to 8 include a quarter turn.
        opacity: whether the file may have an alpha channel.
        bits: bits per sample of a PNG file.
        palette: whether it is a PNG file with a palette.
        gray: whether it is a PNG file of one gray channel.
    """

    format: str
    orientation: int = UPRIGHT
    opacity: bool = False
    bits: int = 8
    palette: bool = False
    gray: bool = False


def image_header(data: bytes) -> Header:
    """Return the header of an image file.

    Args:
        data: the whole file. An unknown format is accepted here; decoding refuses it if necessary.

    Raises:
        ValueError: the file would be read wrongly; the message follows the file's name.
    """
    for signature, read in _READERS.items():
        if data.startswith(signature):
            try:
                return read(data)
            except (struct.error, IndexError) as error:
                raise ValueError(_CUT_OFF) from error
    return Header("unknown")


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the content of each chunk of a PNG file, up to and including the last one, IEND."""
    start, name = len(PNG_SIGNATURE), b""
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, start)
        if start + 12 + length > len(data):
            raise ValueError(_CUT_OFF)
        yield name, start + 8, start + 8 + length
        start += 12 + length


def _png(data: bytes) -> Header:
    bits, color = data[24], data[25]
    orientation, opacity = UPRIGHT, color in (4, 6)
    for name, start, end in png_chunks(data):
        if name == b"acTL":
            frames = int.from_bytes(data[start : start + 4], "big")
            if frames > 1:
                raise ValueError(_FRAMES.format(frames))
        opacity = opacity or name == b"tRNS"
        if name == b"eXIf":
            orientation = exif_orientation(data[start:end])
    return Header("PNG", orientation, opacity, bits, color == PNG_PALETTE, color == PNG_GRAY)


def _jpeg(data: bytes) -> Header:
    orientation, place = UPRIGHT, 0
    for marker, start, end in _jpeg_segments(data):
        if marker in _JPEG_FRAMES and data[start + 5] == _CMYK_CHANNELS:
            raise ValueError("stores CMYK colors, which are for printing; convert it to RGB")
        if marker == _JPEG_NOTES and data.startswith(_EXIF, start):
            orientation = exif_orientation(data[start + len(_EXIF) : end])
        place = end
    if data.find(_JPEG_END, place) < 0:
        raise ValueError(_CUT_OFF)
    return Header("JPEG", orientation)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of the content of each segment, up to and including the header of the first scan."""
    place, marker = 2, 0
    while marker != _JPEG_SCAN:
        # Between segments there may be fill bytes, which readers skip.
        place = data.find(b"\xff", place) + 1
        if place == 0:
            raise ValueError(_CUT_OFF)
        marker = data[place]
        if marker not in _JPEG_BARE:
            (length,) = struct.unpack_from(">H", data, place + 1)
            yield marker, place + 3, place + 1 + length
            place += 1 + length


def _webp(data: bytes) -> Header:
    if data[8:12] != b"WEBP":
        return Header("unknown")
    orientation, place = UPRIGHT, 12
    while place + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        content = data[place + 8 : place + 8 + length]
        if name == b"VP8X" and content[0] & _WEBP_ANIMATION:
            raise ValueError(_FRAMES.format("several"))
        if name == b"EXIF":
            orientation = exif_orientation(content.removeprefix(_EXIF))
        place += 8 + length + length % 2
    return Header("WebP", orientation, opacity=True)


def _bmp(data: bytes) -> Header:
    (size,) = struct.unpack_from("<I", data, 14)
    if size >= _BMP_ALPHA_HEADER and struct.unpack_from("<H", data, 28)[0] == _BMP_ALPHA_BITS:
        (mask,) = struct.unpack_from("<I", data, 66)
        if mask:
            raise ValueError("is a BMP file with an alpha channel; save it as 24-bit RGB")
    return Header("BMP")


def _tiff(data: bytes) -> Header:
    return Header("TIFF", opacity=check_tiff(data))


def _gif(_: bytes) -> Header:
    raise ValueError("is a GIF file; save the right frame as PNG")


_READERS: Mapping[bytes, Callable[[bytes], Header]] = {
    PNG_SIGNATURE: _png,
    b"\xff\xd8": _jpeg,
    b"RIFF": _webp,
    b"BM": _bmp,
    b"GIF8": _gif,
    **dict.fromkeys(TIFF_SIGNATURES, _tiff),
}
