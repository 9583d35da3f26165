"""``camal-rl masks``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from camal_rl.cli.arguments import Imports
from camal_rl.cli.errors import checking_input

_FPS = 15


def masks(
    env: Annotated[
        str,
        typer.Argument(help="Environment id, for example toy_grid/default, or your own class, package.module:name."),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Options of the environment.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="PNG to write; by default masks-<env>.png.")] = None,
    level_set: Annotated[str, typer.Option(help="Level set to draw from.")] = "train",
    frames: Annotated[int, typer.Option(min=1, max=64, help="Number of frames.")] = 6,
    steps: Annotated[int, typer.Option(min=0, help="Random actions before the frames.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the levels and actions.")] = 0,
    video: Annotated[bool, typer.Option("--video", help="Also write an MP4 clip of random play beside it.")] = False,
    video_steps: Annotated[int, typer.Option(min=1, help="Number of steps in the clip.")] = 150,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
    imports: Imports = None,
) -> None:
    """Draw a sheet image | segmentation | relevant, and a clip, to inspect the masks of an environment.

    For example:

      camal-rl masks toy_grid/default

      camal-rl masks procgen/coinrun --level-set held_out --frames 8 --out coinrun.png

      camal-rl masks vizdoom/DefendLine --video

      camal-rl masks toy_grid/default theme=held_out segmentation=box
    """
    with checking_input():
        from camal_rl.overlays import write_png
        from camal_rl.registry import import_modules
        from camal_rl.rl.explain.video_file import check_video_support, write_mp4
        from camal_rl.rl.mask_sheet import mask_clip, mask_sheet
        from camal_rl.runs.folders import check_writable, portable_name

        import_modules(imports or ())
        path = out if out is not None else Path(f"masks-{portable_name(env)}.png")
        clip = path.with_suffix(".mp4")
        for file in (path, clip) if video else (path,):
            if file.exists() and not force:
                raise FileExistsError(f"{file} exists; give another --out, or --force to overwrite it")
            check_writable(file)
        if video:
            check_video_support()
        picture = mask_sheet(env, level_set, frames, steps, seed, overrides or ())
        write_png(path, picture)
        if video:
            write_mp4(clip, mask_clip(env, level_set, video_steps, seed, overrides or ()), _FPS)
    print(f"{frames} frames of {env}, level set {level_set}: {path}")
    if video:
        print(f"{video_steps} steps of random play: {clip}")
