"""Claim: CAMAL trains faster on a CPU than what a user would pick instead, and how far from what arithmetic allows.

All train IMPALA's residual network on Procgen's CoinRun, easy mode: 64 environments x 64 steps, minibatches of 512,
three epochs, two torch threads. They take turns at a rollout with its update, each program in a process of its own:
CAMAL (value and policy maps, box masks, weight .1) in bfloat16 and in float32, PPO of this package without masks, PPO
of Stable-Baselines3, the loop of examples/ppo_camal.py with weight 0, and APPO of Sample Factory. Numbers are
environment steps per second, by wall clock and by CPU time; ratios are of the same round. The first round warms up.

The floor is the time that one thread needs for as many multiplications in matrix products, in the same precision, as
encoder and heads take for an environment step: one pass to act, and three for each epoch (forward, and twice as much
backward). It is measured in each round, and counts once for each thread.

Sample Factory needs a Gymnasium below 1.0, so it has an environment of its own, which --sample-factory names:

    python3.11 -m venv sample-factory
    sample-factory/bin/pip install sample-factory 'numpy<2' procgen-mirror
    python benchmarks/peer_speed.py --sample-factory sample-factory/bin/python

Without --sample-factory the others take part. In its mode ``serial`` both threads sample and learn by turns. In
``async`` each of three processes has one thread, and one of them learns, which is nine tenths of the work.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from arithmetic_floor import PRECISIONS, floors, multiplications
from gymnasium import spaces
from peer_speed_process import PausedProcess
from torch.utils.tensorboard import SummaryWriter
from training_speed import (
    NUM_EPOCHS,
    STOCK,
    Maker,
    Plain,
    Speeds,
    agent,
    agents_in_processes,
    stock,
    turns,
)

from camal_rl.agents import CAMALPPO, CamalConfig
from camal_rl.agents.cam_encoder import resolve_precision
from camal_rl.envs.procgen.libraries import MODULE
from camal_rl.runs.allocator import keep_freed_memory
from camal_rl.runs.loading import load_config
from camal_rl.runs.provenance import program_provenance

HERE = Path(__file__).resolve().parent
ENV, ENCODER, NUM_PIXELS = "procgen/coinrun", "impala", 64
OWN_LOOP = "CleanRL-style loop"
# Weight, masks, precision.
OURS = {
    "CAMAL, bfloat16": (0.1, "box", "bfloat16"),
    "CAMAL, float32": (0.1, "box", "float32"),
    "PPO of this package, float32": (0.0, None, "float32"),
}
CAMAL = tuple(OURS)[:2]
SAMPLE_FACTORY = {"serial": "Sample Factory", "async": "Sample Factory, asynchronous"}
PARTICIPANTS = {
    **dict(zip(("camal_bfloat16", "camal_float32", "ppo_float32"), OURS, strict=True)),
    "stock_sb3": STOCK,
    "own_loop": OWN_LOOP,
    "sample_factory": SAMPLE_FACTORY["serial"],
}


def ours(arguments: argparse.Namespace, encoder: str) -> dict[str, CAMALPPO]:
    """Return this package's agents that take part."""
    keep_freed_memory()
    return {
        name: agent(
            arguments, encoder, masks, precision, CamalConfig(weight=weight, frame_fraction=arguments.frame_fraction)
        )
        for name, (weight, masks, precision) in OURS.items()
        if name in arguments.titles
    }


class OwnLoop:
    """The loop of examples/ppo_camal.py with weight 0, and with the hyperparameters of the others."""

    def __init__(self, arguments: argparse.Namespace, encoder: str) -> None:
        sys.path.insert(0, str(HERE.parent / "examples"))
        import ppo_camal

        self._folder = tempfile.TemporaryDirectory()
        self._example = ppo_camal
        rollout = arguments.num_envs * arguments.n_steps
        self._args = ppo_camal.Args(
            run_dir=str(Path(self._folder.name) / "run"),
            cuda=False,
            env_id=arguments.env,
            env_options={"num_levels": 0},
            encoder=encoder,
            total_timesteps=rollout,
            learning_rate=3e-4,
            num_envs=arguments.num_envs,
            num_steps=arguments.n_steps,
            gamma=0.99,
            num_minibatches=rollout // arguments.batch_size,
            update_epochs=NUM_EPOCHS,
            ent_coef=0.0,
            camal_weight=0.0,
            eval_sets=("train",),
        )
        self._camal, self._env, self.policy, run_dir = ppo_camal.prepare(self._args)
        self._writer = SummaryWriter(str(run_dir))

    def learn(self, total_timesteps: int, reset_num_timesteps: bool) -> None:
        """Train for the one rollout of the arguments, on new episodes."""
        assert total_timesteps == self._args.total_timesteps
        assert not reset_num_timesteps
        with redirect_stdout(io.StringIO()):
            self._example.train(self._args, self._camal, self._env, self.policy, self._writer)


