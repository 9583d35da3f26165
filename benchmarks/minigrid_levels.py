"""Count the different levels of MiniGrid's environments, and the held-out levels that look like a training level.

    python benchmarks/minigrid_levels.py --out benchmarks/results/minigrid_levels.json

For every environment, the program counts the different first frames (full view, without highlight) of the 200 training
levels. It also gives the share of 200 held-out levels that start with such a frame, which evaluations exclude.
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path

from camal_rl.envs import minigrid
from camal_rl.runs.provenance import program_provenance

LEVELS = 200


def count(name: str) -> dict[str, float]:
    """Return the counts of one environment."""
    train, held_out = (minigrid.first_frames(name, start, LEVELS, highlight=False) for start in (0, LEVELS))
    known = set(train.values())
    return {
        "different_training_levels": len(known),
        "held_out_share_seen_in_training": sum(frame in known for frame in held_out.values()) / LEVELS,
    }


def main() -> None:
    """Count and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    out = parser.parse_args().out
    found = {name: count(name) for name in minigrid.env_names()}
    result = {"minigrid": version("minigrid"), "levels": LEVELS, "environments": found, **program_provenance()}
    out.write_text(json.dumps(result, indent=1) + "\n")
    for name, counts in found.items():
        print(f"{name:30} {counts['different_training_levels']:4} {counts['held_out_share_seen_in_training']:5.0%}")


if __name__ == "__main__":
    main()
