"""``camal-rl explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from camal_rl.cli.arguments import ShowProgress, Trust
from camal_rl.cli.errors import checking_input
from camal_rl.foreign_code import distrust

if TYPE_CHECKING:
    from camal_rl.rl.explain.explanation import Explanation


_KINDS = {".png": "contact sheet", ".html": "page", ".mp4": "video"}


def explain(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run.")],
    level_set: Annotated[
        str | None, typer.Option("--set", help="Level set to play; by default the run's last attention set.")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, max=48, help="Frames on the contact sheet.")] = 6,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes in the video.")] = 1,
    method: Annotated[
        str | None, typer.Option(help="CAM method, such as gradcam or hirescam; by default that of the run.")
    ] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic/--stochastic", help="Play preferred or sampled actions.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of levels and actions; by default the run's evaluation seed.")
    ] = None,
    fps: Annotated[int, typer.Option(min=1, max=60, help="Frames per second of the video.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Folder to write; by default <run>/explain.")] = None,
    video: Annotated[bool, typer.Option("--video/--no-video", help="Whether to write the video.")] = True,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Whether to write the page.")] = True,
    trust: Trust = False,
    progress: ShowProgress = None,
) -> None:
    """Show what a trained run attends to: a contact sheet (PNG), an episode viewer (HTML), a video (MP4).

    Writes attention-<set>.png, episode-<set>.html and episodes-<set>.mp4, replacing earlier ones. The page is one file:
    scrub through the first episode, switch maps and classes on, and see the decision after the simulator redraws the
    frame without an object or on another background.

    For example:

      camal-rl explain runs/toy_grid-default/camal-seed0

      camal-rl explain runs/procgen-starpilot/camal-seed0 --set train --episodes 3 --deterministic

      camal-rl explain runs/toy_grid-default/ppo-seed0 --method hirescam --no-video --out pictures
    """
    if not trust:
        distrust(run)
    with checking_input():
        from camal_rl.rl.config import agent_run_config
        from camal_rl.rl.explain.explanation import explanation_settings, prepare_explanation
        from camal_rl.runs.folders import check_new_folder
        from camal_rl.runs.run_folder import RunFolder

        folder = RunFolder(run, trust)
        settings = explanation_settings(
            agent_run_config(folder),
            level_set,
            method,
            seed,
            frames=frames,
            episodes=episodes if video else 0,
            deterministic=deterministic,
            fps=fps,
            page=page,
        )
        target = out if out is not None else run / "explain"
        check_new_folder(target)
        explanation = prepare_explanation(folder, settings)
    paths = _draw(explanation, target, progress)
    if explanation.no_segmentation is not None:
        print(f"no segmentation: {explanation.no_segmentation}")
    for path in paths:
        print(f"{_KINDS[path.suffix]}: {path}")


def _draw(explanation: Explanation, out: Path, progress: bool | None) -> list[Path]:
    from camal_rl.cli.progress import shown
    from camal_rl.rl.explain.explanation import explain as draw

    try:
        with shown(progress, "explanation") as update:
            return draw(explanation, out, update)
    finally:
        explanation.close()
