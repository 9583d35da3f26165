"""Draw frames next to their counterfactuals: docs/images/counterfactuals.png.

    python benchmarks/counterfactual_sheet.py
    python benchmarks/counterfactual_sheet.py --out sheet.png procgen/maze:background_1,remove_cheese,remove_wall

Each argument names an environment and its interventions and gives one row. The row shows the frame of a short random
run in which most of the interventions apply; among equal frames, the one in which the least visible intervention
changes the most pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from camal_rl.envs import CounterfactualEnv, find_counterfactual, make_vec

Image = npt.NDArray[np.uint8]
ROWS = (
    "procgen/starpilot:background_1,background_off,remove_flyer,remove_nearest_object",
    "procgen/coinrun:background_1,theme_1,remove_crate,remove_wall",
    "toy_grid/default:background_1,change_cue_3,remove_hazard,theme_1",
)
SCALE, GAP, CAPTION = 2, 6, 16
NUM_ENVS, STEPS, EVERY = 16, 240, 12


def panels(env_id: str, names: Sequence[str], seed: int = 0) -> list[Image]:
    """Return a frame and its counterfactuals under the named interventions, uint8[H, W, 3] each.

    Raises:
        ValueError: the environment cannot redraw, or has no such intervention.
    """
    env = make_vec(env_id, NUM_ENVS, seed)
    redrawable = find_counterfactual(env)
    if redrawable is None:
        raise ValueError(f"{env_id} cannot redraw its frames")
    frames, rng = np.asarray(env.reset()), np.random.default_rng(seed)
    best, chosen = -1.0, [frames[0]] * (len(names) + 1)
    for step in range(STEPS):
        frames = np.asarray(env.step(rng.integers(0, env.action_space.n, NUM_ENVS))[0])  # type: ignore[attr-defined]
        if step % EVERY == 0:
            score, pictures = _best_frame(redrawable, frames, names)
            if score > best:
                best, chosen = score, pictures
    env.close()
    return chosen


def _best_frame(env: CounterfactualEnv, frames: Image, names: Sequence[str]) -> tuple[float, list[Image]]:
    known = {item.name: item for item in env.interventions()}
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(f"unknown intervention {missing[0]!r}; known: {', '.join(known)}")
    drawn = [env.counterfactual(known[name]) for name in names]
    applied = np.sum([item.applies for item in drawn], axis=0)
    smallest = np.min([item.changed.mean(axis=(1, 2)) for item in drawn], axis=0)
    best = int(np.argmax(applied + smallest))
    return float((applied + smallest)[best]), [frames[best], *(item.images[best] for item in drawn)]


def sheet(rows: Sequence[str]) -> Image:
    """Draw one row per ``env_id:intervention,intervention,...``; all rows must have as many interventions."""
    drawn = []
    for row in rows:
        env_id, _, listed = row.partition(":")
        names = listed.split(",")
        pictures = panels(env_id, names)
        captioned = [_captioned(*pair) for pair in zip([env_id, *names], pictures, strict=True)]
        drawn.append(np.concatenate(captioned, axis=1))
    return np.concatenate(drawn)


def _captioned(caption: str, image: Image) -> Image:
    large = image.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    canvas = np.full((len(large) + CAPTION + GAP, large.shape[1] + GAP, 3), 255, dtype=np.uint8)
    canvas[CAPTION : CAPTION + len(large), : large.shape[1]] = large
    cv2.putText(canvas, caption, (0, 11), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=list(ROWS), metavar="ENV:INTERVENTION,...")
    parser.add_argument("--out", type=Path, default=Path("docs/images/counterfactuals.png"))
    given = parser.parse_args()
    picture = cv2.cvtColor(sheet(given.rows), cv2.COLOR_RGB2BGR)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(given.out), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"{given.out}  {given.out.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
