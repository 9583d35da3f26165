"""``camal-rl export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from camal_rl.cli.arguments import Trust
from camal_rl.cli.errors import BadInput, checking_input

if TYPE_CHECKING:
    from camal_rl.rl.export import Exported


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run.")],
    out: Annotated[Path | None, typer.Option(help="File to write; by default <run>/model.<format>.")] = None,
    file_format: Annotated[
        str, typer.Option("--format", help="pt2 (torch.export) or onnx, which needs onnx and onnxscript.")
    ] = "pt2",
    trust: Trust = False,
) -> None:
    """Write what the agent needs to act as one file that runs without camal_rl and without Stable-Baselines3.

    Input: images uint8 (B, H, W, C), any B. Output: action logits (or mean and log_std) and value. The file is read
    again and compared with the policy on random frames before it appears.

    For example:

      camal-rl export runs/toy_grid-default/camal-seed0

      camal-rl export runs/procgen-starpilot/camal-seed0 --out starpilot.pt2

      camal-rl export runs/procgen-starpilot/camal-seed0 --out starpilot.onnx --format onnx
    """
    with checking_input():
        from camal_rl.rl.export import ExportMismatch, check_export, export_policy
        from camal_rl.rl.model_file import load_model
        from camal_rl.runs.run_folder import RunFolder

        target = out if out is not None else run / f"model.{file_format}"
        policy = load_model(RunFolder(run, trust)).policy.cpu()
        kind = check_export(policy, target, file_format)
    try:
        exported = export_policy(policy, target, kind)
    except ExportMismatch as error:
        raise BadInput(str(error)) from error
    print(_summary(exported))


def _summary(exported: Exported) -> str:
    shape = ", ".join(map(str, exported.image_shape))
    return (
        f"{exported.path}: images uint8 (B, {shape}) -> {', '.join(exported.outputs)}; "
        f"differs from the policy by {exported.difference:.1g} on random frames"
    )
