"""What ends a run that was accepted is one line and an exit code, and the environments are closed."""

import multiprocessing

import numpy as np
import pytest

from camal_rl.rl.training import replay_run
from camal_rl.runs.run_folder import RunFolder
from tests.command_line import refusal, run_main
from tests.conftest import TINY

ENV = "tests.cli.test_failures"


def own(fault):
    """Return a class whose environments have a fault, for ``env.id``."""
    from tests.envs.test_failing_envs import Dot

    class Faulty(Dot):
        def __init__(self):
            super().__init__(fault)

    return Faulty


Raises, NaN, Unnamed = own("raises"), own("reward nan"), own("unnamed labels")
OWN = [
    "algorithm.n_steps=8", "algorithm.batch_size=16", "total_timesteps=64", "env.num_envs=2", "log.overlay_every=0",
    "evaluation.frames=0", "log.checkpoint_every=0",
]  # fmt: skip


@pytest.fixture
def config(tmp_path):
    """Return a configuration without the toy grid's own options."""

    def written(env):
        path = tmp_path / "own.yaml"
        path.write_text(f"env: {{id: '{ENV}:{env}'}}\npolicy: {{encoder: compact}}\n")
        return str(path)

    return written


def test_train_that_diverges_is_one_line_with_exit_code_3_and_a_step_to_repeat(in_tmp, capsys):
    arguments = [*TINY, "algorithm.learning_rate=1e8", "algorithm.n_epochs=4"]
    assert run_main("train", "toy_grid", *arguments, "--run-dir", "run", "--no-progress") == 3
    line = refusal(capsys)
    assert "training diverged at step" in line
    assert "learning_rate=1e+08 is the most likely cause" in line
    assert "run/diverged.pt reproduces the step" in line
    assert not (in_tmp / "run" / "model.zip").exists()
    assert not (in_tmp / "run" / "train.json").exists()
    assert not all(np.isfinite(value) for value in replay_run(RunFolder(in_tmp / "run")).values())


@pytest.mark.parametrize(
    ("env", "code", "message"),
    [
        ("Raises", 2, "environment 0: step() raised KeyError: 'no such level' (test_failing_envs.py, line"),
        ("Unnamed", 2, "the label map of environment 0 contains ids without a name: [7, 8]"),
        ("NaN", 3, "training diverged at step 4: the reward is not finite (environment 0: step() returned the reward"),
    ],
)
def test_an_environment_that_fails_is_one_line(config, in_tmp, capsys, env, code, message):
    before = multiprocessing.active_children()
    assert run_main("train", config(env), *OWN, "--run-dir", "run", "--no-progress") == code
    assert message in refusal(capsys)
    assert multiprocessing.active_children() == before
