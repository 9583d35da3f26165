"""What every method looks at, on the same frames."""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np

from camal_rl.agents import CamPolicy
from camal_rl.agents.config import ATTENTION_TARGETS
from camal_rl.comparison.report.document import FrameGrid, Picture, slug
from camal_rl.comparison.report.runs import Group, ReportRun
from camal_rl.envs import segmentation_spec
from camal_rl.overlays import (
    Picture as Pixels,
)
from camal_rl.overlays import (
    class_colors,
    heat_overlay,
    segmentation_picture,
    segmentation_sheet,
    sheet,
)
from camal_rl.rl.environments import make_level_set_env
from camal_rl.rl.evaluate.evaluation import load_model
from camal_rl.rl.evaluate.returns import Actor
from camal_rl.rl.frames import FrameSet, sample_frames
from camal_rl.rl.policy_outputs import attention_maps
from camal_rl.runs.loading import agent_config
from camal_rl.supervised.attention_grid import attention_columns

FRAMES = 6
# So many times the evaluation's own distance between frames: far enough into an episode for something to happen.
_LATER = 4


def image_grid(group: Group) -> FrameGrid:
    """Return image | marked | every method's map of the class, on evenly spread images of the last evaluation set.

    Raises:
        FileNotFoundError: no run has a model.
        ImportError, OSError, ValueError: the images or a model cannot be made here.
    """
    shown = [run for run in group.runs if run.folder.weights_file.is_file()]
    if not shown:
        raise FileNotFoundError("none of the run folders holds a model.safetensors")
    first = {method: run for method in group.methods for run in reversed(shown) if run.method == method}
    columns, caption = attention_columns(first, FRAMES)
    drawn = Picture(f"{slug(group.env)}-attention", "png", png(sheet(columns)), "image and attention maps", caption)
    pictures = {title: tuple(map(png, pictures)) for title, pictures in columns.items()}
    return FrameGrid(pictures, {}, caption, (drawn,))


def frame_grid(group: Group) -> FrameGrid:
    """Return image | segmentation | every method's value map | policy map, on frames of the last attention set.

    The frames are those of the first method's first model: one from each of :data:`FRAMES` environments after a fixed
    number of sampled actions. Each method shows its first seed that has a model.

    Raises:
        FileNotFoundError: no run has a model.
        ImportError, ValueError: the environment cannot be made here, or gives no segmentation.
    """
    shown = _first_runs(group)
    if not shown:
        raise FileNotFoundError("none of the run folders holds a model.zip")
    models = {run.method: load_model(run.folder) for run in shown}
    reference = shown[0]
    frames, caption = _frames(reference, models[reference.method])
    columns: dict[str, list[Pixels]] = {
        "image": list(frames.pictures),
        "segmentation": list(segmentation_picture(frames.labels)),
    }
    maps = {}
    for method, model in models.items():
        assert isinstance(model.policy, CamPolicy)
        maps[method] = attention_maps(model.policy, frames.images)
    for target in ATTENTION_TARGETS:
        for method, found in maps.items():
            cams = found[target].numpy()
            pairs = zip(frames.pictures, cams, strict=True)
            columns[f"{method}, {target}"] = [heat_overlay(image, cam) for image, cam in pairs]
    seeds = ", ".join(run.label for run in shown)
    return FrameGrid(
        {title: tuple(map(png, pictures)) for title, pictures in columns.items()},
        _legend(group.env, frames),
        f"{caption} Maps of {seeds}; dark: 0, yellow: 1.",
        _sheets(group.env, frames, columns, caption),
    )


def png(picture: Pixels) -> bytes:
    """Return an RGB picture ``uint8 (H, W, 3)`` as a PNG file."""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, picture, format="png")
    return buffer.getvalue()


def _first_runs(group: Group) -> list[ReportRun]:
    with_model = [run for run in group.runs if run.folder.model_file.is_file()]
    first = {run.method: run for run in reversed(with_model)}
    return [first[method] for method in group.methods if method in first]


def _frames(run: ReportRun, model: Actor) -> tuple[FrameSet, str]:
    config = agent_config(run.config)
    settings = config.evaluation
    name, every = settings.attention_sets[-1], _LATER * settings.frame_every
    venv = make_level_set_env(config, name, FRAMES, settings.seed, masks=True)
    try:
        frames = sample_frames(model, venv, FRAMES, every, settings.seed)
    finally:
        venv.close()
    rule = (
        f"Level set {name}, one frame from each of {FRAMES} environments after {every} sampled actions of {run.label}, "
        f"seed {settings.seed}; no frame is chosen by what it shows."
    )
    return frames, rule


def _legend(env: str, frames: FrameSet) -> dict[str, str]:
    names = segmentation_spec(env).names
    present = [int(label) for label in np.unique(frames.labels)]
    colors = class_colors()
    return {
        names[label] + " *" * bool(frames.relevant[label]): "#{:02x}{:02x}{:02x}".format(*colors[label])
        for label in present
    }


def _sheets(env: str, frames: FrameSet, columns: dict[str, list[Pixels]], caption: str) -> tuple[Picture, ...]:
    classes = segmentation_sheet(frames.images, frames.labels, segmentation_spec(env).names, frames.relevant)
    attention = {title: pictures for title, pictures in columns.items() if title != "segmentation"}
    return (
        Picture(f"{slug(env)}-frames", "png", png(classes), "image, segmentation, relevant classes", caption),
        Picture(f"{slug(env)}-attention", "png", png(sheet(attention)), "image and attention maps", caption),
    )
