"""Cost of each method per environment step compared with PPO, all measured in one run.

Agents of one configuration that differ only in the method take turns: PPO, all methods, PPO without masks, and PPO
again, whose ratio shows the measurement error. A turn is a rollout and its update, and the order is reversed in every
other round. PPO has masks as in `camal-rl compare`, which logs alignment for every method. A ratio is the agent's time
divided by PPO's in the same round; the table gives the median and the quartiles. Times are CPU times of the process
over all threads (`--clock wall` on an idle machine).

    python benchmarks/method_cost.py                                       # toy grid, `nature`, float32, one thread
    python benchmarks/method_cost.py --configs starpilot --rounds 5        # StarPilot, `compact`
    python benchmarks/method_cost.py --methods camal,drac --rounds 3 --out /tmp/cost.json
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from training_cost import CLOCKS, quartiles

from camal_rl.agents import PPOWithTerms
from camal_rl.comparison.plan import method_config
from camal_rl.rl.bench import make_agent, steps_of_round, train_round
from camal_rl.rl.config import agent_config
from camal_rl.runs.allocator import keep_freed_memory
from camal_rl.runs.loading import load_config
from camal_rl.runs.provenance import program_provenance

BASE, CONTROL, WITHOUT_MASKS = "ppo", "ppo again", "ppo, masks off"
METHODS = (
    *("camal", "energy", "l1", "rrr", "ppce", "mse", "camal_square"),
    *("drac", "ucb_drac", "sgqn", "sgfd", "background_mix", "camal+background_mix", "object_mask"),
)
COMMON = ("policy.precision=float32", "device=cpu", "algorithm.n_steps=32", "log.overlay_every=0")
CONFIGS = {
    "toy_grid": ("toy_grid", ("policy.encoder=nature", *COMMON)),
    "starpilot": ("procgen/starpilot", ("policy.encoder=compact", *COMMON)),
}
"""What is measured: a shipped configuration, and the settings that change it."""
OUT = Path(__file__).parent / "results" / "method_cost.json"


def agents_of(name: str, methods: Sequence[str], seed: int) -> dict[str, PPOWithTerms]:
    """Return the agents that take turns, by their names in the table."""
    source, settings = CONFIGS[name]
    settings_of = {
        BASE: (BASE, settings),
        **{method: (method, settings) for method in methods},
        WITHOUT_MASKS: (BASE, (*settings, "env.segmentation=null", "camal.weight=0")),
        CONTROL: (BASE, settings),
    }
    return {
        title: make_agent(agent_config(method_config(load_config(source, given), method, seed)))
        for title, (method, given) in settings_of.items()
    }


def measure(agents: dict[str, PPOWithTerms], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Return the seconds of every round, by agent; the first round warms up and is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in agents}
    for index in range(rounds + 1):
        for name in list(agents)[:: -1 if index % 2 else 1]:
            start = clock()
            train_round(agents[name])
            seconds[name].append(clock() - start)
    return {name: times[1:] for name, times in seconds.items()}


def summary(seconds: dict[str, list[float]], steps: int) -> dict[str, Any]:
    """Return the microseconds per environment step of every agent, and the ratio to PPO's in the same rounds."""
    found = {}
    for name, times in seconds.items():
        ratio, low, high = quartiles([own / base for own, base in zip(times, seconds[BASE], strict=True)])
        middle = quartiles(times)[0]
        found[name] = {"over_ppo": ratio, "quartiles": [low, high], "microseconds_per_step": 1e6 * middle / steps}
    return found


def main() -> None:
    """Measure, print the tables and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=["toy_grid"])
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated methods, without ppo")
    parser.add_argument("--rounds", type=int, default=9, help="number of measured rounds, at least 2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu", help="CPU time of the process, or wall time")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    settings = {key: value for key, value in vars(arguments).items() if key != "out"}
    result: dict[str, Any] = {**program_provenance(), "settings": settings}
    result |= {"load_at_start": os.getloadavg()[0], "configurations": {}}
    for name in arguments.configs:
        agents = agents_of(name, arguments.methods.split(","), arguments.seed)
        steps = steps_of_round(agents[BASE])
        seconds = measure(agents, arguments.rounds, CLOCKS[arguments.clock])
        table, (source, given) = summary(seconds, steps), CONFIGS[name]
        described = {"config": source, "settings": list(given), "steps_per_round": steps}
        result["configurations"][name] = {**described, "summary": table, "seconds": seconds}
        print(f"\n{name}: {source} {' '.join(given)}\n\n| method | times PPO | quartiles | µs per step |")
        print("| --- | --- | --- | --- |")
        for method, found in table.items():
            low, high = found["quartiles"]
            cost = f"{found['microseconds_per_step']:,.0f}"
            print(f"| `{method}` | {found['over_ppo']:.2f} | {low:.2f} to {high:.2f} | {cost} |", flush=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
