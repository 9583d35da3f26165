"""Packs a run folder into an archive, to send it from one machine to another."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from camal_rl.atomic import PARTIAL, replacing_folder
from camal_rl.runs.lock import LOCK

_EARLIEST = (1980, 1, 1, 0, 0, 0)


def pack_folder(folder: Path) -> bytes:
    """Return the files in a folder as an archive, without locks and incomplete files.

    Another process may write into the folder: a file that disappears meanwhile is left out.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            parts = path.relative_to(folder).parts
            if any(part == LOCK or part.startswith(PARTIAL) for part in parts) or path.is_symlink():
                continue
            try:
                data = path.read_bytes() if path.is_file() else None
            except FileNotFoundError:
                continue
            if data is not None:
                archive.writestr(zipfile.ZipInfo("/".join(parts), _EARLIEST), data)
    return buffer.getvalue()


def unpack_folder(archive: bytes, folder: Path) -> None:
    """Replace a folder atomically by the files of an archive; no file is written outside of it.

    Raises:
        ValueError: the archive is damaged, or not from :func:`pack_folder`.
        WriteError: the folder cannot be written.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            contents = {name: packed.read(name) for name in packed.namelist()}
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"the files of {folder} came back damaged ({error})") from error
    for name in contents:
        # Names that lead out of the folder, on this or another operating system.
        if not name or name.startswith("/") or "\\" in name or ":" in name.partition("/")[0] or ".." in name.split("/"):
            raise ValueError(f"the files of {folder} came back with an invalid file name: {name!r}")
    with replacing_folder(folder) as partial:
        for name, data in contents.items():
            file = partial / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
