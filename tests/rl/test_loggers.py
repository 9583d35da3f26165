"""Loggers of an agent's training besides TensorBoard, also where it is resumed."""

import json
import shutil
import signal
import sys
from typing import ClassVar

import pytest

from camal_rl.rl.scalar_output import ScalarOutput
from camal_rl.rl.training import prepare
from camal_rl.runs.checkpoints import checkpoint_folders
from camal_rl.runs.csv_log import read_table
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.scalar_logs import ScalarLog
from tests.command_line import refusal, run_main
from tests.rl.test_resume import STEPS, SignalAfter, config, curves, train

pytestmark = pytest.mark.filterwarnings("ignore:the CAM grid of encoder")
CLOCKS = ("time/fps", "time/time_elapsed")


class Told(ScalarLog):
    """Keeps what it is told."""

    runs: ClassVar[list] = []

    def __init__(self, folder, settings, step):
        super().__init__(folder, settings, step)
        self.told, self.closed, self.flushed = [], False, []
        self.runs.append(self)

    def write(self, scalars, step):
        self.told += [(step, name, value) for name, value in scalars.items()]

    def flush(self):
        self.flushed.append(len(self.told))

    def close(self):
        self.closed = True


def table(folder):
    rows = read_table(folder.path / "progress.csv")[1]
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in rows]


@pytest.fixture(scope="module")
def settings():
    return config("log.loggers=[csv]", "log.overlay_every=0", "log.held_out_every=0")


@pytest.fixture(scope="module")
def base(settings, tmp_path_factory):
    folder = RunFolder(tmp_path_factory.mktemp("base") / "run")
    train(settings, folder)
    return folder


def test_the_table_holds_the_figures_of_tensorboard(base):
    rows = {int(row["step"]): row for row in table(base)}
    assert list(rows) == [32, 64, 96, 128]
    for name, points in curves(base).items():
        if name not in CLOCKS:
            for step, value in points:
                assert float(rows[step][name]) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("steps", [1, 8, 13, 25])
def test_the_table_of_a_training_that_was_stopped_is_that_of_one_that_was_not(tmp_path, settings, base, steps):
    folder = RunFolder(tmp_path / "run")
    assert train(settings, folder, callbacks=[SignalAfter(steps=steps)])["signal"] == signal.SIGTERM
    train(settings, folder, resume=True)
    assert table(folder) == table(base)


@pytest.mark.parametrize("left", [0, 1, 2])
def test_what_was_logged_beyond_the_checkpoint_is_not_there_twice(tmp_path, settings, base, left):
    folder = RunFolder(shutil.copytree(base.path, tmp_path / "run"))
    folder.train_file.unlink()
    for _, checkpoint in checkpoint_folders(folder.checkpoints)[left:]:
        shutil.rmtree(checkpoint)
    train(settings, folder, resume=True)
    assert table(folder) == table(base)


def test_a_logger_of_ones_own_is_told_everything_and_closed(tmp_path):
    Told.runs.clear()
    settings = config(f"log.loggers=[{__name__}:Told]", "seed=3", "log.overlay_every=0")
    train(settings, RunFolder(tmp_path / "run"))
    (log,) = Told.runs
    assert log.closed
    assert (log.folder, log.settings["seed"], log.first_step) == (tmp_path / "run", 3, 0)
    assert {"rollout/ep_rew_mean", "train/loss", "camal/loss"} <= {name for _, name, _ in log.told}
    assert all(isinstance(value, int | float) for *_, value in log.told)
    assert log.flushed  # before checkpoints
    assert log.flushed[-1] == len(log.told)


def test_what_is_kept_from_a_logger_does_not_come_to_it():
    log = Told(None, {}, 0)
    output = ScalarOutput("csv", log)
    output.write({"a": 1.0, "b": 2.0, "c": "text"}, {"a": ("",), "b": ("csv",), "c": ("",)}, 5)
    output.write({"b": 2.0}, {"b": ("csv",)}, 6)
    assert log.told == [(5, "a", 1.0)]


def test_wandb_is_offline_in_the_run_folder_and_resumed_with_its_id(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    settings = config("log.loggers=[wandb]", "log.overlay_every=0", "log.held_out_every=0")
    folder = RunFolder(tmp_path / "run")
    train(settings, folder, callbacks=[SignalAfter(steps=13)])
    before = json.loads((folder.path / "wandb.json").read_text())
    train(settings, folder, resume=True)
    after = json.loads((folder.path / "wandb.json").read_text())
    assert before["id"] == after["id"]
    assert (before["step"], after["step"]) == (32, STEPS)
    assert {file.name for file in folder.path.glob("wandb/offline-run-*/*.wandb")} == {f"run-{after['id']}.wandb"}


def test_a_logger_that_is_not_installed_is_one_line_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    folder = tmp_path / "run"
    assert run_main("train", "toy_grid", "--run-dir", str(folder), "log.loggers=[wandb]") == 2
    assert "wandb is not installed; install it with: pip install" in refusal(capsys)
    assert not folder.exists()


def test_a_logger_that_does_not_exist_is_one_line(tmp_path, capsys):
    assert run_main("train", "toy_grid", "--run-dir", str(tmp_path / "run"), "log.loggers=[cvs]") == 2
    assert "log.loggers: unknown logger 'cvs'; did you mean 'csv'?" in refusal(capsys)


def test_nothing_more_is_written_by_default(tmp_path):
    trial = prepare(config(), RunFolder(tmp_path / "run"))
    trial.close()
    assert trial.config.log.loggers == ()
