"""What every method's agent looks at, on the same frames."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from camal_rl.agents.config import ATTENTION_TARGETS
from camal_rl.envs import segmentation_spec
from camal_rl.overlays import RGBImage, class_colors, colored_segmentation, heatmap_overlay, segmentation_sheet
from camal_rl.rl.algorithms import attentive_policy
from camal_rl.rl.config import ExperimentConfig
from camal_rl.rl.environments import make_level_set_env
from camal_rl.rl.evaluate.returns import Actor
from camal_rl.rl.frames import FrameSet, sample_frames
from camal_rl.rl.model_file import has_model, load_model
from camal_rl.rl.policy_outputs import attention_maps
from camal_rl.runs.task import AnyRun, AttentionGrid

# So many times the evaluation's own distance between frames: far enough into an episode for something to happen.
_LATER = 4


def attention_grid(runs: Mapping[str, AnyRun], count: int) -> AttentionGrid:
    """Return image | segmentation | every method's value map | policy map, on frames of the last attention set.

    The frames are those of the first run's model: one from each of ``count`` environments after a fixed number of
    sampled actions. No frame is chosen by what it shows.

    Args:
        runs: one run for each method, in the order of the columns.
        count: number of frames.

    Raises:
        FileNotFoundError: no run has a model.
        ImportError, ValueError: the environment cannot be made here, or gives no segmentation; or a model is damaged,
            or its file could run code.
    """
    shown = {method: run for method, run in runs.items() if has_model(run.folder)}
    if not shown:
        raise FileNotFoundError("none of the run folders holds a model")
    models = {method: load_model(run.folder) for method, run in shown.items()}
    first = next(iter(shown))
    config = shown[first].config
    assert isinstance(config, ExperimentConfig)
    if config.env.segmentation is None:
        raise ValueError("env.segmentation is null: there are no masks to show beside the maps")
    frames, caption = _frames(config, shown[first].label, models[first], count)
    columns: dict[str, list[RGBImage]] = {
        "image": list(frames.pictures),
        "segmentation": list(colored_segmentation(frames.labels)),
    }
    maps = {}
    for method, model in models.items():
        maps[method] = attention_maps(attentive_policy(model), frames.images)
    for target in ATTENTION_TARGETS:
        for method, found in maps.items():
            pairs = zip(frames.pictures, found[target].numpy(), strict=True)
            columns[f"{method}, {target}"] = [heatmap_overlay(image, cam) for image, cam in pairs]
    labels = ", ".join(run.label for run in shown.values())
    names = segmentation_spec(config.env.id).names
    classes = segmentation_sheet(frames.images, frames.labels, names, frames.relevant)
    return AttentionGrid(
        columns, f"{caption} Maps of {labels}; dark: 0, yellow: 1.", _legend(names, frames), {"frames": classes}
    )


def _frames(config: ExperimentConfig, label: str, model: Actor, count: int) -> tuple[FrameSet, str]:
    settings = config.evaluation
    name, every = settings.attention_sets[-1], _LATER * settings.frame_every
    venv = make_level_set_env(config, name, count, settings.seed, masks=True)
    try:
        frames = sample_frames(model, venv, count, every, settings.seed)
    finally:
        venv.close()
    rule = (
        f"Level set {name}, one frame from each of {count} environments after {every} sampled actions of {label}, "
        f"seed {settings.seed}; no frame is chosen by what it shows."
    )
    return frames, rule


def _legend(names: tuple[str, ...], frames: FrameSet) -> dict[str, str]:
    colors = class_colors()
    return {
        names[label] + " *" * bool(frames.relevant[label]): "#{:02x}{:02x}{:02x}".format(*colors[label])
        for label in map(int, np.unique(frames.labels))
    }
