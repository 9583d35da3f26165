"""A sheet of frames with their segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from camal_rl.envs import make_vec
from camal_rl.experiments.config import EnvConfig
from camal_rl.experiments.environments import level_set_options
from camal_rl.experiments.frames import random_frames
from camal_rl.experiments.loading import parse_overrides
from camal_rl.overlays import Picture, segmentation_sheet


def mask_sheet(
    env_id: str, level_set: str, frames: int, steps: int, seed: int, overrides: Sequence[str] = ()
) -> Picture:
    """Return the sheet image | segmentation | relevant of frames reached by random actions.

    Args:
        env_id: environment id.
        level_set: level set to draw from.
        frames: number of frames, one from each environment.
        steps: random actions before the frames.
        seed: seed of the levels and actions.
        overrides: ``key=value`` options of the environment.

    Raises:
        ValueError, TypeError: what the environment refuses.
        MissingExtraError: the simulator is not installed.
    """
    given = parse_overrides(overrides)
    masks: dict[str, Any] = {key: given.pop(key) for key in ("segmentation", "relevant") if key in given}
    options = {**level_set_options(EnvConfig(env_id, options=given), level_set), **masks}
    venv = make_vec(env_id, frames, seed, **options)
    try:
        if not venv.has_segmentation:
            raise ValueError("there is nothing to draw with segmentation switched off")
        shown = random_frames(venv, steps, seed)
        return segmentation_sheet(shown.images, shown.labels, venv.spec.names, shown.relevant)
    finally:
        venv.close()


def write_png(path: Path, picture: Picture) -> None:
    """Write an RGB picture; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", picture[..., ::-1])
    if not done:
        raise ValueError(f"OpenCV cannot encode a picture of shape {picture.shape}")
    path.write_bytes(data.tobytes())
