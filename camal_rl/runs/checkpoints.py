"""Checkpoints: folders with a complete training state, written atomically, with checksums and without pickle.

A checkpoint ``step-<steps>`` holds ``<part>.safetensors`` and ``<part>.json`` for each part of the state, optional
further files, and ``manifest.json`` with the size and the SHA-256 of each. A checkpoint that does not match its
manifest is skipped, and the one before it is used.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camal_rl import __version__
from camal_rl.atomic import PARTIAL, explained, replacing_folder
from camal_rl.runs.folders import CheckpointWarning, sha256_of, share_files
from camal_rl.runs.json_files import has_sum, read_json, with_sum
from camal_rl.state_tree import pack, unpack

MANIFEST = "manifest.json"
FORMAT = "camal_rl checkpoint"
FORMAT_VERSION = 1
_NAME = re.compile(r"step-(\d{1,18})")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been read and checked.

    Attributes:
        path: its folder.
        step: finished training steps.
        parts: the state by part, see :mod:`camal_rl.state_tree`; tensors are on the CPU.
    """

    path: Path
    step: int
    parts: Mapping[str, Any]


def write_checkpoint(
    folder: Path,
    step: int,
    parts: Mapping[str, Any],
    keep: int = 0,
    more_files: Callable[[Path], object] | None = None,
) -> Path:
    """Write a checkpoint atomically, and remove those that are no longer kept.

    Args:
        folder: the run's folder of checkpoints; created if missing.
        step: finished training steps.
        parts: the state by part, each a tree of :mod:`camal_rl.state_tree`.
        keep: number of newest checkpoints to keep; 0 keeps all.
        more_files: writes further files, such as the model for evaluation, into the given folder.

    Returns:
        The checkpoint's folder.

    Raises:
        TypeError: a part contains a type that checkpoints cannot store.
        WriteError: the disk is full, or the folder is not writable.
    """
    path = folder / f"step-{step:012d}"
    with explained(path):
        folder.mkdir(parents=True, exist_ok=True)
    with replacing_folder(path) as partial:
        for name, tree in parts.items():
            _write_part(partial, name, tree)
        if more_files is not None:
            more_files(partial)
        files = {
            file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)} for file in sorted(partial.iterdir())
        }
        manifest = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "camal_rl": __version__,
            "step": step,
            "parts": list(parts),
            "files": files,
        }
        (partial / MANIFEST).write_text(json.dumps(with_sum(manifest), indent=1) + "\n")
        share_files(partial)
    if keep:
        for _, old in checkpoint_folders(folder)[:-keep]:
            _remove(old)
    return path


def checkpoint_folders(folder: Path) -> list[tuple[int, Path]]:
    """Return the paths of a folder's checkpoints with their steps; the newest is the last."""
    if not folder.is_dir():
        return []
    named = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir() if path.is_dir())
    return sorted((int(match[1]), path) for match, path in named if match)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and check every file against its manifest; nothing in it is executed.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a file is missing, damaged or foreign; one line that names it.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is not the folder of a checkpoint")
    manifest = _checked_manifest(path)
    parts = {name: _read_part(path, name) for name in manifest["parts"]}
    return Checkpoint(path, manifest["step"], parts)


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the newest intact checkpoint, ``None`` if there is none; each damaged one gives a warning."""
    for _, path in reversed(checkpoint_folders(folder)):
        try:
            return read_checkpoint(path)
        except (ValueError, OSError) as error:
            told = " ".join(str(error).split())
            warnings.warn(f"{told}; the checkpoint before it is used", category=CheckpointWarning, stacklevel=2)
    return None


def _write_part(folder: Path, name: str, tree: Any) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors, data = pack(tree)
    try:
        save_file(tensors, str(folder / f"{name}.safetensors"))
    except SafetensorError as error:
        raise OSError(str(error)) from error
    (folder / f"{name}.json").write_text(json.dumps(data, allow_nan=False) + "\n")


def _read_part(path: Path, name: str) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(str(path / f"{name}.safetensors"))
        return unpack(tensors, json.loads((path / f"{name}.json").read_text(encoding="utf-8")))
    # Errors of the JSON and safetensors readers on a foreign file, whether or not its checksum is right.
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(f"{path} is damaged: its part {name!r} cannot be read ({told})") from error


def _checked_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    if not file.is_file():
        raise ValueError(f"{path} is damaged: it has no {MANIFEST}")
    manifest = read_json(file)
    if not has_sum(file):
        raise ValueError(f"{path} is damaged: {MANIFEST} does not match its checksum")
    if manifest.get("format") != FORMAT or manifest.get("version") != FORMAT_VERSION:
        raise ValueError(
            f"{file} is not from a checkpoint that this version can read: format {manifest.get('format')!r}, version "
            f"{manifest.get('version')!r}, expected {FORMAT!r}, {FORMAT_VERSION}"
        )
    step, parts, files = manifest.get("step"), manifest.get("parts"), manifest.get("files")
    if type(step) is not int or not isinstance(parts, list) or not isinstance(files, dict):
        raise ValueError(f"{file} is damaged: step, parts or files are missing in it")
    if (match := _NAME.fullmatch(path.name)) is not None and int(match[1]) != step:
        raise ValueError(f"{path} is damaged: its {MANIFEST} belongs to step {step}")
    for name, told in files.items():
        # A name that contains a path could lead out of the folder.
        if not _FILE_NAME.fullmatch(name) or not isinstance(told, dict):
            raise ValueError(f"{file} is damaged: it contains the invalid file name {name!r}")
        _check_file(path / name, told)
    for part in parts:
        if not {f"{part}.safetensors", f"{part}.json"} <= files.keys():
            raise ValueError(f"{file} is damaged: it does not list the files of its part {part!r}")
    return manifest


def _check_file(file: Path, told: Mapping[str, Any]) -> None:
    if not file.is_file() or file.is_symlink():
        raise ValueError(f"{file.parent} is damaged: {file.name} is missing")
    if file.stat().st_size != told.get("bytes") or sha256_of(file) != told.get("sha256"):
        raise ValueError(f"{file.parent} is damaged: {file.name} does not match the checksum in its {MANIFEST}")


def _remove(path: Path) -> None:
    """Remove a checkpoint; after a kill during removal, nothing looks like a checkpoint."""
    gone = path.with_name(f"{PARTIAL}{path.name}")
    try:
        path.replace(gone)
    except OSError:
        return  # an old checkpoint too many does no harm
    shutil.rmtree(gone, ignore_errors=True)
