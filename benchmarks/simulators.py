"""Cost of masks in every family of simulators: steps per second with and without masks, as ratios from one run.

The environments of one simulator take turns under the same random actions: without masks, then with each kind of mask
that it has. Masks are read after every step and reduced to a CAM grid with cells of 4x4 pixels, as in training. A ratio
is steps per second with masks divided by steps per second without, in the same round; the table gives median, minimum
and maximum of the rounds.

    python benchmarks/simulators.py
    python benchmarks/simulators.py --only minigrid/DoorKey-6x6 vizdoom/Basic --rounds 8
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from camal_rl.envs import SegmentedVecEnv, env_ids, env_info, make_vec
from camal_rl.runs.provenance import program_provenance
from camal_rl.targets import grid_target

RESULT = Path(__file__).parent / "results" / "simulators.json"
# Turns are short, so that other programs disturb all environments of a round alike.
SECONDS = 0.25
CELL = 4
_DRAWN = 64
PROCGEN_GAMES = tuple(name.partition("/")[2] for name in env_ids() if name.startswith("procgen/"))
KINDS: dict[str, tuple[str, ...]] = {
    "toy_grid": ("box", "silhouette"),
    "procgen": ("box", "silhouette"),
    "minigrid": ("box", "silhouette"),
    "vizdoom": ("silhouette",),
    "crafter": ("box", "silhouette"),
    "atari": ("box", "silhouette"),
    "dm_control": ("silhouette",),
}
# Environment id, copies, options.
CASES: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("toy_grid/default", 64, {}),
    *((f"procgen/{game}", 64, {}) for game in PROCGEN_GAMES),
    ("minigrid/DoorKey-6x6", 16, {"view": "partial"}),
    ("minigrid/DoorKey-6x6", 16, {"view": "full"}),
    ("vizdoom/Basic", 4, {}),
    ("vizdoom/DefendLine", 4, {}),
    ("crafter/Reward", 16, {"num_levels": 200}),
    ("crafter/Reward", 16, {"num_levels": 200, "daylight": "night"}),
    ("atari/Pong", 4, {}),
    ("atari/SpaceInvaders", 4, {}),
    ("atari/MsPacman", 4, {}),
    ("dm_control/cartpole-swingup", 4, {}),
    ("dm_control/walker-walk", 4, {}),
)


def _drawn_actions(venv: SegmentedVecEnv, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Return random actions ``(n, num_envs, ...)``, drawn in advance so that drawing them is not timed."""
    space = venv.action_space
    if isinstance(space, spaces.Discrete):
        return space.start + rng.integers(space.n, size=(_DRAWN, venv.num_envs))
    assert isinstance(space, spaces.Box)
    shape = (_DRAWN, venv.num_envs, *space.shape)
    return rng.uniform(space.low, space.high, size=shape).astype(np.float32)


def steps_per_second(venv: SegmentedVecEnv, rng: np.random.Generator) -> float:
    """Return environment steps per second of wall time, including masks if they are on."""
    drawn = _drawn_actions(venv, rng)
    relevant = venv.spec.relevant_lookup()
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        venv.step(drawn[steps // venv.num_envs % _DRAWN])
        if venv.has_segmentation:
            labels = venv.segmentation()
            grid_target(labels, relevant, (labels.shape[1] // CELL, labels.shape[2] // CELL))
        steps += venv.num_envs
    return steps / (time.perf_counter() - start)


def measure(env_id: str, num_envs: int, options: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Return the medians of one environment: steps per second without masks and ratios with each kind."""
    kinds = (None, *KINDS[env_id.partition("/")[0]])
    venvs = {kind: make_vec(env_id, num_envs, 0, segmentation=kind, **options) for kind in kinds}
    found: dict[str | None, list[float]] = {kind: [] for kind in kinds}
    try:
        for venv in venvs.values():
            venv.reset()
            steps_per_second(venv, np.random.default_rng(0))
        for turn in range(rounds):
            for kind, venv in venvs.items():
                found[kind].append(steps_per_second(venv, np.random.default_rng(turn)))
    finally:
        for venv in venvs.values():
            venv.close()
    ratios = {
        kind: [with_ / without for with_, without in zip(found[kind], found[None], strict=True)] for kind in kinds
    }
    return {
        "env": env_id,
        "options": options,
        "num_envs": num_envs,
        "masks": env_info(env_id).exactness,
        "steps_per_second_without_masks": round(statistics.median(found[None])),
        "ratio": {
            str(kind): {"median": statistics.median(ratio), "min": min(ratio), "max": max(ratio)}
            for kind, ratio in ratios.items()
            if kind is not None
        },
    }


def main() -> None:
    """Measure every case, print the table and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", metavar="ENV", help="environment ids; all by default")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    results = []
    print("| environment | copies | steps/s without masks | with masks, ratio (min to max) |")
    print("| --- | --- | --- | --- |")
    for env_id, num_envs, options in CASES:
        if arguments.only and env_id not in arguments.only:
            continue
        result = measure(env_id, num_envs, options, arguments.rounds)
        results.append(result)
        shown = ", ".join(
            f"{kind} {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
            for kind, ratio in result["ratio"].items()
        )
        name = " ".join([f"`{env_id}`", *map(str, options.values())])
        print(f"| {name} | {num_envs} | {result['steps_per_second_without_masks']:,} | {shown} |", flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    content = {"results": results, "rounds": arguments.rounds, "load_before": round(load, 1), **program_provenance()}
    arguments.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
