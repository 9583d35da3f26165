"""Measures the training speed of a configuration on this machine, and where the time goes."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.agents import CamalTerm, PPOWithTerms
from camal_rl.agents.cam_encoder import resolve_precision
from camal_rl.rl.algorithms import find_algorithm
from camal_rl.rl.config import ExperimentConfig
from camal_rl.rl.environments import make_training_env
from camal_rl.rl.training import make_model
from camal_rl.runs.allocator import keep_freed_memory
from camal_rl.runs.provenance import cpu_model, provenance
from camal_rl.runs.run_folder import RunFolder

SECTIONS = {
    "simulate": "simulate: the environment steps",
    "masks": "masks: segmentation, reduced to the CAM grid",
    "policy": "policy: actions and values",
    "buffer": "buffer: store, returns, minibatches",
    "forward": "update: encoder, heads, PPO loss",
    "attention": "update: attention maps",
    "camal_loss": "update: CAMAL loss",
    "backward": "update: backward",
    "optimizer": "update: gradient clipping, optimizer",
    "other": "other: callbacks, logs, alignment logged",
}
"""Descriptions of the sections of a round."""

SPLIT_NOTE = "measured in separate rounds, with timers; steps/s is measured without them"
_MIB = 2**20


@dataclass(frozen=True)
class BenchPlan:
    """Plan of a measurement.

    Attributes:
        config: the configuration.
        rounds: rounds, each a rollout with its update, for the measurement of steps/s; the split takes as many again.
        peer: also measure the same configuration with weight 0, in alternation; ignored if the weight is 0.
    """

    config: ExperimentConfig
    rounds: int
    peer: bool

    @property
    def with_peer(self) -> bool:
        """Whether there is a peer to measure."""
        return self.peer and self.config.camal.weight > 0

    @property
    def total_rounds(self) -> int:
        """Total number of rounds: a warm-up round and the measured rounds of each agent, then those of the split."""
        return (1 + self.rounds) * (2 if self.with_peer else 1) + self.rounds


class SectionTimer:
    """Adds up the time spent in named sections; the time of a nested section is not counted in the outer one.

    Args:
        synchronize: waits for the device; called wherever a section begins or ends.
        clock: returns seconds.
    """

    def __init__(self, synchronize: Callable[[], None], clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self._synchronize, self._clock = synchronize, clock
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Add the time inside the block to a section."""
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def _charge(self) -> None:
        self._synchronize()
        now = self._clock()
        if self._open:
            self.seconds[self._open[-1]] = self.seconds.get(self._open[-1], 0.0) + now - self._since
        self._since = now


def make_agent(config: ExperimentConfig) -> PPOWithTerms:
    """Create environment and untrained agent as for training, but without writing anything.

    Schedules are left out: the learning rate and the weight of the CAMAL term stay at their full values.

    Raises:
        ValueError, TypeError: the environment or the agent refuses a value, or this module cannot split the time of the
            algorithm.
        MissingExtraError: the simulator is not installed.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but torch finds no CUDA device; use device=cpu or device=auto")
    if config.threads:
        torch.set_num_threads(config.threads)
    config = replace(
        config,
        algorithm=find_algorithm(config.algorithm_name).without_schedules(config.algorithm),
        camal=replace(config.camal, schedule="constant"),
    )
    venv = make_training_env(config)
    try:
        model = make_model(config, venv, RunFolder(Path()))
        if not isinstance(model, PPOWithTerms):
            raise TypeError(
                "bench can only split the time of agents derived from camal_rl.agents.CAMALPPO or PPOWithTerms, but "
                f"algorithm {config.algorithm_name!r} makes a {type(model).__name__}"
            )
    except BaseException:
        venv.close()
        raise
    model.set_logger(Logger(None, []))  # SB3 then opens no log of its own
    return model


def measure(plan: BenchPlan, model: PPOWithTerms, on_round: Callable[[str], None]) -> dict[str, Any]:
    """Train for a few rounds and return the figures, ready for JSON; nothing is written.

    Args:
        plan: the plan.
        model: from :func:`make_agent`, for the plan's configuration; its environment is closed at the end.
        on_round: called after each round, with its name.
    """
    keep_freed_memory()
    agents = {"agent": model}
    with ExitStack() as stack:
        stack.callback(_env(model).close)
        _warm_up(model, on_round)
        # Memory of one agent alone, as in training: the peer does not exist yet.
        memory = peak_memory(model.device)
        if plan.with_peer:
            config = replace(plan.config, camal=replace(plan.config.camal, weight=0.0))
            agents["weight_0"] = make_agent(config)
            stack.callback(_env(agents["weight_0"]).close)
            _warm_up(agents["weight_0"], on_round)
        speeds = _speeds(plan, agents, on_round)
        timer = SectionTimer(_synchronizer(model.device))
        for index in range(plan.rounds):
            timed_round(model, timer)
            on_round(f"split {index + 1}")
    return {
        **_setting(plan, model),
        "steps_per_second": _summary(speeds["agent"]),
        "weight_0": _peer_summary(speeds) if plan.with_peer else None,
        "split": split_summary(timer.seconds, plan.rounds * steps_of_round(model)),
        "peak_memory_mib": memory,
        **provenance(),
    }


def steps_of_round(model: PPOWithTerms) -> int:
    """Return the environment steps of a round."""
    return model.n_steps * model.n_envs


def train_round(model: PPOWithTerms) -> float:
    """Collect one rollout, learn from it, and return the time in seconds."""
    started = time.perf_counter()
    model.learn(steps_of_round(model), reset_num_timesteps=False)
    return time.perf_counter() - started


def timed_round(model: PPOWithTerms, timer: SectionTimer) -> None:
    """Train for a round with timers around the methods of the agent, which are removed afterwards."""
    with ExitStack() as stack:
        for owner, name, section in _methods(model):
            stack.enter_context(_replaced(owner, name, _timed(timer, section, getattr(owner, name))))
        for term in _camal_terms(model):
            stack.enter_context(_replaced(term, "attention_maps", _timed_maps(timer, term)))
        buffer = model.rollout_buffer
        stack.enter_context(_replaced(buffer, "get", _timed_items(timer, "buffer", buffer.get)))
        with timer.section("other"):
            train_round(model)


def split_summary(seconds: dict[str, float], steps: int) -> dict[str, Any]:
    """Return each section's share of the time, and its milliseconds per 1,000 steps; absent ones are left out."""
    total = sum(seconds.values())
    sections = {
        name: {"share": seconds[name] / total, "ms_per_1000_steps": 1e6 * seconds[name] / steps}
        for name in SECTIONS
        if name in seconds
    }
    return {"note": SPLIT_NOTE, "steps": steps, "seconds": total, "sections": sections}


