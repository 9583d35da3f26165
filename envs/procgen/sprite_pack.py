"""Procgen's sprites repainted in one flat color per class, and a simulator library that draws with them.

Procgen reads its sprites when its library is first used, from one folder for the whole process. A copy of the library
under another name has that moment of its own, so that both kinds of sprites can be drawn side by side. A repainted
sprite has the size of the original, by which some games size their objects, and is opaque wherever the original can be
seen; everything else a game draws follows: rotation, mirroring, tiling, what hides what.

Colors are ``(red, 0, 0)`` with one red per code of :func:`sprite_codes`, and blue for sprites drawn with an opacity:
whatever they are blended with, blue shows them. Green stays free for what the games paint themselves.
"""

from __future__ import annotations

import fnmatch
import functools
import importlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from camal_rl.envs.procgen.sprites import SPRITES

RED_STEP = 24
TRANSLUCENT_BLUE = 255
# Fainter pixels hardly change what they cover.
_LEAST_VISIBLE_ALPHA = 8
_LIBRARIES = ("libenv.*", "env.dll")


def sprite_codes(game: str) -> tuple[tuple[str, ...], ...]:
    """Return the classes that each code may mean; code 0 is no sprite, the last one all translucent classes.

    Sprites that show the same classes share a code, whose color is ``(RED_STEP * code, 0, 0)``.
    """
    return ((), *dict.fromkeys(_opaque_meanings(game)), SPRITES[game].translucent)


def _opaque_meanings(game: str) -> list[tuple[str, ...]]:
    translucent = SPRITES[game].translucent
    meanings = []
    for patterns in SPRITES[game].files.values():
        meaning = tuple(name for name, own in SPRITES[game].files.items() if own == patterns)
        if meaning[0] not in translucent:
            meanings.append(meaning)
    return meanings


def _sprite_color(game: str, file: str) -> tuple[int, int, int] | None:
    """Return the color of a file below Procgen's assets, or ``None`` for what the game does not draw."""
    for name, patterns in SPRITES[game].files.items():
        if any(fnmatch.fnmatchcase(file, pattern) for pattern in patterns):
            if name in SPRITES[game].translucent:
                return 0, 0, TRANSLUCENT_BLUE
            meaning = next(found for found in _opaque_meanings(game) if name in found)
            return RED_STEP * sprite_codes(game).index(meaning), 0, 0
    return None


@dataclass(frozen=True)
class SpritePack:
    """A folder with the sprites of one game, repainted, and room for the library that draws with them."""

    folder: Path

    @property
    def resource_root(self) -> str:
        """The folder of sprites, as the simulator wants it: with a slash at its end."""
        return f"{self.folder / 'assets'}/"

    def environment_class(self) -> Any:
        """Return ``ProcgenGym3Env`` with a library of its own, to be made with ``resource_root``."""
        base = importlib.import_module("procgen.env").ProcgenGym3Env
        library = importlib.import_module("gym3.libenv").CEnv
        own_folder = self.folder / "library"

        class CopiedLibrary(library):  # type: ignore[misc, valid-type]
            """Comes after Procgen's classes in the method resolution order, so it is told where their library is."""

            def __init__(self, lib_dir: str, **options: Any) -> None:
                if not own_folder.exists():
                    own_folder.mkdir()
                    for pattern in _LIBRARIES:
                        for file in Path(lib_dir).glob(pattern):
                            shutil.copy(file, own_folder)
                super().__init__(lib_dir=str(own_folder), **options)

        return type("RepaintedEnv", (base, CopiedLibrary), {})


@functools.cache
def sprite_pack(game: str) -> SpritePack:
    """Return the repainted sprites of a game; they are made once in a process and removed at its end."""
    temporary = tempfile.TemporaryDirectory(prefix="camal_rl-procgen-")
    _TEMPORARY.append(temporary)
    pack = SpritePack(Path(temporary.name))
    originals = Path(importlib.import_module("procgen.env").__file__ or "").parent / "data" / "assets"
    nothing = cv2.imencode(".png", np.zeros((1, 1, 4), dtype=np.uint8))[1].tobytes()
    for original in originals.rglob("*.png"):
        file = original.relative_to(originals)
        target = pack.folder / "assets" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        color = _sprite_color(game, file.as_posix())
        target.write_bytes(nothing if color is None else _repainted(original, color))
    return pack


_TEMPORARY: list[tempfile.TemporaryDirectory[str]] = []


def _repainted(original: Path, color: tuple[int, int, int]) -> bytes:
    """Return a PNG in one color, opaque where the original image can be seen."""
    encoded = np.frombuffer(original.read_bytes(), dtype=np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError(f"{original} is no image that can be read; install Procgen again")
    painted: npt.NDArray[np.uint8] = np.zeros((*image.shape[:2], 4), dtype=np.uint8)
    has_alpha = image.ndim == 3 and image.shape[2] == 4
    painted[image[..., 3] >= _LEAST_VISIBLE_ALPHA if has_alpha else slice(None)] = (*color[::-1], 255)
    return cv2.imencode(".png", painted, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
