"""Cost of CAMAL per training step of an image classifier, for convolutional networks and a transformer.

Two trainers take turns on the images of the shipped configuration: cross-entropy alone (vanilla, weight 0), and with
the CAMAL term. A round's time is the median of its steps, data loading and optimizer included, after a few steps to
warm up. A ratio is CAMAL's time divided by vanilla's in the same round.

    python benchmarks/supervised_cost.py
    python benchmarks/supervised_cost.py --models vit --rounds 3
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from camal_rl.runs.loading import load_config
from camal_rl.runs.provenance import program_provenance
from camal_rl.supervised import CamalConfig, LogConfig, OptimizationConfig, Trainer
from camal_rl.supervised.config import SupervisedConfig
from camal_rl.supervised.data.samples import ImageSet
from camal_rl.supervised.models import build_model
from camal_rl.supervised.training import make_sets

CONFIG = "supervised/spurious_shapes"
MODELS: dict[str, dict[str, Any]] = {
    "compact": {"width": 8, "halvings": 2},
    "resnet": {},
    "vit": {},
}
WARM_UP = 4


def step_seconds(
    name: str, images: ImageSet, camal: CamalConfig, optimization: OptimizationConfig
) -> tuple[float, bool | None]:
    """Return the median seconds of a step of a new classifier, and whether its maps have a closed form."""
    torch.manual_seed(0)
    height = images[0].image.shape[1]
    model = build_model(name, len(images.classes), height, **MODELS[name])
    ends: list[float] = []
    trainer = Trainer(
        model, images, camal=camal, optimization=optimization, log=LogConfig(every=0, checkpoint_every=0), device="cpu"
    )
    summary = trainer.fit(on_step=lambda _, __: ends.append(time.perf_counter()))
    steps = [after - before for before, after in itertools.pairwise(ends)]
    return statistics.median(steps[WARM_UP:]), summary["closed_form"]


def measure(name: str, images: ImageSet, settings: Mapping[str, CamalConfig], arguments: Any) -> dict[str, Any]:
    """Return one model's milliseconds per step and the ratios of CAMAL's to vanilla's."""
    optimization = OptimizationConfig(batch_size=arguments.batch_size, steps=arguments.steps, precision="float32")
    rounds: list[dict[str, float]] = []
    closed_form: bool | None = None
    for index in range(arguments.rounds):
        seconds = {}
        for method in settings if index % 2 else reversed(settings):
            seconds[method], found = step_seconds(name, images, settings[method], optimization)
            closed_form = found if method == "camal" else closed_form
        rounds.append(seconds)
    ratios = [each["camal"] / each["vanilla"] for each in rounds]
    return {
        "options": MODELS[name],
        "closed_form": closed_form,
        "milliseconds": {method: 1e3 * statistics.median(each[method] for each in rounds) for method in settings},
        "camal_over_vanilla": (statistics.median(ratios), min(ratios), max(ratios)),
        "rounds": rounds,
    }


def main() -> None:
    """Measure, print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30, help="training steps of each trainer in a round")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "supervised_cost.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = load_config(CONFIG)
    assert isinstance(config, SupervisedConfig)
    images = make_sets(config)["train"]
    settings = {"vanilla": replace(config.camal, weight=0.0), "camal": config.camal}
    kept = {key: value for key, value in vars(arguments).items() if key != "out"}
    result = {**program_provenance(), "settings": kept, "load_at_start": os.getloadavg()[0], "models": {}}
    print("| model | vanilla, ms | CAMAL, ms | CAMAL over vanilla (min to max) | map |")
    print("| --- | --- | --- | --- | --- |")
    for name in arguments.models:
        row = measure(name, images, settings, arguments)
        result["models"][name] = row
        median, least, most = row["camal_over_vanilla"]
        times = " | ".join(f"{row['milliseconds'][method]:.1f}" for method in settings)
        kind = "closed form" if row["closed_form"] else "second backward pass"
        print(f"| `{name}` | {times} | {median:.2f} ({least:.2f} to {most:.2f}) | {kind} |", flush=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