def peak_memory(device: torch.device) -> dict[str, float | None]:
    """Return the peak memory so far in MiB: of this process, and of torch on a GPU; ``None`` if unknown."""
    cuda = torch.cuda.max_memory_allocated(device) / _MIB if device.type == "cuda" else None
    try:
        import resource
    except ImportError:  # Windows
        return {"process": None, "cuda": cuda}
    unit = 1 if sys.platform == "darwin" else 1024
    return {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB, "cuda": cuda}


def _setting(plan: BenchPlan, model: PPOWithTerms) -> dict[str, Any]:
    device = model.device
    return {
        "config": plan.config.as_dict(),
        "rounds": plan.rounds,
        "steps_per_round": steps_of_round(model),
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model(),
        "precision": resolve_precision(plan.config.policy.precision, device),
        "threads": torch.get_num_threads(),
    }


def _env(model: PPOWithTerms) -> VecEnv:
    return cast(VecEnv, model.get_env())


def _warm_up(model: PPOWithTerms, on_round: Callable[[str], None]) -> None:
    train_round(model)
    on_round("warm-up")


def _speeds(
    plan: BenchPlan, agents: dict[str, PPOWithTerms], on_round: Callable[[str], None]
) -> dict[str, list[float]]:
    """Return steps per second of every agent for each round; the agents alternate."""
    speeds: dict[str, list[float]] = {name: [] for name in agents}
    for index in range(plan.rounds):
        for name, model in agents.items():
            speeds[name].append(steps_of_round(model) / train_round(model))
            on_round(f"steps/s {index + 1}")
    return speeds


def _summary(values: Sequence[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": list(values)}


def _peer_summary(speeds: dict[str, list[float]]) -> dict[str, Any]:
    """Return the peer's steps per second, and the ratio of the agent's speed to the peer's in the same round."""
    ratios = [own / peer for own, peer in zip(speeds["agent"], speeds["weight_0"], strict=True)]
    return {"steps_per_second": _summary(speeds["weight_0"]), "agent_over_it": _summary(ratios)}


def _methods(model: PPOWithTerms) -> list[tuple[Any, str, str]]:
    """Return owner, name and section of each timed method, which is replaced on its owner."""
    env, policy, buffer = _env(model), model.policy, model.rollout_buffer
    return [
        (env, "step_async", "simulate"),
        (env, "step_wait", "simulate"),
        (model, "rollout_columns", "masks"),
        (policy, "forward", "policy"),
        (policy, "predict_values", "policy"),
        *(
            (buffer, name, "buffer")
            for name in ("reset", "store_observations", "store_policy_outputs", "store_rewards")
        ),
        (buffer, "compute_returns_and_advantage", "buffer"),
        (model, "_ppo_loss", "forward"),
        *((term, "map_loss", "camal_loss") for term in _camal_terms(model)),
        (torch.autograd, "backward", "backward"),
        (policy.optimizer, "zero_grad", "optimizer"),
        (policy.optimizer, "step", "optimizer"),
        (torch.nn.utils, "clip_grad_norm_", "optimizer"),
    ]


def _camal_terms(model: PPOWithTerms) -> list[CamalTerm]:
    """Return the agent's CAMAL term, if it has one."""
    return [term for term in model.auxiliary_terms if isinstance(term, CamalTerm)]


def _timed_maps(timer: SectionTimer, term: CamalTerm) -> Callable[..., Any]:
    maps = term.attention_maps
    attention = _timed(timer, "attention", maps)

    def attention_maps(evaluation: Any, create_graph: bool) -> Any:
        # Maps without a graph are for the log, not for the loss.
        return (attention if create_graph else maps)(evaluation, create_graph)

    return attention_maps


def _synchronizer(device: torch.device) -> Callable[[], None]:
    """Return the function that synchronizes with a GPU; it does nothing on a CPU."""
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)


def _timed(timer: SectionTimer, section: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*arguments: Any, **keywords: Any) -> Any:
        with timer.section(section):
            return function(*arguments, **keywords)

    return timed


def _timed_items(
    timer: SectionTimer, section: str, function: Callable[..., Iterable[Any]]
) -> Callable[..., Iterator[Any]]:
    """Time a generator's own work for each item, not the work of its consumer."""

    def timed(*arguments: Any, **keywords: Any) -> Iterator[Any]:
        items = iter(function(*arguments, **keywords))
        while True:
            with timer.section(section):
                found = list(islice(items, 1))
            if not found:
                return
            yield found.pop()  # no variable here may keep a minibatch alive

    return timed


@contextmanager
def _replaced(owner: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Replace a method by a function inside the block, and restore it afterwards."""
    own = vars(owner).get(name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)
