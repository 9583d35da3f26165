"""``camal-rl export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from camal_rl.cli.arguments import Trust
from camal_rl.cli.errors import BadInput, checking_input
from camal_rl.foreign_code import distrust

if TYPE_CHECKING:
    from camal_rl.runs.program_file import Exported

HUB = "hub"
"""The only format that is a folder."""


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; by default <run>/model.<format>. For hub, a folder.")
    ] = None,
    file_format: Annotated[
        str,
        typer.Option(
            "--format",
            help="pt2 (torch.export), onnx (needs onnx and onnxscript), safetensors (with a JSON file beside it), or "
            "hub (a folder with a model card).",
        ),
    ] = "pt2",
    trust: Trust = False,
) -> None:
    """Write the policy of an agent, or a classifier, as a file that runs without camal_rl.

    Input: images uint8 (B, H, W, C), any B. Output: action logits (or mean and log_std) and value; for a classifier,
    the logits. The new file is loaded and compared with the model on random frames before it is saved. The format
    safetensors is for camal_rl itself (camal_rl.rl.load_policy): it contains no code, and attention maps remain
    available.

    The format hub is a folder ready for the Hugging Face Hub: safetensors, settings, results, and a model card. It
    contains no paths, user names or command lines. Nothing is uploaded.

    For example:

      camal-rl export runs/toy_grid-default/camal-seed0

      camal-rl export runs/procgen-starpilot/camal-seed0 --out starpilot.pt2

      camal-rl export runs/procgen-starpilot/camal-seed0 --out starpilot.onnx --format onnx

      camal-rl export runs/procgen-starpilot/camal-seed0 --out starpilot.safetensors --format safetensors

      camal-rl export runs/procgen-starpilot/camal-seed0 --out shared/starpilot --format hub
    """
    if not trust:
        distrust(run)
    if file_format == HUB:
        if out is None:
            raise BadInput("--format hub writes a folder: give --out FOLDER, outside the run folder")
        _export_hub(run, out, trust)
        return
    with checking_input():
        from camal_rl.runs.program_file import ExportFormat, ExportMismatch
        from camal_rl.runs.run_folder import RunFolder
        from camal_rl.runs.task import task_of

        known = (*get_args(ExportFormat), HUB)
        if file_format not in known:
            raise ValueError(f"the format must be one of {', '.join(known)}, got {file_format!r}")
        target = out if out is not None else run / f"model.{file_format}"
        folder = RunFolder(run, trust)
        config = folder.config()
        write = task_of(config).export(folder, config, target, file_format)
    try:
        exported = write()
    except ExportMismatch as error:
        raise BadInput(str(error)) from error
    print(_summary(exported))


def _export_hub(run: Path, out: Path, trust: bool) -> None:
    with checking_input():
        from camal_rl.comparison.report.hub_folder import CARD, prepare_hub_folder
        from camal_rl.runs.program_file import ExportMismatch
        from camal_rl.runs.public_text import StaysHere

        write = prepare_hub_folder(run, out, trust)
    try:
        folder = write()
    except (ExportMismatch, StaysHere) as error:
        raise BadInput(str(error)) from error
    files = sorted(path.name for path in folder.iterdir())
    print(f"{folder}: {', '.join(files)}; read {CARD} before you upload it")


def _summary(exported: Exported) -> str:
    shape = ", ".join(map(str, exported.image_shape))
    return (
        f"{exported.path}: images uint8 (B, {shape}) -> {', '.join(exported.outputs)}; "
        f"differs from the model by {exported.difference:.1g} on random frames"
        f"{exported.note and '; '}{exported.note}"
    )
