"""Numbers that are not finite end a classifier's training, and can be reproduced."""

import numpy as np
import pytest
import torch

from camal_rl.failures import DivergedError
from camal_rl.runs.run_folder import RunFolder
from camal_rl.supervised import CamalConfig, LogConfig, OptimizationConfig, Trainer
from camal_rl.supervised.divergence import replay
from camal_rl.supervised.training import replay_run
from tests.command_line import refusal, run_main
from tests.supervised.fakes import PooledNet, Squares
from tests.supervised.test_fit_cli import NAME, TINY

QUIET = LogConfig(every=0, images=0, overlays=0)
WILD = {
    "learning rate": ({"learning_rate": 1e9}, 0.5, "learning_rate=1e+09"),
    "weight": ({"learning_rate": 1e7}, 1e9, "is the most likely cause"),
    "weight decay": ({"weight_decay": 1e9}, 0.0, "weight_decay=1e+09"),
    "clipped": ({"learning_rate": 1e9, "max_grad_norm": 1.0}, 0.0, "learning_rate=1e+09"),
}


def trainer(settings, weight):
    torch.manual_seed(0)
    return Trainer(
        PooledNet(),
        Squares(32),
        optimization=OptimizationConfig(epochs=40, batch_size=8, **settings),
        camal=CamalConfig(weight=weight),
        log=QUIET,
        device="cpu",
    )


@pytest.mark.parametrize(("settings", "weight", "blamed"), WILD.values(), ids=WILD)
def test_settings_that_diverge_are_named_and_the_step_is_reproduced(settings, weight, blamed, tmp_path):
    first = trainer(settings, weight)
    with pytest.raises(DivergedError, match="not finite") as caught:
        first.fit()
    assert blamed in str(caught.value).replace("1e+10", "1e+09")
    assert all(bool(each.isfinite().all()) for each in first.model.parameters())
    caught.value.save(tmp_path / "diverged.pt")
    found = torch.load(tmp_path / "diverged.pt", weights_only=True)
    assert found["minibatch"]["images"].shape[0] == 8
    values = replay(trainer(settings, weight), tmp_path / "diverged.pt")
    assert not all(np.isfinite(value) for value in values.values())


def test_a_gradient_that_is_not_finite_changes_nothing():
    first = trainer({}, 0.0)
    before = [each.detach().clone() for each in first.model.parameters()]
    next(first.model.parameters()).register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(DivergedError, match="the gradient is not finite"):
        first.fit()
    assert all(torch.equal(old, new) for old, new in zip(before, first.model.parameters(), strict=True))


def test_a_batch_beyond_the_memory_is_refused_before_training(monkeypatch):
    monkeypatch.setattr("camal_rl.failures.memory_bytes", lambda: 1000)
    with pytest.raises(ValueError, match=r"a batch of 8 images takes .* lower optimization.batch_size"):
        trainer({}, 0.0)


def test_fit_ends_in_one_line_with_exit_code_3_and_keeps_checkpoints(tmp_path, capsys):
    run = tmp_path / "run"
    wild = ["optimization.learning_rate=1e9", "optimization.epochs=20", "log.checkpoint_every=1"]
    assert run_main("fit", NAME, *TINY, *wild, "--run-dir", str(run), "--no-progress") == 3
    assert "training diverged at step " in (line := refusal(capsys))
    assert f"{run / 'diverged.pt'} reproduces the step" in line
    assert not (run / "model.safetensors").exists()
    assert not (run / "train.json").exists()
    assert not all(np.isfinite(value) for value in replay_run(RunFolder(run)).values())
