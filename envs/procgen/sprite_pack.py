"""Procgen's sprites repainted in one flat color per class, and a simulator library that draws with them.

Procgen reads its sprites when its library is first used, from one folder for the whole process. A copy of the library
under another name reads sprites of its own, so both kinds of sprites can be drawn side by side. A repainted sprite has
the size of the original, because some games size their objects by it, and is opaque wherever the original is visible.
The game therefore rotates, mirrors, tiles and hides it as it does the original.

Colors are ``(red, 0, 0)`` with one red per code of :func:`sprite_codes`. Sprites that are drawn with an opacity are
blue, which stays visible in every blend. Green is left for shapes that the games paint themselves.
"""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import functools
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
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
_PREFIX, _SPRITES, _LIBRARY = "camal_rl-procgen-", "assets", "library"


def sprite_codes(game: str) -> tuple[tuple[str, ...], ...]:
    """Return the classes that each code may mean; code 0 is no sprite, the last code is all translucent classes.

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


class PackFiles:
    """The folders that a library is loaded from.

    Attributes:
        library: the folder with the copied library.
        sprites: the folder of the repainted sprites.
    """

    def __init__(self, folder: Path, pack: SpritePack) -> None:
        self.library, self.sprites = folder / _LIBRARY, folder / _SPRITES
        self._pack = pack

    def keep(self, library: Any) -> None:
        """Keep a reference to the library; without one, it would be unloaded with its sprites."""
        self._pack.library = library


class SpritePack:
    """The sprites of one game, repainted, and the library that draws with them.

    The files exist only while the library is loaded, in a temporary folder. If the process is killed during that time,
    the next process that loads a pack removes the folder.
    """

    def __init__(self, game: str) -> None:
        self._game = game
        self._loading = threading.Lock()
        self._folder: Path | None = None
        self.library: Any = None

    @contextlib.contextmanager
    def files(self, originals: Path, assets: Path) -> Iterator[PackFiles]:
        """Provide the files to load the library from; once it is loaded, empty files with the same names are enough.

        Args:
            originals: the folder of Procgen's library.
            assets: the folder of Procgen's sprites.
        """
        with self._loading:
            if self._folder is None or self.library is None:
                _remove_leftovers()
                with _locked_folder() as folder:
                    _paint_sprites(self._game, assets, folder / _SPRITES)
                    _copy_library(originals, folder / _LIBRARY, with_content=True)
                    self._folder = folder
                    yield PackFiles(folder, self)
            else:
                _copy_library(originals, self._folder / _LIBRARY, with_content=False)
                try:
                    yield PackFiles(self._folder, self)
                finally:
                    _remove(self._folder)


@functools.cache
def sprite_pack(game: str) -> SpritePack:
    """Return the repainted sprites of a game, which are made once in a process."""
    return SpritePack(game)


def _paint_sprites(game: str, originals: Path, folder: Path) -> None:
    nothing = cv2.imencode(".png", np.zeros((1, 1, 4), dtype=np.uint8))[1].tobytes()
    for original in originals.rglob("*.png"):
        file = original.relative_to(originals)
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        color = _sprite_color(game, file.as_posix())
        target.write_bytes(nothing if color is None else _repainted(original, color))


def _copy_library(originals: Path, folder: Path, with_content: bool) -> None:
    """Copy the library; without content, make empty files, because the system finds a loaded library by its name."""
    folder.mkdir(parents=True)
    for pattern in _LIBRARIES:
        for file in originals.glob(pattern):
            if with_content:
                shutil.copy(file, folder)
            else:
                folder.joinpath(file.name).touch()


@contextlib.contextmanager
def _locked_folder() -> Iterator[Path]:
    """Make a temporary folder that is locked while it is in use, and remove it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = _lock(folder)
        # Before the folder was locked, another process may have removed it as a leftover.
        if lock is not None and folder.is_dir():
            break
    try:
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


def _remove_leftovers() -> None:
    """Remove the folders of processes that were killed: nobody holds their locks."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        lock = _lock(folder)
        if lock is not None:
            _remove(folder)
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Return a descriptor that locks a folder until it is closed, or ``None`` where another process has locked it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _repainted(original: Path, color: tuple[int, int, int]) -> bytes:
    """Return a PNG in one color, opaque where the original image can be seen."""
    encoded = np.frombuffer(original.read_bytes(), dtype=np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError(f"{original} cannot be read as an image; install Procgen again")
    painted: npt.NDArray[np.uint8] = np.zeros((*image.shape[:2], 4), dtype=np.uint8)
    has_alpha = image.ndim == 3 and image.shape[2] == 4
    painted[image[..., 3] >= _LEAST_VISIBLE_ALPHA if has_alpha else slice(None)] = (*color[::-1], 255)
    return cv2.imencode(".png", painted, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
