"""Claim: with IMPALA's network, PPO of this package returns what the published PPO returns after 1,000,000 steps.

The program puts the runs of ``ppo_baseline.py`` beside the curves that the authors of Procgen published with their code
(github.com/openai/train-procgen, results/easy-200-run0 to run2: easy mode, 200 levels, three runs). Those figures are
means over the last 100 episodes at the time, averaged over the ten logged rows before the step count; ``train`` are the
200 levels, ``held_out`` all levels. A run is within the published spread if it lies within two standard deviations of
the mean.

    python benchmarks/ppo_baseline_table.py
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PUBLISHED = {
    "bigfish": {"train": (1.88, 0.13), "held_out": (1.52, 0.18)},
    "coinrun": {"train": (7.67, 0.40), "held_out": (7.32, 0.36)},
    "starpilot": {"train": (7.00, 0.36), "held_out": (6.23, 0.48)},
}
"""Mean and standard deviation over the three published runs at 1,000,000 steps."""
PUBLISHED_CURVE = {
    "starpilot": {
        200_000: (2.65, 2.49, 2.20),
        400_000: (3.73, 3.85, 3.55),
        600_000: (4.56, 4.49, 5.14),
        800_000: (5.45, 5.45, 6.43),
        1_000_000: (7.11, 6.60, 7.30),
    }
}
"""Return of each published run on training levels: the mean of the ten rows before a number of steps."""
PUBLISHED_STEPS = 1_000_000
ROWS = 10
SPREADS = 2.0
OLD_PARTS = {
    "glorot": ("policy.initialization=glorot",),
    "pessimistic_value": ("algorithm.pessimistic_value_loss=true", "algorithm.vf_coef=0.25"),
    "reward_gamma": ("env.normalize_reward_gamma=0.99",),
}
"""Names of parts in files from before there were settings."""
PUBLISHED_PARTS = ("algorithm.clip_range_vf=0.2", *(text for part in OLD_PARTS.values() for text in part))
"""What ``ppo_baseline.py --published`` (``configs/procgen_impala.yaml``) changes in training, beside the encoder."""
ENCODERS = {"procgen": "compact", "procgen_impala": "impala"}
USUAL = ("env.id", "env.segmentation", "camal.weight", "threads", "policy.encoder", "policy.precision", "seed")
"""Settings of every run of ``ppo_baseline.py``, or with a column of their own."""


def setting(settings: list[str], key: str) -> str | None:
    """Return the last value of a key among settings ``key=value``."""
    found = [text.partition("=")[2] for text in settings if text.partition("=")[0] == key]
    return found[-1] if found else None


def changes(run: Mapping[str, Any]) -> list[str]:
    """Return in which parts and settings of training a run differs from the shipped configuration."""
    changed = [text for part in run.get("parts", ()) for text in OLD_PARTS[part]]
    changed += PUBLISHED_PARTS if run.get("config") == "procgen_impala" else ()
    return sorted({*changed, *(text for text in run["settings"] if text.partition("=")[0] not in USUAL)})


def named(changed: list[str]) -> str:
    """Return changes as words."""
    if set(PUBLISHED_PARTS) <= set(changed):
        changed = ["published parts", *(each for each in changed if each not in PUBLISHED_PARTS)]
    return ", ".join(changed) or "none"


def within(value: float, published: tuple[float, float]) -> str:
    """Return whether a return lies in the published spread, or on which side of it."""
    mean, deviation = published
    if abs(value - mean) <= SPREADS * deviation:
        return "within"
    return "above" if value > mean else "below"


def return_at(rows: list[list[float]], steps: int) -> float:
    """Return the mean of the last ten rows, steps and return, that are logged up to a number of steps."""
    return statistics.mean([value for step, value in rows if step <= steps][-ROWS:])


def row(run: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Return a run beside the published figures of its game.

    Raises:
        ValueError: the run has another length, or its game has no published figures here.
    """
    game = (setting(run["settings"], "env.id") or "").removeprefix("procgen/")
    if game not in PUBLISHED:
        raise ValueError(f"{file}: there are no published figures of {game!r}; known: {', '.join(PUBLISHED)}")
    if not PUBLISHED_STEPS <= run["steps"] < 1.05 * PUBLISHED_STEPS:
        raise ValueError(f"{file}: the published figures are those of {PUBLISHED_STEPS:,} steps, got {run['steps']:,}")
    figures = PUBLISHED[game]
    return {
        "game": game,
        "encoder": setting(run["settings"], "policy.encoder") or ENCODERS[run.get("config", "procgen")],
        "precision": setting(run["settings"], "policy.precision") or "auto",
        "changes": named(changes(run)),
        "seed": run["seed"],
        "steps": run["steps"],
        "steps_per_second": run["steps"] / run["seconds"],
        "last_100_episodes": run["last_100_episodes"],
        "train": run["train"]["mean"],
        "held_out": run["held_out"]["mean"],
        "published": {name: {"mean": mean, "std": std} for name, (mean, std) in figures.items()},
        "train_is": within(run["last_100_episodes"], figures["train"]),
        "held_out_is": within(run["held_out"]["mean"], figures["held_out"]),
        "during_training": {str(at): return_at(run["rows"], at) for at in PUBLISHED_CURVE.get(game, ())},
        "file": file,
    }


def curves(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the returns during training, ours and the published ones, of the games with published curves."""
    found = []
    for game, published in PUBLISHED_CURVE.items():
        for number in range(3):
            returns = {str(at): values[number] for at, values in published.items()}
            found.append({"game": game, "run": f"published, run {number}", "returns": returns})
        for each in rows:
            if each["game"] == game:
                changed = "" if each["changes"] == "none" else f", {each['changes']}"
                name = f"{each['encoder']}, seed {each['seed']}{changed}"
                found.append({"game": game, "run": name, "returns": each["during_training"]})
    return found


def main() -> None:
    """Read the runs, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=HERE / "results", help="folder of ppo_baseline_*.json")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "published_ppo.json")
    arguments = parser.parse_args()
    paths = sorted(arguments.runs.glob("ppo_baseline_*.json"))
    if not paths:
        parser.error(f"--runs: {arguments.runs} has no ppo_baseline_*.json; benchmarks/ppo_baseline.py writes them")
    runs = [json.loads(path.read_text()) for path in paths]
    try:
        rows = [row(run, path.name) for run, path in zip(runs, paths, strict=True)]
    except ValueError as error:
        parser.error(str(error))
    rows.sort(key=lambda each: (each["game"], each["encoder"] != "impala", each["seed"]))
    newest = max(runs, key=lambda run: run["date"])
    made_by = {key: newest[key] for key in ("git_revision", "date", "machine") if key in newest}
    result = {"command": "python benchmarks/ppo_baseline_table.py", **made_by, "rows": rows, "curves": curves(rows)}
    for each in rows:
        print(f"{each['game']:10} {each['encoder']:8} seed {each['seed']:3} train {each['last_100_episodes']:.2f} "
              f"({each['train_is']}), held-out {each['held_out']:.2f} ({each['held_out_is']})")  # fmt: skip
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
