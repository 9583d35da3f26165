"""Attention maps of every method's agent on the same frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from camal_rl.envs import SegmentedVecEnv, segmentation_spec
from camal_rl.envs.masked_vec import images_seen
from camal_rl.overlays import RGBImage, as_rgb, class_colors, colored_segmentation, heatmap_overlay, segmentation_sheet
from camal_rl.rl.algorithms import attentive_policy
from camal_rl.rl.config import ExperimentConfig
from camal_rl.rl.environments import make_level_set_env
from camal_rl.rl.evaluate.returns import Actor
from camal_rl.rl.frames import FrameSet, visit_frames
from camal_rl.rl.model_file import has_model, load_model
from camal_rl.rl.policy_outputs import attention_maps
from camal_rl.runs.task import AnyRun, AttentionGrid

# Multiple of the evaluation's distance between frames, so that frames are far enough into an episode.
_LATER = 4


def attention_grid(runs: Mapping[str, AnyRun], count: int) -> AttentionGrid:
    """Return image | segmentation | every method's maps, target by target, on frames of the last attention set.

    The frames come from the first run's model: one from each of ``count`` environments, in each a fixed number of
    sampled actions later than in the one before it. Frames are not selected by content.

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
    configs = {method: _agent_config(run) for method, run in shown.items()}
    if configs[first].env.segmentation is None:
        raise ValueError("env.segmentation is null: there are no masks to show beside the maps")
    maskings = {method: config.env.masking for method, config in configs.items()}
    seen, frames = _frames(configs[first], models[first], count, maskings.values())
    columns: dict[str, list[RGBImage]] = {
        "image": list(frames.pictures),
        "segmentation": list(colored_segmentation(frames.labels)),
    }
    maps = {}
    for method, model in models.items():
        maps[method] = attention_maps(attentive_policy(model), seen[maskings[method]])
    for target in dict.fromkeys(name for found in maps.values() for name in found):
        for method, found in maps.items():
            if target not in found:
                continue
            pairs = zip(as_rgb(seen[maskings[method]]), found[target].numpy(), strict=True)
            columns[f"{method}, {target}"] = [heatmap_overlay(image, cam) for image, cam in pairs]
    labels = ", ".join(run.label for run in shown.values())
    names = segmentation_spec(configs[first].env.id).names
    caption = _caption(configs[first], shown[first].label, count)
    classes = segmentation_sheet(frames.images, frames.labels, names, frames.relevant)
    return AttentionGrid(
        columns, f"{caption} Maps of {labels}; dark: 0, yellow: 1.", _legend(names, frames), {"frames": classes}
    )


def _agent_config(run: AnyRun) -> ExperimentConfig:
    assert isinstance(run.config, ExperimentConfig)
    return run.config


def _frames(
    config: ExperimentConfig, model: Actor, count: int, maskings: Iterable[str | None]
) -> tuple[dict[str | None, npt.NDArray[np.uint8]], FrameSet]:
    """Return the frames as agents with these maskings see them, and as the simulator draws them."""
    settings, own = config.evaluation, config.env.masking
    wanted = dict.fromkeys(each for each in maskings if each is not None)
    bare = replace(config, env=replace(config.env, masking=next(iter(wanted), None)))
    venv = make_level_set_env(bare, settings.attention_sets[-1], count, settings.seed, masks=True)
    images: dict[str | None, list[npt.NDArray[np.uint8]]] = {each: [] for each in (None, *wanted)}
    labels: list[npt.NDArray[np.uint8]] = []

    def visit(observations: npt.NDArray[np.uint8]) -> None:
        """Keep the frame of the next environment."""
        place = len(labels)
        for each, kept in images.items():
            kept.append(images_seen(venv, observations, each)[place].copy())
        labels.append(venv.segmentation()[place].copy())

    try:
        visit_frames(_Seeing(model, venv, own), venv, count * count, _steps(config), settings.seed, visit)
        seen = {each: np.stack(kept) for each, kept in images.items()}
        return seen, FrameSet(seen[None], np.stack(labels), venv.spec.relevant_lookup())
    finally:
        venv.close()


@dataclass(frozen=True)
class _Seeing:
    """An actor that sees the frames of an environment as its own masking draws them, whatever others see."""

    model: Actor
    venv: SegmentedVecEnv
    masking: str | None

    def predict(self, observation: npt.NDArray[Any], *, deterministic: bool = False) -> tuple[Any, Any]:
        return self.model.predict(images_seen(self.venv, observation, self.masking), deterministic=deterministic)


def _steps(config: ExperimentConfig) -> int:
    return _LATER * config.evaluation.frame_every


def _caption(config: ExperimentConfig, label: str, count: int) -> str:
    return (
        f"Level set {config.evaluation.attention_sets[-1]}, one frame from each of {count} environments, the first "
        f"after {_steps(config)} sampled actions of {label}, every other {_steps(config)} later than the one before; "
        f"seed {config.evaluation.seed}; no frame is chosen by what it shows."
    )


def _legend(names: tuple[str, ...], frames: FrameSet) -> dict[str, str]:
    colors = class_colors()
    return {
        names[label] + " *" * bool(frames.relevant[label]): "#{:02x}{:02x}{:02x}".format(*colors[label])
        for label in map(int, np.unique(frames.labels))
    }
