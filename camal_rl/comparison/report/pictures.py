"""Attention maps of every method on the same frames, as a part of the report."""

from __future__ import annotations

import io

import matplotlib.image

from camal_rl.comparison.groups import Group
from camal_rl.comparison.report.document import FrameGrid, Picture, slug
from camal_rl.overlays import RGBImage as Pixels
from camal_rl.overlays import sheet

FRAMES = 6


def frame_grid(group: Group) -> FrameGrid:
    """Return attention maps on the same frames, of each method's first run that has a model.

    Raises:
        FileNotFoundError: no run has a saved model.
        ImportError, OSError, ValueError: frames cannot be rendered or models cannot be loaded here.
    """
    shown = [run for run in group.runs if group.task.model_file(run.folder).is_file()]
    first = {method: run for method in group.methods for run in reversed(shown) if run.method == method}
    grid = group.task.attention_grid(first, FRAMES)
    maps = {title: list(pictures) for title, pictures in grid.columns.items() if title != "segmentation"}
    whole = {**grid.sheets, "attention": sheet(maps)}
    words = {"attention": "image and attention maps", "frames": "image, segmentation, relevant classes"}
    return FrameGrid(
        {title: tuple(map(png, pictures)) for title, pictures in grid.columns.items()},
        grid.legend,
        grid.caption,
        tuple(
            Picture(f"{slug(group.env)}-{name}", "png", png(picture), words[name], grid.caption)
            for name, picture in whole.items()
        ),
    )


def png(picture: Pixels) -> bytes:
    """Return an RGB picture ``uint8 (H, W, 3)`` as a PNG file."""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, picture, format="png")
    return buffer.getvalue()