def own_loop(arguments: argparse.Namespace, encoder: str) -> dict[str, OwnLoop]:
    """Return the loop that this package is not part of."""
    return {OWN_LOOP: OwnLoop(arguments, encoder)}


def makers(titles: Sequence[str]) -> list[Maker]:
    """Return what makes the participants, a process each."""
    names = {ours: set(OURS), stock: {STOCK}, own_loop: {OWN_LOOP}}
    return [make for make, own in names.items() if own & set(titles)]


@contextmanager
def sample_factory(arguments: argparse.Namespace) -> Iterator[dict[str, PausedProcess]]:
    """Start Sample Factory in the modes that take part, and end it in the end."""
    given = ("num_envs", "n_steps", "batch_size", "threads")
    options = [word for name in given for word in (f"--{name.replace('_', '-')}", str(getattr(arguments, name)))]
    options += ["--game", ENV.partition("/")[2], "--epochs", str(NUM_EPOCHS)]
    updates = arguments.rounds + 1
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = {}
        for mode, title in SAMPLE_FACTORY.items():
            if title in arguments.titles:
                log = stack.enter_context((folder / f"{mode}.log").open("w+"))
                command = [*worker(arguments.sample_factory), *options, "--mode", mode, "--updates", str(updates)]
                command += ["--folder", str(folder / mode)]
                process = PausedProcess(command, arguments.num_envs * arguments.n_steps, updates, log)
                found[title] = stack.enter_context(process)
        yield found


def worker(python: str) -> list[str]:
    """Return the command that runs Sample Factory's part."""
    return [python, str(HERE / "peer_speed_sample_factory.py")]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, least and most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def precision_of(title: str) -> str:
    """Return what a participant's encoder computes in."""
    return OURS[title][2] if title in OURS else "float32"


