"""Claim: another implementation of PPO leads to the same conclusions about CAMAL.

Implementations of PPO differ enough to change what a study finds (arXiv 2503.22575). So the same seeds are trained with
``examples/ppo_camal.py``, which contains no algorithm of Stable-Baselines3, and compared with the runs of ``CAMALPPO``
in a kept comparison. Each row is a figure on a level set. The effect is CAMAL's mean minus PPO's over the seeds, and
the conclusion says whether its 95 % interval contains 0. The last column is the difference between the two effects.
Intervals are Welch's: standard errors of each group's own, with Satterthwaite's degrees of freedom.

    python benchmarks/second_implementation.py toy_grid runs/second_implementation         # 10 runs of 1 to 3 minutes
    python benchmarks/second_implementation.py starpilot runs/second_starpilot --jobs 2

Runs that are there already are not repeated; with other --arguments, name another folder.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from camal_rl.runs.provenance import program_provenance

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent / "examples" / "ppo_camal.py"
FILES = HERE.parent / "docs" / "results" / "files"
RESULTS = HERE / "results"
METHODS = ("ppo", "camal")
KINDS = {"sampled": "return", "preferred": "return_deterministic"}
HEADS = ("value", "policy")
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Setting:
    """What the example is run with.

    Attributes:
        comparison: the kept comparison that has the runs of ``CAMALPPO`` with the same hyperparameters.
        weight: CAMAL's weight.
        arguments: other arguments of the example.
    """

    comparison: str
    weight: float
    arguments: tuple[str, ...]


SETTINGS = {
    "toy_grid": Setting(
        "toy_grid_methods",
        0.1,
        ("--eval-sets", "train", "held_out", "held_out_cue", "held_out_appearance", "cue_broken"),
    ),
    "starpilot": Setting(
        "starpilot_second_implementation",
        0.15,
        (
            *("--env-id", "procgen/starpilot", "--norm-reward", "--encoder", "compact"),
            *("--total-timesteps", "400000", "--learning-rate", "0.0005", "--num-steps", "256", "--gamma", "0.999"),
            *("--camal-method", "gradcam", "--camal-inside-weight", "0.6", "--camal-frame-fraction", "0.25"),
            *("--camal-value-rectification", "relu"),
            *("--eval-frames", "512", "--eval-frame-every", "25"),
        ),
    ),
}


def train(setting: Setting, method: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train and evaluate the example, unless it was; return what it wrote.

    Raises:
        RuntimeError: the example failed.
    """
    run_dir = folder / f"{method}-seed{seed}"
    result = run_dir / "result.json"
    if not result.is_file():
        weight = setting.weight if method == "camal" else 0.0
        command = [sys.executable, str(EXAMPLE), "--seed", str(seed), "--camal-weight", str(weight)]
        command += [*setting.arguments, "--run-dir", str(run_dir)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            why = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise RuntimeError(f"{run_dir.name} failed: {why[-1]}")
        print(f"{run_dir.name}\n{done.stdout}", flush=True)
    return json.loads(result.read_text())


def figures(result: dict[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Return the figures of a run of the example, by the names that comparisons use."""
    for level_set, found in result["level_sets"].items():
        for kind, name in KINDS.items():
            yield f"{name}/{level_set}", found[f"return_{kind}"]["mean"]
        for head in HEADS:
            yield f"epg/{head}/{level_set}", found[f"epg_{head}"]["mean"]


def contrast(groups: Sequence[Sequence[float]], signs: Sequence[int]) -> dict[str, float]:
    """Return a sum of means with signs, and Welch's interval of it.

    Args:
        groups: the values of each group, ``(runs,)``, two or more.
        signs: what each mean is multiplied by.
    """
    values = [np.asarray(group, dtype=float) for group in groups]
    parts = [each.var(ddof=1) / len(each) for each in values]
    mean = sum(sign * each.mean() for sign, each in zip(signs, values, strict=True))
    variance = sum(parts)
    if variance == 0:
        return {"mean": float(mean), "low": float(mean), "high": float(mean)}
    freedom = variance**2 / sum(part**2 / (len(each) - 1) for part, each in zip(parts, values, strict=True))
    margin = stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * math.sqrt(variance)
    return {"mean": float(mean), "low": float(mean - margin), "high": float(mean + margin)}


def conclusion(effect: dict[str, float]) -> str:
    """Return what an effect's interval says about CAMAL."""
    if effect["low"] > 0:
        return "higher"
    return "lower" if effect["high"] < 0 else "no difference shown"


def compare(example: dict[str, Any], package: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a figure; both arguments have the values of the seeds by method."""
    rows: dict[str, Any] = {}
    for name, values in (("example", example), ("package", package)):
        effect = contrast([values["camal"], values["ppo"]], (1, -1))
        means = {method: float(np.mean(values[method])) for method in METHODS}
        rows[name] = {**means, "effect": effect, "conclusion": conclusion(effect), "seeds": values}
    both = [example["camal"], example["ppo"], package["camal"], package["ppo"]]
    agree = rows["example"]["conclusion"] == rows["package"]["conclusion"]
    return {
        **rows,
        "difference_of_effects": contrast(both, (1, -1, -1, 1)),
        "same_conclusion": "yes" if agree else "no",
    }


def table(runs: dict[str, list[dict[str, float | None]]], kept: dict[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """Return the rows of the figures that both implementations have for every seed."""
    rows = {}
    for name in runs["ppo"][0]:
        if name not in kept["figures"]:
            continue
        example = {method: [run[name] for run in runs[method]] for method in METHODS}
        package = {method: [kept["figures"][name][method]["seeds"][str(seed)] for seed in seeds] for method in METHODS}
        if all(value is not None for values in (*example.values(), *package.values()) for value in values):
            kind, _, level_set = name.rpartition("/")
            rows[name] = {"figure": kind, "level_set": level_set, **compare(example, package)}
    return rows


def show(rows: dict[str, Any]) -> None:
    """Print the table."""
    for name, row in rows.items():
        cells = []
        for side in ("example", "package"):
            effect = row[side]["effect"]
            cells.append(f"{effect['mean']:+.3f} ({effect['low']:+.3f} to {effect['high']:+.3f})")
        print(f"{name:40} {cells[0]}   {cells[1]}   same conclusion: {row['same_conclusion']}")


def main() -> None:
    """Train what is missing, compare, print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("runs", type=Path, help="folder of the example's runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=None, help="by default 0 to 4, on StarPilot 0 and 1")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    help_text = "other arguments of the example, in one word: --arguments='--bootstrap-timeouts'"
    parser.add_argument("--arguments", type=shlex.split, default=[], help=help_text)
    parser.add_argument("--comparison", type=Path, help="a kept comparison other than the setting's own")
    parser.add_argument("--out", type=Path, help="by default in benchmarks/results")
    arguments = parser.parse_args()
    setting = SETTINGS[arguments.setting]
    setting = replace(setting, arguments=(*setting.arguments, *arguments.arguments))
    seeds = arguments.seeds or list(range(5 if arguments.setting == "toy_grid" else 2))
    comparison = arguments.comparison or FILES / f"{setting.comparison}.json"
    if len(set(seeds)) < 2:
        parser.error(f"--seeds needs two seeds or more, got {seeds}")
    try:
        kept = json.loads(comparison.read_text())
        there = sorted(int(seed) for seed in kept["figures"]["return/train"]["camal"]["seeds"])
    except (OSError, ValueError, KeyError):
        parser.error(f"--comparison: {comparison} is no kept comparison with CAMAL and returns on training levels")
    if not set(seeds) <= set(there):
        parser.error(f"--seeds: {comparison.name} has the seeds {there}, got {seeds}")
    with ThreadPoolExecutor(arguments.jobs) as pool:
        jobs = [(method, seed) for seed in seeds for method in METHODS]
        try:
            found = dict(zip(jobs, pool.map(lambda job: train(setting, *job, arguments.runs), jobs), strict=True))
        except RuntimeError as error:
            parser.exit(1, f"{parser.prog}: {error}\n")
    runs = {method: [dict(figures(found[method, seed])) for seed in seeds] for method in METHODS}
    rows = table(runs, kept, seeds)
    result = {
        **program_provenance(),
        "setting": arguments.setting,
        "arguments": list(setting.arguments),
        "seeds": seeds,
        "steps": found["ppo", seeds[0]]["training"]["steps"],
        "comparison": comparison.name,
        "seconds": {f"{method}-seed{seed}": each["training"]["seconds"] for (method, seed), each in found.items()},
        "agreement": {"rows": len(rows), "same": sum(row["same_conclusion"] == "yes" for row in rows.values())},
        "rows": rows,
    }
    show(rows)
    out = arguments.out or RESULTS / f"second_implementation_{arguments.setting}.json"
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
