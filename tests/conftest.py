"""Settings shared by all tests, and a tiny trained run."""

import importlib
import itertools
import random
import sys

import numpy as np
import pytest
import torch
from gymnasium.utils import seeding

torch.set_num_threads(1)

TINY = (
    "total_timesteps=256",
    "env.num_envs=8",
    "algorithm.n_steps=16",
    "algorithm.batch_size=64",
    "algorithm.n_epochs=1",
    "policy.precision=float32",
    "evaluation.sets=[train,held_out]",
    "evaluation.attention_sets=[held_out]",
    "evaluation.episodes=12",
    "evaluation.frames=8",
    "evaluation.frame_every=3",
    "evaluation.num_envs=4",
    "log.overlay_every=128",
    "log.overlay_frames=2",
    "log.checkpoint_every=128",
    "threads=1",
)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return the folder of a finished tiny run."""
    from camal_rl.rl.training import prepare, run
    from camal_rl.runs.loading import load_config
    from camal_rl.runs.run_folder import RunFolder

    folder = RunFolder(tmp_path_factory.mktemp("runs") / "tiny")
    run(prepare(load_config("toy_grid", TINY), folder), ["camal-rl", "train", "toy_grid"])
    return folder


@pytest.fixture(autouse=True)
def no_luck(monkeypatch):
    """Let a test draw the same random numbers in every run: a test that passes by luck fails some day."""
    count = itertools.count()
    default_rng, np_random = np.random.default_rng, seeding.np_random
    monkeypatch.setattr(np.random, "default_rng", lambda seed=None: default_rng(next(count) if seed is None else seed))
    monkeypatch.setattr(seeding, "np_random", lambda seed=None: np_random(next(count) if seed is None else seed))
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def unlimited_width(monkeypatch):
    """Print tables as into a pipe: pytest-xdist gives its workers the width of a terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    """Work in an empty folder, and return it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def own_modules(in_tmp, monkeypatch):
    """Let modules of an empty folder, the current one, be imported; what they register is forgotten afterwards."""
    from camal_rl.agents.encoders import ENCODERS
    from camal_rl.agents.terms import TERMS
    from camal_rl.envs.registry import CUSTOM_ENVS
    from camal_rl.losses import LOSSES
    from camal_rl.metrics import CUSTOM_METRICS
    from camal_rl.rl.algorithms import ALGORITHMS

    for registry in (ENCODERS, CUSTOM_ENVS, LOSSES, CUSTOM_METRICS, TERMS, ALGORITHMS):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(sys, "path", [*sys.path, str(in_tmp)])
    importlib.invalidate_caches()
    yield in_tmp
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(in_tmp)):
            del sys.modules[name]


def pytest_collection_modifyitems(items):
    """Skip tests marked ``gpu`` on machines without CUDA."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)
