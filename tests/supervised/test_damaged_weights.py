"""Weights and checkpoints of classifiers: written whole, and refused in one line where they are damaged."""

import random
import shutil

import pytest
from safetensors.torch import load_file, save_file

from camal_rl.atomic import PARTIAL
from camal_rl.runs.json_files import read_json, write_json
from camal_rl.runs.run_folder import RunFolder
from camal_rl.supervised import checkpoints
from tests.command_line import refusal, run_main
from tests.supervised.test_fit_cli import NAME, TINY

SETTINGS = [*TINY, "camal.weight=0", "log.checkpoint_every=1"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    path = tmp_path_factory.mktemp("fits") / "run"
    assert run_main("fit", NAME, *SETTINGS, "--run-dir", str(path)) == 0
    return RunFolder(path)


@pytest.fixture
def copied(fitted, tmp_path, capsys):
    shutil.copytree(fitted.path, tmp_path / "run")
    capsys.readouterr()
    return RunFolder(tmp_path / "run")


def without_checksum(folder):
    training = read_json(folder.train_file)
    del training["model_sha256"]
    write_json(folder.train_file, training)


@pytest.mark.parametrize("checksum", [True, False])
def test_truncated_weights_are_never_evaluated(copied, capsys, checksum):
    if not checksum:
        without_checksum(copied)
    content = copied.weights_file.read_bytes()
    for size in (0, 7, 100, len(content) // 2, len(content) - 1):
        copied.weights_file.write_bytes(content[:size])
        assert run_main("evaluate", str(copied.path)) == 2
        assert "model.safetensors" in refusal(capsys)


def test_a_flipped_bit_of_the_weights_is_found(copied, capsys):
    generator, content = random.Random(0), copied.weights_file.read_bytes()
    for _ in range(5):
        flipped = bytearray(content)
        flipped[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        copied.weights_file.write_bytes(flipped)
        assert run_main("evaluate", str(copied.path)) == 2
        assert "model.safetensors is not the file that training wrote" in refusal(capsys)


def test_weights_that_are_not_finite_are_refused(copied, capsys):
    tensors = load_file(copied.weights_file)
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    save_file(tensors, copied.weights_file)
    without_checksum(copied)
    assert run_main("evaluate", str(copied.path)) == 2
    assert "model.safetensors holds weights that are not finite" in refusal(capsys)


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"[1]"])
def test_a_damaged_checkpoint_is_one_line_and_the_one_before_serves(copied, capsys, content):
    copied.train_file.unlink()
    for file in (copied.checkpoints / "epoch-2").iterdir():
        file.write_bytes(content)
    assert run_main("fit", NAME, *SETTINGS, "--run-dir", str(copied.path), "--resume") == 2
    lines = capsys.readouterr().err.splitlines()
    assert "epoch-2 cannot be read" in lines[-1]
    assert lines[-1].endswith("remove it to go on from the one before")
    shutil.rmtree(copied.checkpoints / "epoch-2")
    (copied.checkpoints / f"{PARTIAL}epoch-2").mkdir()
    assert run_main("fit", NAME, *SETTINGS, "--run-dir", str(copied.path), "--resume") == 0
    assert sorted(path.name for path in copied.checkpoints.iterdir()) == ["epoch-1", "epoch-2"]


def test_a_checkpoint_that_cannot_be_written_does_not_end_training(tmp_path, monkeypatch, capsys):
    save = checkpoints._save_state

    def full_the_second_time(accelerator, folder):
        save(accelerator, folder)
        if "epoch-2" in folder.name:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_save_state", full_the_second_time)
    assert run_main("fit", NAME, *SETTINGS, "--run-dir", str(tmp_path / "run")) == 0
    assert "epoch-2 cannot be written (No space left on device)" in capsys.readouterr().err
    folder = RunFolder(tmp_path / "run")
    assert [path.name for path in folder.checkpoints.iterdir()] == ["epoch-1"]
    assert run_main("evaluate", str(folder.path)) == 0
