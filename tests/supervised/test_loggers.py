"""Loggers of a training on images besides TensorBoard, also where it is resumed."""

import shutil

import pytest

from camal_rl.runs.checkpoints import checkpoint_folders
from camal_rl.runs.csv_log import read_table
from camal_rl.runs.run_folder import RunFolder
from tests.command_line import refusal, run_main
from tests.supervised.test_resume import KINDS, NAME, config, curves, signal_after, train


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    settings = config(*KINDS["camal"], "log.loggers=[csv]")
    folder = RunFolder(tmp_path_factory.mktemp("base") / "run")
    train(settings, folder)
    return settings, folder


def table(folder):
    return read_table(folder.path / "progress.csv")[1]


def test_the_table_holds_the_figures_of_tensorboard(base):
    rows = {int(row["step"]): row for row in table(base[1])}
    scalars, _ = curves(base[1])
    assert list(rows) == sorted({step for points in scalars.values() for step, _ in points})
    for name, points in scalars.items():
        for step, value in points:
            assert float(rows[step][name]) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("at", [1, 4, 10])
def test_the_table_of_a_training_that_was_stopped_is_that_of_one_that_was_not(tmp_path, base, at):
    settings, whole = base
    folder = RunFolder(tmp_path / "run")
    train(settings, folder, on_step=signal_after(at))
    train(settings, folder, resume=True)
    assert table(folder) == table(whole)


def test_what_was_logged_beyond_the_checkpoint_is_not_there_twice(tmp_path, base):
    settings, whole = base
    folder = RunFolder(shutil.copytree(whole.path, tmp_path / "run"))
    folder.train_file.unlink()
    for _, checkpoint in checkpoint_folders(folder.checkpoints)[1:]:
        shutil.rmtree(checkpoint)
    train(settings, folder, resume=True)
    assert table(folder) == table(whole)


def test_a_logger_that_does_not_exist_is_one_line(tmp_path, capsys):
    assert run_main("fit", NAME, "--run-dir", str(tmp_path / "run"), "log.loggers=[cvs]") == 2
    assert "log.loggers: unknown logger 'cvs'" in refusal(capsys)
