"""Checkpoints are whole or not used, and hold what was put in."""

import json
import warnings

import numpy as np
import pytest
import torch

from camal_rl.runs.checkpoints import MANIFEST, checkpoint_folders, newest_checkpoint, read_checkpoint, write_checkpoint
from camal_rl.runs.folders import CheckpointWarning

STATE = {"training": {"weights": torch.arange(5.0), "steps": 3}, "environments": [b"abc", np.arange(3, dtype="uint32")]}


def test_a_checkpoint_holds_what_was_put_in(tmp_path):
    path = write_checkpoint(tmp_path, 64, STATE, more_files=lambda folder: (folder / "more.txt").write_text("more"))
    found = read_checkpoint(path)
    assert found.step == 64
    assert (path / "more.txt").read_text() == "more"
    assert torch.equal(found.parts["training"]["weights"], torch.arange(5.0))
    assert found.parts["environments"][0] == b"abc"
    assert found.parts["environments"][1].tolist() == [0, 1, 2]


def test_the_last_ones_are_kept_in_the_order_of_steps(tmp_path):
    for step in (9, 10, 100, 11):
        write_checkpoint(tmp_path, step, STATE, keep=3)
    assert [step for step, _ in checkpoint_folders(tmp_path)] == [10, 11, 100]


def test_a_checkpoint_of_the_same_step_takes_the_place_of_the_former(tmp_path):
    write_checkpoint(tmp_path, 1, STATE)
    write_checkpoint(tmp_path, 1, {"training": {"steps": 4}})
    assert read_checkpoint(checkpoint_folders(tmp_path)[0][1]).parts == {"training": {"steps": 4}}


def test_without_checkpoints_there_is_none(tmp_path):
    (tmp_path / "step-12").write_text("a file")
    (tmp_path / "epoch-3").mkdir()
    assert newest_checkpoint(tmp_path) is None
    assert newest_checkpoint(tmp_path / "missing") is None


def remove(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [remove, cut, flip, empty])
@pytest.mark.parametrize("name", ["training.safetensors", "training.json", "environments.json", "more.txt", MANIFEST])
def test_a_damaged_one_is_told_and_the_one_before_it_is_used(tmp_path, damage, name):
    for step in (1, 2):
        write_checkpoint(tmp_path, step, STATE, more_files=lambda folder: (folder / "more.txt").write_text("more"))
    damage(tmp_path / "step-000000000002" / name)
    if (name, damage) == (MANIFEST, cut):  # the last character is a line's end
        (tmp_path / "step-000000000002" / MANIFEST).write_text("{")
    with pytest.warns(CheckpointWarning, match="step-000000000002.*the checkpoint before it is used"):
        found = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 1


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"version": 2},
        {"step": "1"},
        {"step": True},
        {"parts": None},
        {"parts": ["../x"]},
        {"files": []},
        {"files": {"../../model.zip": {"bytes": 1, "sha256": ""}}},
        {"files": {"/etc/passwd": {"bytes": 1, "sha256": ""}}},
        {"files": {"training.json": 3}},
    ],
)
def test_a_foreign_manifest_is_refused_in_one_line(tmp_path, change):
    path = write_checkpoint(tmp_path, 1, STATE)
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps({**manifest, **change}))
    with pytest.raises(ValueError, match=r"step-000000000001") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_link_in_the_place_of_a_file_is_refused(tmp_path):
    path = write_checkpoint(tmp_path, 1, STATE)
    (path / "training.json").rename(tmp_path / "elsewhere.json")
    (path / "training.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ValueError, match=r"training\.json is missing"):
        read_checkpoint(path)


def test_a_whole_one_gives_no_warning(tmp_path):
    write_checkpoint(tmp_path, 1, STATE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        newest_checkpoint(tmp_path)
