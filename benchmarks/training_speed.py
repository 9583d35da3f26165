"""Claim: training with CAMAL is faster than with stock Stable-Baselines3.

Agents with the same network take turns to collect a rollout and learn from it:

* stock PPO, in its own process, in float32, with a plain network and PyTorch's defaults;
* this package's agent with weight 0, without masks;
* this package's agent with weight 0 and masks (alignment is logged);
* CAMAL, with value and policy maps and masks.

This package's agents compute in ``--precision``, by default bfloat16 if the CPU has the instructions; CAMAL in float32,
the precision of stock PPO, is then measured too. A ratio is CAMAL's steps per second divided by another agent's in the
same round; the table gives median, minimum and maximum of the rounds. Rounds of this length are too short to measure
the cost of CAMAL over weight 0; training_cost.py measures it.

    python benchmarks/training_speed.py                          # all encoders on CoinRun, about 20 minutes on 2 cores
    python benchmarks/training_speed.py --encoders nature --env procgen/starpilot --rounds 3
    python benchmarks/training_speed.py --precision float32 --agents CAMAL      # the equal precision alone
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from stable_baselines3.common.utils import get_device
from torch import Tensor, nn

from camal_rl.agents import CAMALPPO, CamalConfig
from camal_rl.agents.cam_encoder import Precision, resolve_precision
from camal_rl.agents.encoders import CompactEncoder
from camal_rl.envs import make_vec
from camal_rl.runs.allocator import keep_freed_memory
from camal_rl.runs.provenance import program_provenance

NUM_EPOCHS = 3
STOCK, CAMAL, CAMAL_FLOAT32 = "stock SB3", "CAMAL", "CAMAL, float32"
# Weight, masks, and whether the agent computes in float32 regardless of --precision.
OURS = {
    "weight 0, no masks": (0.0, None, False),
    "weight 0, masks": (0.0, "box", False),
    CAMAL: (0.1, "box", False),
    CAMAL_FLOAT32: (0.1, "box", True),
}
Speed = tuple[float, float]
Speeds = dict[str, Speed]
Maker = Callable[[argparse.Namespace, str], Mapping[str, Any]]


class Participant(Protocol):
    """Trains for a rollout and its update when its name is sent, and answers with its :data:`Speed`."""

    def send(self, name: str, /) -> None:
        """Start a rollout and its update."""

    def recv(self) -> Any:
        """Wait for their end; return steps per second by wall clock and by CPU time."""


class PlainResidualBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return x + self.convolutions(x)


class Plain(BaseFeaturesExtractor):
    """A network as SB3 users write it: the encoder's layers, Flatten, Linear, ReLU, in float32."""

    def __init__(self, observation_space: Any, name: str) -> None:
        super().__init__(observation_space, 256)
        if name == "impala":
            layers: list[nn.Module] = []
            for inputs, outputs in ((3, 16), (16, 32), (32, 32)):
                blocks = [PlainResidualBlock(outputs), PlainResidualBlock(outputs)]
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(3, 2, padding=1), *blocks]
            cnn = nn.Sequential(*layers, nn.ReLU())
        else:
            cnn = CompactEncoder(observation_space).cnn
        flat = cnn(torch.zeros(1, *observation_space.shape)).numel()
        self.network = nn.Sequential(*cnn, nn.Flatten(), nn.Linear(flat, 256), nn.ReLU())

    def forward(self, observations: Tensor) -> Tensor:
        """Return the features."""
        return self.network(observations)


def stock(arguments: argparse.Namespace, encoder: str) -> dict[str, PPO]:
    """Return stock PPO with the same network."""
    extractor = NatureCNN if encoder == "nature" else Plain
    policy_kwargs = {
        "features_extractor_class": extractor,
        "features_extractor_kwargs": {} if encoder == "nature" else {"name": encoder},
        "net_arch": [],
    }
    env = make_vec(arguments.env, arguments.num_envs, seed=0, segmentation=None)
    return {STOCK: PPO("CnnPolicy", env, policy_kwargs=policy_kwargs, **hyperparameters(arguments))}


def ours(arguments: argparse.Namespace, encoder: str) -> dict[str, PPO]:
    """Return this package's agents."""
    keep_freed_memory()
    precisions = precision_of(arguments)
    return {
        name: agent(
            arguments, encoder, segmentation, precisions[name], CamalConfig(weight=weight, method=arguments.method)
        )
        for name, (weight, segmentation, _) in OURS.items()
        if name in precisions
    }


def agent(
    arguments: argparse.Namespace, encoder: str, segmentation: str | None, precision: Precision, camal: CamalConfig
) -> CAMALPPO:
    """Return one of this package's agents."""
    env = make_vec(arguments.env, arguments.num_envs, seed=0, segmentation=segmentation)
    policy_kwargs = {"encoder": encoder, "precision": precision}
    return CAMALPPO("CamPolicy", env, camal=camal, policy_kwargs=policy_kwargs, **hyperparameters(arguments))


def precision_of(arguments: argparse.Namespace) -> dict[str, Precision]:
    """Return the precision of each of this package's agents that take part."""
    chosen = resolve_precision(arguments.precision, get_device(arguments.device))
    taking_part = {name: each for name, each in OURS.items() if name in {*arguments.agents, CAMAL}}
    precisions: dict[str, Precision] = {}
    for name, (_, _, always_float32) in taking_part.items():
        if not always_float32:
            precisions[name] = chosen
        elif chosen != "float32":
            precisions[name] = "float32"
    return precisions


def hyperparameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the hyperparameters of all agents."""
    return {
        "n_steps": arguments.n_steps,
        "batch_size": arguments.batch_size,
        "n_epochs": NUM_EPOCHS,
        "seed": 0,
        "device": arguments.device,
    }


def layer_shapes(network: nn.Module) -> list[list[int]]:
    """Return the shapes of all weights but biases, in order of size."""
    return sorted(list(parameter.shape) for parameter in network.parameters() if parameter.dim() > 1)


def serve(connection: Connection, make: Maker, arguments: argparse.Namespace, encoder: str) -> None:
    """Say which agents there are; train for a round each time one's name arrives, until the connection closes."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    models = make(arguments, encoder)
    connection.send({name: layer_shapes(model.policy) for name, model in models.items()})
    steps = arguments.num_envs * arguments.n_steps
    while (name := connection.recv()) is not None:
        model = models[name]
        wall, cpu = time.perf_counter(), time.process_time()
        model.learn(steps, reset_num_timesteps=False)
        connection.send((steps / (time.perf_counter() - wall), steps / (time.process_time() - cpu)))


@contextmanager
def agents_in_processes(
    makers: Sequence[Maker], arguments: argparse.Namespace, encoder: str
) -> Iterator[tuple[dict[str, Participant], dict[str, list[list[int]]]]]:
    """Make agents, a process for each maker, and end the processes in the end.

    Yields:
        what to call for each agent, and the shapes of its layers, by the agent's name.
    """
    context = multiprocessing.get_context("spawn")
    processes, agents, layers = [], {}, {}
    for make in makers:
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(there, make, arguments, encoder), daemon=True)
        process.start()
        there.close()
        processes.append((process, here))
        found = here.recv()
        agents.update(dict.fromkeys(found, here))
        layers.update(found)
    yield agents, layers
    for process, connection in processes:
        connection.send(None)
        process.join()


def turns(agents: Mapping[str, Participant], index: int, label: str) -> Speeds:
    """Let all agents train for a rollout and its update; what drifts within a round counts both ways."""
    speeds = {}
    for name in list(agents)[:: -1 if index % 2 else 1]:
        agents[name].send(name)
        speeds[name] = agents[name].recv()
    shown = ", ".join(f"{name} {each[0]:.0f}" for name, each in speeds.items())
    print(f"{label}, round {index}: {shown}", flush=True)
    return {name: speeds[name] for name in agents}


def measure(arguments: argparse.Namespace, encoder: str) -> list[Speeds]:
    """Return each agent's steps per second by wall and by CPU time, for each round after one to warm up."""
    with agents_in_processes((stock, ours), arguments, encoder) as (agents, _):
        return [turns(agents, index, encoder) for index in range(arguments.rounds + 1)][1:]


def summary(rounds: list[Speeds], clock: int) -> dict[str, Any]:
    """Return every agent's median steps per second, and their ratios as median, minimum, maximum."""

    def ratio(one: str, other: str) -> tuple[float, float, float]:
        ratios = [each[one][clock] / each[other][clock] for each in rounds]
        return statistics.median(ratios), min(ratios), max(ratios)

    return {
        name: {
            "steps_per_second": statistics.median(each[name][clock] for each in rounds),
            "CAMAL over it": ratio(CAMAL, name),
            "over stock": ratio(name, STOCK),
        }
        for name in rounds[0]
    }


def show(encoder: str, clock: str, table: dict[str, Any]) -> None:
    """Print one encoder's table."""
    for name, row in table.items():
        median, least, most = row["CAMAL over it"]
        ratio = f"CAMAL over it {median:.3f} ({least:.3f} to {most:.3f}), over stock {row['over stock'][0]:.3f}"
        print(f"{encoder:8} {clock:4} {name:24} {row['steps_per_second']:6.0f} steps/s   {ratio}")


def add_training_arguments(parser: argparse.ArgumentParser, n_steps: int, rounds: int, result: str) -> None:
    """Add the command-line arguments of benchmarks of training."""
    parser.add_argument("--env", default="procgen/coinrun")
    parser.add_argument("--encoders", nargs="+", default=["nature", "compact", "impala"])
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--method", default="gradcam")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--n-steps", type=int, default=n_steps)
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--threads", type=int, default=0, help="threads of PyTorch; 0 keeps its default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / result)


def main() -> None:
    """Measure, print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_training_arguments(parser, n_steps=64, rounds=5, result="training_speed.json")
    parser.add_argument("--agents", nargs="+", choices=OURS, default=list(OURS), help="agents beside stock and CAMAL")
    arguments = parser.parse_args()
    settings = {key: value for key, value in vars(arguments).items() if key != "out"}
    result = {**program_provenance(), "settings": settings, "precision": {STOCK: "float32", **precision_of(arguments)}}
    result.update(load_at_start=os.getloadavg()[0], encoders={})
    for encoder in arguments.encoders:
        rounds = measure(arguments, encoder)
        result["encoders"][encoder] = {"rounds": rounds, "wall": summary(rounds, 0), "cpu": summary(rounds, 1)}
        for clock in ("wall", "cpu"):
            show(encoder, clock, result["encoders"][encoder][clock])
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
