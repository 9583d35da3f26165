"""Weights and checkpoints of classifiers: written whole, and refused in one line where they are damaged."""

import random
import shutil

import pytest
from safetensors.torch import load_file, save_file

from camal_rl.atomic import PARTIAL
from camal_rl.runs import checkpoints
from camal_rl.runs.json_files import read_json, write_json
from camal_rl.runs.run_folder import RunFolder
from tests.command_line import refusal, run_main
from tests.supervised.test_fit_cli import NAME, TINY

SETTINGS = [*TINY, "camal.weight=0", "log.checkpoint_every=1"]
FIRST, LAST = "step-000000000002", "step-000000000004"


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
    assert "model.safetensors contains non-finite weights" in refusal(capsys)


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"[1]"])
def test_a_damaged_checkpoint_is_a_warning_and_the_one_before_serves(copied, capsys, content):
    copied.train_file.unlink()
    for file in (copied.checkpoints / LAST).iterdir():
        file.write_bytes(content)
    (copied.checkpoints / f"{PARTIAL}{LAST}").mkdir()
    assert run_main("fit", NAME, *SETTINGS, "--run-dir", str(copied.path), "--resume") == 0
    told = capsys.readouterr().err.splitlines()
    (warning,) = (line for line in told if "warning" in line)
    assert LAST in warning
    assert warning.endswith("the checkpoint before it is used")
    assert f"training continues from step 2 in {copied.path}" in told
    assert sorted(path.name for path in copied.checkpoints.iterdir()) == [FIRST, LAST]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), TypeError("state.x is a Generator")])
def test_a_checkpoint_that_cannot_be_written_does_not_end_training(tmp_path, monkeypatch, capsys, error):
    write = checkpoints._write_part

    def full_the_second_time(folder, name, tree):
        write(folder, name, tree)
        if LAST in folder.name:
            raise error

    monkeypatch.setattr(checkpoints, "_write_part", full_the_second_time)
    assert run_main("fit", NAME, *SETTINGS, "--run-dir", str(tmp_path / "run")) == 0
    assert "training continues without this checkpoint" in capsys.readouterr().err
    folder = RunFolder(tmp_path / "run")
    assert [path.name for path in folder.checkpoints.iterdir()] == [FIRST]
    assert run_main("evaluate", str(folder.path)) == 0
