"""Exports a network as a file that runs without this package: a verified ``torch.export`` program or ONNX."""

from __future__ import annotations

import importlib
import importlib.util
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch.export import ExportedProgram

from camal_rl.atomic import PARTIAL, explained, put_in_place
from camal_rl.extras import install_command
from camal_rl.runs.folders import check_writable

ExportFormat = Literal["pt2", "onnx", "safetensors"]
Arrays = dict[str, npt.NDArray[np.float32]]
Runner = Callable[[npt.NDArray[np.uint8]], Arrays]
# ONNX's reference implementation, which verifies the file, sums in another order and only in float32.
TOLERANCE: dict[ExportFormat, float] = {"pt2": 1e-5, "onnx": 1e-4}
_ONNX_PACKAGES = ("onnx", "onnxscript")


class ExportMismatch(RuntimeError):
    """The written file gives other outputs than the model, or torch cannot export the model."""


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    Attributes:
        path: the file.
        image_shape: ``(H, W, C)`` of its input images.
        outputs: names of its outputs, in order.
        difference: largest difference from the policy's outputs on random frames; relative to the largest output if
            outputs exceed 1.
        note: required preprocessing of images; empty if none.
    """

    path: Path
    image_shape: tuple[int, int, int]
    outputs: tuple[str, ...]
    difference: float
    note: str = ""


def check_target(out: Path, file_format: str) -> ExportFormat:
    """Check the file to be written, which must not exist, and return its format.

    Raises:
        ValueError: the format is unknown, or the file name belongs to another format.
        FileExistsError: the file exists.
        OSError: it cannot be written.
        ImportError: packages for ONNX are missing.
    """
    if file_format not in get_args(ExportFormat):
        raise ValueError(f"the format must be one of {', '.join(get_args(ExportFormat))}, got {file_format!r}")
    if out.suffix != f".{file_format}":
        raise ValueError(
            f"the name of a {file_format} file must end in .{file_format}, got {out}; rename it or give another "
            "--format"
        )
    for path in (out, out.with_suffix(".json")) if file_format == "safetensors" else (out,):
        if path.exists():
            raise FileExistsError(f"{path} exists; give another --out or remove it")
    check_writable(out)
    missing = [name for name in _ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if file_format == "onnx" and missing:
        raise ImportError(f"ONNX needs {' and '.join(missing)}; install with: {install_command('onnx')}")
    return cast(ExportFormat, file_format)


def write_program(
    program: ExportedProgram,
    out: Path,
    file_format: ExportFormat,
    outputs: Sequence[str],
    difference_of: Callable[[Runner], float],
) -> float:
    """Write a program, read the file again and compare it; only then the file gets its final name.

    Args:
        program: takes images ``uint8 (B, H, W, C)``, returns tensors by name.
        out: the file, which must not exist.
        file_format: ``pt2`` or ``onnx``.
        outputs: the names of the program's outputs, in order.
        difference_of: returns the difference between the written program, a function from images to arrays by name, and
            the network.

    Returns:
        The difference.

    Raises:
        ExportMismatch: the difference is above the format's ``TOLERANCE``.
        WriteError: the file cannot be written.
    """
    for node in program.graph.nodes:
        # Paths of this machine do not belong in the file.
        node.meta.pop("stack_trace", None)
    with explained(out), _temporary_folder(out) as folder:
        written = folder / out.name
        if file_format == "onnx":
            _save_onnx(program, written, outputs)
        else:
            # Written through memory: torch's own writer kills the process if the disk is full.
            buffer = io.BytesIO()
            torch.export.save(program, buffer)
            written.write_bytes(buffer.getvalue())
        difference = difference_of(_onnx_runner(written) if file_format == "onnx" else _pt2_runner(written))
        if not difference <= TOLERANCE[file_format]:
            raise ExportMismatch(
                f"the program differs from the model by {difference:.2g}, more than {TOLERANCE[file_format]:g}; "
                "nothing was written"
            )
        put_in_place(written, out)
    return difference


@contextmanager
def _temporary_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder beside a file; missing folders are created."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=PARTIAL, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _save_onnx(program: ExportedProgram, path: Path, outputs: Sequence[str]) -> None:
    with _quiet():
        torch.onnx.export(
            program,
            f=path,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=["images"],
            output_names=outputs,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop warnings inside the block: those of the ONNX exporter concern only its internals."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _pt2_runner(path: Path) -> Runner:
    network = torch.export.load(path).module()

    def run(frames: npt.NDArray[np.uint8]) -> Arrays:
        with torch.no_grad():
            return {name: tensor.numpy() for name, tensor in network(torch.from_numpy(frames)).items()}

    return run


def _onnx_runner(path: Path) -> Runner:
    evaluator = importlib.import_module("onnx.reference").ReferenceEvaluator(str(path))

    def run(frames: npt.NDArray[np.uint8]) -> Arrays:
        return dict(zip(evaluator.output_names, evaluator.run(None, {"images": frames}), strict=True))

    return run
