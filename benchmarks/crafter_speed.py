"""Processor time of Crafter's own environment and of this package's: generating worlds, and steps with their images.

Both environments play the same random actions in one process, in turns. Measured are:

* world: generating one new world;
* step: a step with its image, in this package also with masks, without resets;
* play: a step with resets included, on 200 levels that were not generated before;
* processes: steps per second of wall time of copies in their own processes, divided by that of as many copies in this
  process.

    python benchmarks/crafter_speed.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from camal_rl.envs import SegmentedVecEnv, make_vec
from camal_rl.envs.crafter import make_env
from camal_rl.envs.crafter.worlds import _terrain
from camal_rl.runs.provenance import program_provenance

RESULT = Path(__file__).parent / "results" / "crafter_speed.json"
LEVELS, ACTIONS = 200, 17
LIGHTS = {"day": 60, "night": 200}
"""The step of Crafter's day at which steps are measured, by name."""


def timed(run: Callable[[], Any], count: int) -> float:
    """Return the milliseconds of processor time of a run, divided by ``count``."""
    start = time.process_time()
    run()
    return 1000 * (time.process_time() - start) / count


def their_env(level: int) -> Any:
    """Make Crafter's own environment."""
    import crafter

    return crafter.Env(seed=level)


def world_ms(level: int) -> tuple[float, float]:
    """Return the milliseconds of generating one world in Crafter and in this package."""
    env, own = their_env(level), make_env("Reward", start_level=level, num_levels=1)
    _terrain.cache_clear()
    return timed(env.reset, 1), timed(lambda: own.reset(seed=0), 1)


def step_ms(hour: int, steps: int) -> dict[str, float]:
    """Return the milliseconds of a step in Crafter, and in this package without and with masks.

    The player cannot die.
    """
    theirs = their_env(3)
    theirs.reset()
    ours = {kind: make_env("Reward", start_level=3, num_levels=1, segmentation=kind) for kind in (None, "silhouette")}

    def play(step: Callable[[int], Any], game: Any) -> None:
        rng = np.random.default_rng(0)
        for _ in range(steps):
            game._step, game._player.health = hour, 9
            step(int(rng.integers(ACTIONS)))

    found = {"crafter": timed(lambda: play(theirs.step, theirs), steps)}
    for kind, env in ours.items():
        env.reset(seed=0)
        game = env.unwrapped._game  # type: ignore[attr-defined]
        found[str(kind)] = timed(lambda env=env, game=game: play(env.step, game), steps)  # type: ignore[misc]
    return found


def play_ms(kind: str | None, steps: int) -> float:
    """Return the milliseconds of a step, resets included."""
    _terrain.cache_clear()
    env, rng = make_env("Reward", num_levels=LEVELS, segmentation=kind), np.random.default_rng(0)
    env.reset(seed=0)

    def play() -> None:
        for _ in range(steps):
            _, _, ended, cut, _ = env.step(int(rng.integers(ACTIONS)))
            if ended or cut:
                env.reset()

    return timed(play, steps)


def steps_per_second(venv: SegmentedVecEnv, steps: int) -> float:
    """Return steps per second of wall time."""
    rng, start = np.random.default_rng(0), time.perf_counter()
    for _ in range(steps):
        venv.step(rng.integers(ACTIONS, size=venv.num_envs))
    return steps * venv.num_envs / (time.perf_counter() - start)


def processes_ratio(num_envs: int, rounds: int) -> list[float]:
    """Return the speed of copies in their own processes over that of copies in this process, by round."""
    venvs = [make_vec("crafter/Reward", num_envs, 0, num_levels=LEVELS, subproc=subproc) for subproc in (False, True)]
    try:
        for venv in venvs:
            venv.reset()
        speeds = [[steps_per_second(venv, 40) for venv in venvs] for _ in range(rounds)]
    finally:
        for venv in venvs:
            venv.close()
    return [processes / one for one, processes in speeds]


def main() -> None:
    """Measure everything, print it and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--num-envs", type=int, default=4)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    worlds = [world_ms(level) for level in range(arguments.worlds)]
    steps = {name: step_ms(hour, arguments.steps) for name, hour in LIGHTS.items()}
    plays = {str(kind): play_ms(kind, 3 * arguments.steps) for kind in (None, "silhouette")}
    ratios = processes_ratio(arguments.num_envs, arguments.rounds)
    rows = [{"what": "a world", "crafter": statistics.median(each[0] for each in worlds),
             "masks": statistics.median(each[1] for each in worlds)}]  # fmt: skip
    rows += [
        {"what": f"a step, {name}", "crafter": found["crafter"], "none": found["None"], "masks": found["silhouette"]}
        for name, found in steps.items()
    ]
    rows.append({"what": "a step of random play, resets included", "none": plays["None"], "masks": plays["silhouette"]})
    processes = {"num_envs": arguments.num_envs, "median": statistics.median(ratios), "min": min(ratios),
                 "max": max(ratios)}  # fmt: skip
    content = {"milliseconds": rows, "processes": processes, **program_provenance()}
    print(json.dumps({"milliseconds": rows, "processes": processes}, indent=2))
    arguments.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
