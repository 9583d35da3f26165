"""Claim: the packages `procgen-mirror` and `procgen-gym` contain the same simulator.

The same seeds and actions are played with two versions of Python. Label maps (boxes and silhouettes), rewards and
states must be equal in all 16 games. Images are compared too, but may differ, because the packages draw with different
versions of Qt.

    python3.11 benchmarks/procgen_packages.py --save frames.npz       # plays and keeps everything
    python3.13 benchmarks/procgen_packages.py --compare frames.npz    # table, benchmarks/results/procgen_packages.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from camal_rl.envs import make_vec
from camal_rl.envs.procgen import ProcgenVecEnv, env_names
from camal_rl.runs.provenance import program_provenance

NUM_ENVS, STEPS = 4, 100
KINDS = ("box", "silhouette")
Played = dict[str, npt.NDArray[Any]]


def play(game: str, kind: str) -> Played:
    """Return images, label maps, rewards and last states of a random run."""
    env = make_vec(f"procgen/{game}", NUM_ENVS, 3, num_levels=50, segmentation=kind, num_threads=0)
    if not isinstance(env, ProcgenVecEnv):
        raise TypeError(f"expected a ProcgenVecEnv, got {type(env).__name__}")
    rng = np.random.default_rng(0)
    pictures, labels, rewards = [env.reset().copy()], [env.segmentation().copy()], []
    actions = rng.integers(0, 15, NUM_ENVS)
    for _ in range(STEPS):
        actions = np.where(rng.random(NUM_ENVS) < 0.6, actions, rng.integers(0, 15, NUM_ENVS))
        picture, reward, _, _ = env.step(actions)
        pictures.append(np.array(picture))
        labels.append(env.segmentation().copy())
        rewards.append(reward)
    states = np.frombuffer(b"".join(env.get_state()), dtype=np.uint8)
    env.close()
    return {"pictures": np.array(pictures), "labels": np.array(labels), "rewards": np.array(rewards), "states": states}


def compare(ours: Played, theirs: Played) -> dict[str, Any]:
    """Return how many frames differ, and whether rewards and states are equal."""
    pixels = (ours["pictures"] != theirs["pictures"]).any(axis=-1).sum(axis=(2, 3))
    return {
        "frames": pixels.size,
        "label_maps_that_differ": int((ours["labels"] != theirs["labels"]).any(axis=(2, 3)).sum()),
        "pictures_that_differ": int((pixels > 0).sum()),
        "most_pixels_that_differ": int(pixels.max()),
        "rewards_equal": bool(np.array_equal(ours["rewards"], theirs["rewards"])),
        "states_equal": bool(np.array_equal(ours["states"], theirs["states"])),
    }


def main() -> int:
    """Read the command line; the exit code is 1 if label maps, rewards or states differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--save", type=Path, metavar="FILE")
    what.add_argument("--compare", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/procgen_packages.json"))
    given = parser.parse_args()
    runs = [(game, kind) for game in env_names() for kind in KINDS]
    if given.save is not None:
        kept = {f"{game} {kind} {name}": each for game, kind in runs for name, each in play(game, kind).items()}
        np.savez_compressed(given.save, **kept)  # type: ignore[arg-type]
        return 0
    saved, found = np.load(given.compare), []
    for game, kind in runs:
        here = play(game, kind)
        result = compare({name: saved[f"{game} {kind} {name}"] for name in here}, here)
        found.append({"game": game, "segmentation": kind, **result})
        print(" ".join(f"{value!s:>10}" for value in found[-1].values()), flush=True)
    given.out.write_text(json.dumps({"machine": program_provenance(), "games": found}, indent=1) + "\n")
    return int(any(r["label_maps_that_differ"] or not (r["rewards_equal"] and r["states_equal"]) for r in found))


if __name__ == "__main__":
    raise SystemExit(main())