def summary(rounds: Sequence[Speeds], floors: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return of each participant its speed, CAMAL's over it, and its own over that of arithmetic alone.

    Args:
        rounds: steps per second of each participant in each round, by wall clock and by CPU time.
        floors: what arithmetic alone allows in each round, by precision.
    """
    table: dict[str, Any] = {}
    for title in rounds[0]:
        precision = precision_of(title)
        table[title] = {
            "precision": precision,
            "wall": spread([speeds[title][0] for speeds in rounds]),
            "cpu": spread([speeds[title][1] for speeds in rounds]),
            "over_floor": spread(
                [speeds[title][0] / floor[precision] for speeds, floor in zip(rounds, floors, strict=True)]
            ),
        }
        for camal in CAMAL:
            if camal in rounds[0]:
                table[title][f"{camal} over it"] = spread([each[camal][0] / each[title][0] for each in rounds])
    return table


def show(table: Mapping[str, Any]) -> None:
    """Print the table."""
    ratios = [f"{camal} over it" for camal in CAMAL]
    for title, row in table.items():
        cells = [f"{row['wall']['median']:7.1f} steps/s", f"{row['over_floor']['median']:.2f} of the floor"]
        cells += [f"{name} {row[name]['median']:.2f}" for name in ratios if name in row]
        print(f"{title:30} " + "   ".join(cells))


def check(arguments: argparse.Namespace) -> None:
    """Complete the arguments, or say what is wrong with them."""
    for name in ("rounds", "num_envs", "n_steps", "batch_size", "threads"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(arguments, name)}")
    if not 0 < arguments.frame_fraction <= 1:
        raise ValueError(f"--frame-fraction must be above 0 and at most 1, got {arguments.frame_fraction:g}")
    rollout = arguments.num_envs * arguments.n_steps
    arguments.batch_size = min(arguments.batch_size, rollout)
    if arguments.batch_size < 2 or rollout % arguments.batch_size:
        text = f"{arguments.num_envs} environments x {arguments.n_steps} steps are {rollout}, which is no multiple"
        raise ValueError(f"{text} of minibatches of {arguments.batch_size} frames, 2 or more; change --batch-size")
    if not arguments.out.parent.is_dir():
        raise ValueError(f"--out: there is no folder {arguments.out.parent}")
    if arguments.participants is None:
        arguments.participants = [name for name in PARTICIPANTS if name != "sample_factory"]
        arguments.participants += ["sample_factory"] if arguments.sample_factory else []
    titles = [PARTICIPANTS[name] for name in arguments.participants]
    needed = {MODULE: "camal-rl[procgen]"} | ({"tyro": "camal-rl[examples]"} if OWN_LOOP in titles else {})
    for module, extra in needed.items():
        if importlib.util.find_spec(module) is None:
            raise ValueError(f"{module} is not installed; pip install '{extra}'")
    if PARTICIPANTS["sample_factory"] in titles:
        check_sample_factory(arguments)
        titles.remove(PARTICIPANTS["sample_factory"])
        titles += [SAMPLE_FACTORY[mode] for mode in arguments.sample_factory_modes]
    arguments.titles = list(dict.fromkeys(titles))


def check_sample_factory(arguments: argparse.Namespace) -> None:
    """Say what keeps Sample Factory from taking part."""
    if not arguments.sample_factory:
        raise ValueError("Sample Factory needs --sample-factory PYTHON, a Python that has it; see --help")
    if arguments.batch_size % arguments.n_steps:
        raise ValueError(
            f"Sample Factory needs minibatches of whole rollouts, got --batch-size {arguments.batch_size} "
            f"and --n-steps {arguments.n_steps}"
        )
    if "async" in arguments.sample_factory_modes and arguments.num_envs % 2:
        raise ValueError(f"Sample Factory's mode async needs an even --num-envs, got {arguments.num_envs}")
    try:
        command = [*worker(arguments.sample_factory), "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ValueError(f"--sample-factory {arguments.sample_factory}: {error.strerror}") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ValueError(f"--sample-factory {arguments.sample_factory} cannot run Sample Factory: {last}")


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments; wrong ones end the program with exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    fraction = load_config(ENV).camal.frame_fraction
    parser.add_argument("--participants", nargs="+", choices=PARTICIPANTS, help="by default all that can take part")
    parser.add_argument("--sample-factory", metavar="PYTHON", help="a Python that has Sample Factory 2")
    parser.add_argument("--sample-factory-modes", nargs="+", choices=SAMPLE_FACTORY, default=["serial"])
    parser.add_argument("--rounds", type=int, default=5, help="that are measured, after one to warm up")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--n-steps", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=512, help="at most; smaller rollouts are one minibatch")
    parser.add_argument("--threads", type=int, default=2, help="of torch, in each participant")
    help_text = "share of the frames whose maps CAMAL computes; 1 is every frame (default: as shipped for Procgen)"
    parser.add_argument("--frame-fraction", type=float, default=fraction, help=help_text)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "peer_speed.json")
    arguments = parser.parse_args(words)
    try:
        check(arguments)
    except ValueError as error:
        print(f"peer_speed.py: {error}", file=sys.stderr)
        sys.exit(2)
    return arguments


def measure(arguments: argparse.Namespace, multiplications_of_a_step: int) -> dict[str, Any]:
    """Let the participants take turns; return what was found, round by round and summed up."""
    rounds, allowed = [], []
    with ExitStack() as stack:
        processes = stack.enter_context(sample_factory(arguments))
        agents, layers = stack.enter_context(agents_in_processes(makers(arguments.titles), arguments, ENCODER))
        agents |= processes
        layers |= {title: process.description["layers"] for title, process in processes.items()}
        for index in range(arguments.rounds + 1):
            allowed.append(floors(multiplications_of_a_step, arguments.threads))
            rounds.append(turns(agents, index, ENCODER))
    rounds, allowed = rounds[1:], allowed[1:]
    first = next(iter(layers.values()))
    described = {title: process.description for title, process in processes.items()}
    return {
        "programs": {title: {key: each[key] for key in ("versions", "settings")} for title, each in described.items()},
        "layers": first,
        "other_layers": {title: each for title, each in layers.items() if each != first},
        "floor": {name: spread([each[name] for each in allowed]) for name in PRECISIONS},
        "participants": summary(rounds, allowed),
        "rounds": [{"floor": floor, **speeds} for floor, speeds in zip(allowed, rounds, strict=True)],
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the result."""
    arguments = parse(words)
    settings = {key: value for key, value in vars(arguments).items() if key not in ("out", "sample_factory", "titles")}
    result: dict[str, Any] = {**program_provenance(), "settings": settings}
    arguments.env, arguments.device = ENV, "cpu"
    space = spaces.Box(0, 255, (3, NUM_PIXELS, NUM_PIXELS))
    of_a_frame = multiplications(Plain(space, ENCODER), torch.zeros(1, *space.shape))
    result |= {
        "load_at_start": os.getloadavg()[0],
        "bfloat16_instructions": resolve_precision("auto", torch.device("cpu")) == "bfloat16",
        "multiplications_of_a_frame": of_a_frame,
        **measure(arguments, of_a_frame * (1 + 3 * NUM_EPOCHS)),
    }
    show(result["participants"])
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
