"""Cost of `camal-rl evaluate --suite full`: frames per second and peak memory, compared with the quick suite.

The program measures attention (not returns) of one run with both suites, each in a process of its own, so that the peak
memory is that of the suite alone. It measures the full suite on twice the frames too, to show how memory grows.

    python benchmarks/evaluate_suite.py runs/procgen-starpilot/camal-seed0
    python benchmarks/evaluate_suite.py RUN --frames 256
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from camal_rl.runs.provenance import program_provenance


def measure(run: str, suite: str, frames: int) -> dict[str, Any]:
    """Evaluate attention on one level set; return frames per second and peak memory above the start, in MiB."""
    import torch

    from camal_rl.rl.config import agent_run_config
    from camal_rl.rl.evaluate.evaluation import evaluate_run, evaluation_settings
    from camal_rl.rl.model_file import load_model
    from camal_rl.runs.run_folder import RunFolder
    from camal_rl.runs.task import EvaluationOptions

    torch.set_num_threads(1)
    folder = RunFolder(Path(run))
    settings = evaluation_settings(agent_run_config(folder), EvaluationOptions(1, frames, suite))
    settings = replace(settings, sets=("train",), attention_sets=("held_out",))
    model = load_model(folder)
    kept = folder.metrics_file.read_bytes() if folder.metrics_file.is_file() else None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        evaluate_run(folder, model, settings)
    finally:
        if kept is not None:
            folder.metrics_file.write_bytes(kept)
    return {
        "suite": suite,
        "frames": frames,
        "frames_per_second": frames / (time.perf_counter() - wall),
        "frames_per_cpu_second": frames / (time.process_time() - cpu),
        "peak_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }


def main() -> None:
    """Measure, print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a trained run; its metrics.json stays as it is")
    parser.add_argument("--frames", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/evaluate_suite.json"))
    arguments = parser.parse_args()
    plan = [("quick", arguments.frames), ("full", arguments.frames), ("full", 2 * arguments.frames)]
    results = []
    for suite, frames in plan:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            results.append(pool.apply(measure, (arguments.run, suite, frames)))
        print(
            "  ".join(
                f"{key} {value:.1f}" if isinstance(value, float) else f"{key} {value}"
                for key, value in results[-1].items()
            )
        )
    ratio = results[0]["frames_per_cpu_second"] / results[1]["frames_per_cpu_second"]
    print(f"the full suite costs {ratio:.1f} times the quick one, per frame, in CPU time")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    result = {"results": results, "full_over_quick": ratio, "provenance": program_provenance()}
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
