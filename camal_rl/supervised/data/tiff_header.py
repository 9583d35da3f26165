"""The header of a TIFF file, which is also that of EXIF data: the type of its samples and its orientation."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

Tags = Mapping[int, tuple[int, ...]]

ORIENTATION = 274
UPRIGHT = 1

_SUBFILE, _BITS, _PHOTOMETRIC, _SAMPLES, _EXTRA, _FORMAT = 254, 258, 262, 277, 338, 339
_INTEGERS: Mapping[int, str] = {1: "B", 3: "H", 4: "I", 16: "Q"}
_FORMATS = {2: "signed integer", 3: "floating-point", 5: "complex", 6: "complex"}
_COLORS = {5: "CMYK", 8: "CIE Lab", 9: "ICC Lab", 10: "ITU Lab"}
_WHITE_IS_ZERO = 0
_BIT_DEPTHS = (1, 8, 16)
_SIGNATURES = {b"II*\x00": ("<", False), b"MM\x00*": (">", False), b"II+\x00": ("<", True), b"MM\x00+": (">", True)}
SIGNATURES = tuple(_SIGNATURES)
_MOST_PAGES = 1000
_MOST_VALUES = 64


@dataclass(frozen=True)
class _Layout:
    """How numbers are stored: byte order, and the widths of classic TIFF (4 bytes) or BigTIFF (8)."""

    order: str
    offset: str
    count: str

    def number(self, data: bytes, kind: str, start: int) -> int:
        """Return one number."""
        return int(struct.unpack_from(self.order + kind, data, start)[0])


def tiff_pages(data: bytes) -> list[Tags]:
    """Return the whole-number tags of each page.

    Raises:
        struct.error: the header is truncated.
    """
    order, big = _SIGNATURES[data[:4]]
    layout = _Layout(order, "Q", "Q") if big else _Layout(order, "I", "H")
    start = layout.number(data, layout.offset, 8 if big else 4)
    pages: list[Tags] = []
    while start and len(pages) < _MOST_PAGES:
        count = layout.number(data, layout.count, start)
        width = struct.calcsize(layout.offset)
        first, entry = start + struct.calcsize(layout.count), 4 + 2 * width
        places = range(first, first + count * entry, entry)
        pages.append({layout.number(data, "H", place): _values(data, place, layout) for place in places})
        start = layout.number(data, layout.offset, first + count * entry)
    return pages


def exif_orientation(block: bytes) -> int:
    """Return the orientation in EXIF data, in 1 .. 8, where 1 is upright; 1 for damaged data."""
    if block[:4] not in SIGNATURES:
        return UPRIGHT
    try:
        found = _one(tiff_pages(block)[0], ORIENTATION, UPRIGHT)
    except (struct.error, IndexError):
        return UPRIGHT
    return found if found in range(1, 9) else UPRIGHT


def check_tiff(data: bytes) -> bool:
    """Check that OpenCV reads a TIFF file correctly; return whether it has an alpha channel.

    Raises:
        ValueError: it does not; the message says why and what to do, and follows the file's name.
        struct.error: the header is truncated.
    """
    pages = [page for page in tiff_pages(data) if not _one(page, _SUBFILE, 0) & 1]
    if len(pages) != 1:
        raise ValueError(f"contains {len(pages)} pages; save the right one as a separate file")
    (page,) = pages
    bits, samples, photometric = _one(page, _BITS, 1), _one(page, _SAMPLES, 1), _one(page, _PHOTOMETRIC, 1)
    kind = _FORMATS.get(_one(page, _FORMAT, 1))
    remedy = "save it as 8-bit RGB or gray"
    if kind is not None:
        raise ValueError(f"stores {kind} samples of {bits} bits; {remedy}")
    if bits not in _BIT_DEPTHS or (bits == max(_BIT_DEPTHS) and photometric == _WHITE_IS_ZERO):
        inverted = " with 0 as white" if photometric == _WHITE_IS_ZERO else ""
        raise ValueError(f"stores unsigned samples of {bits} bits{inverted}; {remedy}")
    if photometric in _COLORS:
        raise ValueError(f"stores {_COLORS[photometric]} colors; {remedy}")
    if samples not in (1, 3, 4):
        raise ValueError(f"stores {samples} channels; {remedy}")
    if _one(page, ORIENTATION, UPRIGHT) != UPRIGHT:
        raise ValueError("has an orientation tag; save it rotated, without the tag")
    return samples == max(1, 3, 4)


def _one(page: Tags, tag: int, default: int) -> int:
    values = page.get(tag, ())
    return values[0] if values else default


def _values(data: bytes, place: int, layout: _Layout) -> tuple[int, ...]:
    """Return the values of the entry at ``place``; no values if they are not whole numbers."""
    kind = _INTEGERS.get(layout.number(data, "H", place + 2))
    count, width = layout.number(data, layout.offset, place + 4), struct.calcsize(layout.offset)
    if kind is None or count > _MOST_VALUES:
        return ()
    start = place + 4 + width
    if count * struct.calcsize(kind) > width:
        start = layout.number(data, layout.offset, start)
    return struct.unpack_from(f"{layout.order}{count}{kind}", data, start)
