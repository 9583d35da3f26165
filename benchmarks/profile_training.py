"""Training time by kind of PyTorch operation; the rest is Python and the simulator.

PyTorch's profiler measures one rollout and its update of CAMAL PPO with one thread, after two to warm up. Results are
milliseconds of self time per thousand environment steps. To compare with an older revision, run this program in a
checkout of it with another file for ``--out``; ``--plot`` draws files side by side.

    python benchmarks/profile_training.py
    python benchmarks/profile_training.py --plot profile.png before.json benchmarks/results/profile_training.json
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from camal_rl.agents import CAMALPPO, CamalConfig
from camal_rl.envs import make_vec
from camal_rl.runs.allocator import keep_freed_memory
from camal_rl.runs.provenance import provenance

ENCODERS = ("nature", "compact", "impala")
NUM_ENVS, N_STEPS = 64, 64
KINDS = {
    "convolution": ("convolution", "mkldnn_convolution", "convolution_backward"),
    "pooling": ("max_pool2d_with_indices", "max_pool2d_with_indices_backward", "maximum", "fill_", "zero_"),
    "ReLU": ("clamp_min", "threshold_backward", "relu"),
    "matrix products": ("mm", "addmm", "bmm", "baddbmm"),
    "copies, conversions": ("copy_", "div", "div_", "_to_copy", "to", "cat", "index_select", "clone"),
}


def kind_of(operation: str) -> str:
    """Return the kind of a PyTorch operation."""
    name = operation.removeprefix("aten::")
    return next((kind for kind, names in KINDS.items() if name in names), "other operations")


def measure(encoder: str) -> dict[str, Any]:
    """Return milliseconds per thousand environment steps, by kind."""
    settings = {"encoder": encoder, "precision": "bfloat16"}
    model = CAMALPPO(
        "CamPolicy",
        make_vec("procgen/coinrun", NUM_ENVS, seed=0),
        camal=CamalConfig(weight=0.1),
        policy_kwargs=settings,
        n_steps=N_STEPS,
        batch_size=2048,
        n_epochs=3,
        seed=0,
    )
    steps = NUM_ENVS * N_STEPS
    model.learn(2 * steps)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        model.learn(steps, reset_num_timesteps=False)
        wall = time.perf_counter() - start
    totals = dict.fromkeys((*KINDS, "other operations"), 0.0)
    for event in profiler.key_averages():
        totals[kind_of(event.key)] += event.self_cpu_time_total / 1e6
    totals["Python, simulator"] = max(wall - sum(totals.values()), 0.0)
    return {kind: round(seconds * 1e6 / steps, 2) for kind, seconds in totals.items()}


def plot(out: Path, files: list[Path]) -> None:
    """Draw the results of several files side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    results = [json.loads(path.read_text())["milliseconds_per_1000_steps"] for path in files]
    figure, axes = pyplot.subplots(1, len(ENCODERS), figsize=(11, 3.6), layout="constrained")
    for axis, encoder in zip(axes, ENCODERS, strict=True):
        bottoms = [0.0] * len(files)
        for kind in results[-1][encoder]:
            heights = [result[encoder].get(kind, 0.0) for result in results]
            axis.bar([path.stem for path in files], heights, bottom=bottoms, label=kind)
            bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
        axis.set_title(encoder)
    axes[0].set_ylabel("ms for 1,000 steps")
    axes[-1].legend(fontsize=7)
    figure.savefig(out, dpi=110)


def main() -> None:
    """Measure and write the result, or draw results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "profile_training.json")
    parser.add_argument("--plot", type=Path, help="draw the files into this picture instead of measuring")
    parser.add_argument("files", type=Path, nargs="*")
    arguments = parser.parse_args()
    if arguments.plot:
        plot(arguments.plot, arguments.files)
        return
    torch.set_num_threads(1)
    keep_freed_memory()
    measured = {encoder: measure(encoder) for encoder in ENCODERS}
    for encoder, kinds in measured.items():
        print(f"{encoder:8} " + ", ".join(f"{kind} {milliseconds:.0f}" for kind, milliseconds in kinds.items()))
    result = {**provenance(), "milliseconds_per_1000_steps": measured}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
