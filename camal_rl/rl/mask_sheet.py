"""Frames with their segmentation: a sheet of single frames, and a clip of play."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from camal_rl.envs import SegmentedVecEnv, make_vec
from camal_rl.overlays import RGBImage, segmentation_sheet
from camal_rl.rl.config import EnvConfig
from camal_rl.rl.environments import level_set_options
from camal_rl.rl.frames import random_actions, random_frames
from camal_rl.runs.loading import parse_overrides


def mask_sheet(
    env_id: str, level_set: str, frames: int, steps: int, seed: int, overrides: Sequence[str] = ()
) -> RGBImage:
    """Return the sheet image | segmentation | relevant of frames reached by random actions.

    Args:
        env_id: environment id.
        level_set: level set to draw from.
        frames: number of frames, one from each environment.
        steps: random actions before the frames.
        seed: seed of the levels and actions.
        overrides: ``key=value`` options of the environment.

    Raises:
        ValueError, TypeError: the environment refuses an option.
        MissingExtraError: the simulator is not installed.
    """
    with _masked_env(env_id, level_set, frames, seed, overrides) as venv:
        shown = random_frames(venv, steps, seed)
        return segmentation_sheet(shown.images, shown.labels, venv.spec.names, shown.relevant)


def mask_clip(env_id: str, level_set: str, steps: int, seed: int, overrides: Sequence[str] = ()) -> list[RGBImage]:
    """Return one picture image | segmentation | relevant for each of ``steps`` random actions, all of one size.

    Arguments and errors are those of :func:`mask_sheet`.
    """
    with _masked_env(env_id, level_set, 1, seed, overrides) as venv:
        images, labels = [np.array(venv.reset())], [venv.segmentation()]
        for actions in random_actions(venv, steps - 1, seed):
            images.append(np.array(venv.step(actions)[0]))
            labels.append(venv.segmentation())
        relevant, legend = venv.spec.relevant_lookup(), np.unique(np.concatenate(labels)).tolist()
        return [
            segmentation_sheet(image, label, venv.spec.names, relevant, legend=legend)
            for image, label in zip(images, labels, strict=True)
        ]


@contextmanager
def _masked_env(
    env_id: str, level_set: str, num_envs: int, seed: int, overrides: Sequence[str]
) -> Iterator[SegmentedVecEnv]:
    given = parse_overrides(overrides)
    masks: dict[str, Any] = {key: given.pop(key) for key in ("segmentation", "relevant") if key in given}
    options = {**level_set_options(EnvConfig(env_id, options=given), level_set), **masks}
    venv = make_vec(env_id, num_envs, seed, **options)
    try:
        if not venv.has_segmentation:
            raise ValueError("segmentation is switched off, so there is nothing to draw")
        yield venv
    finally:
        venv.close()
