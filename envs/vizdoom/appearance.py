"""Other walls, floors and ceilings for ViZDoom's scenarios, painted with Freedoom's own textures."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType

_SIDE = 64

# Every texture of the scenarios' maps and its replacement, which is a flat of 64 x 64 pixels that no map uses.
HELD_OUT_TEXTURES: Mapping[str, str] = MappingProxyType(
    {
        # Walls
        "BIGBRIK1": "GRNROCK",
        "BIGDOOR2": "AQF033",
        "BRICK9": "RROCK12",
        "BRICK12": "FLAT8",
        "COMP01": "AQF046",
        "COMPBLUE": "AQF048",
        "CONS1_1": "AQF006",
        "CONS1_7": "AQF006",
        "CRATE1": "RROCK11",
        "CRATE2": "RROCK15",
        "FLAT23": "AQF007",
        "GSTONE1": "RROCK14",
        "SFALL2": "DEM1_1",
        "SILVER2": "FLOOR5_1",
        "SILVER3": "FLOOR5_1",
        "SLIME16": "MFLR8_3",
        "STARGR2": "RROCK20",
        "STONE2": "FLOOR5_4",
        "TANROCK2": "MFLR8_3",
        "TLITE6_1": "FLAT5_1",
        # Floors and ceilings
        "BFALL1": "RROCK19",
        "BLOOD1": "RROCK03",
        "CEIL1_2": "AQF048",
        "CEIL3_3": "GRASS1",
        "CEIL4_1": "AQF034",
        "CEIL4_2": "FLOOR4_1",
        "CRATOP1": "RROCK16",
        "FLAT1_1": "AQF051",
        "FLAT4": "MFLR8_2",
        "FLAT5_3": "RROCK10",
        "FLOOR0_1": "GRASS1",
        "FLOOR0_5": "FLAT5_2",
        "FLOOR1_6": "RROCK09",
        "FLOOR1_7": "AQF006",
        "NUKAGE1": "FLOOR0_2",
        "STONE5": "FLAT5_5",
        "TLITE6_5": "AQF034",
    }
)


def held_out_wad() -> bytes:
    """Return a WAD file with one lump, ``TEXTURES``, that redefines the scenarios' textures.

    Both formats are described in the ZDoom wiki (WAD, TEXTURES).
    """
    definitions = [
        f'Texture "{old}", {_SIDE}, {_SIDE} {{ Patch "{new}", 0, 0 }}\n' for old, new in HELD_OUT_TEXTURES.items()
    ]
    lump = "".join(definitions).encode()
    header = struct.pack("<4sii", b"PWAD", 1, 12 + len(lump))
    return header + lump + struct.pack("<ii8s", 12, len(lump), b"TEXTURES")
