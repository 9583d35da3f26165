"""Files appear whole or not at all, whatever ends the program."""

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import camal_rl.atomic
from camal_rl.atomic import PARTIAL, WriteError, remove_partial, replacing, replacing_folder, write_text
from camal_rl.overlays import write_png
from camal_rl.runs.folders import check_new_folder, check_writable

KILLED_IN_THE_MIDDLE = """
import sys, time
from pathlib import Path
from camal_rl.atomic import {function}
with {function}(Path(sys.argv[1])) as partial:
    target = partial / "weights" if partial.is_dir() else partial
    with target.open("wb") as stream:
        stream.write(b"half")
        stream.flush()
        print("now", flush=True)
        time.sleep(600)
"""


def killed_while_writing(path, function):
    """Let another process begin to write a file, and kill it."""
    code = KILLED_IN_THE_MIDDLE.format(function=function)
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"now\n"
        process.send_signal(signal.SIGKILL)


def begin_and_raise(path, error):
    with replacing(path) as partial:
        partial.write_text("ha")
        raise error


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(PARTIAL))


def test_a_kill_in_a_write_leaves_the_former_file(tmp_path):
    path = tmp_path / "model.zip"
    path.write_text("former")
    killed_while_writing(path, "replacing")
    assert path.read_text() == "former"
    assert names(tmp_path) == ["model.zip"]
    remove_partial(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["model.zip"]


def test_a_kill_in_a_write_leaves_the_former_folder_and_no_new_one(tmp_path):
    former = tmp_path / "epoch-1"
    former.mkdir()
    (former / "weights").write_text("former")
    killed_while_writing(former, "replacing_folder")
    killed_while_writing(tmp_path / "epoch-2", "replacing_folder")
    assert (former / "weights").read_text() == "former"
    assert names(tmp_path) == ["epoch-1"]
    with replacing_folder(tmp_path / "epoch-2") as partial:
        (partial / "weights").write_text("whole")
    assert names(tmp_path) == ["epoch-1", "epoch-2"]


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_an_error_in_a_write_leaves_the_former_file_alone(tmp_path, error):
    path = tmp_path / "metrics.json"
    path.write_text("former")
    with pytest.raises((RuntimeError, KeyboardInterrupt, WriteError)):
        begin_and_raise(path, error)
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"metrics.json": "former"}


def test_a_full_disk_is_one_line_that_names_the_file_and_what_is_whole(tmp_path):
    path = tmp_path / "metrics.json"
    full = OSError(errno.ENOSPC, "No space")
    with pytest.raises(WriteError, match=r"metrics\.json cannot be written \(No space\); nothing was written"):
        begin_and_raise(path, full)
    path.write_text("former")
    with pytest.raises(WriteError, match=r"metrics\.json cannot be written .* the earlier one is intact"):
        begin_and_raise(path, full)


def test_a_file_in_place_of_a_folder_is_one_line(tmp_path):
    (tmp_path / "figures").write_text("mine")
    with pytest.raises(WriteError, match=r"cannot be written \(Not a directory\)"):
        write_text(tmp_path / "figures" / "a.txt", "text")


def test_content_and_name_are_on_the_disk_in_this_order(tmp_path, monkeypatch):
    seen = []
    flush, replace = camal_rl.atomic._flush, Path.replace
    monkeypatch.setattr(camal_rl.atomic, "_flush", lambda path: (seen.append(path), flush(path)))
    monkeypatch.setattr(Path, "replace", lambda path, to: (seen.append("renamed"), replace(path, to))[1])
    write_text(tmp_path / "a.txt", "text")
    assert seen[0].name.startswith(PARTIAL)
    assert seen[1:] == ["renamed", tmp_path]


@pytest.mark.parametrize("name", ["a" * 251 + ".txt", "ä" * 120 + ".json", "a.b.c"])
def test_every_name_that_a_file_can_have_can_be_written(tmp_path, name):
    write_text(tmp_path / name, "text")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [(name, "text")]


def test_a_picture_is_written_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_text("former")
    monkeypatch.setattr(Path, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space")))
    with pytest.raises(WriteError, match=r"a\.png cannot be written"):
        write_png(path, np.zeros((2, 2, 3), np.uint8))
    assert path.read_text() == "former"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "folder is a folder, not a file"),
        ("file/metrics.json", "file is not a folder"),
        ("file/deeper/metrics.json", "file is not a folder"),
        ("a" * 300, "a file's name may have at most 255 bytes"),
        ("a" * 300 + "/metrics.json", "a folder's name may have at most 255 bytes"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path, name, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=message):
        check_writable(tmp_path / name)
    assert names(tmp_path) == ["file", "folder"]


def test_a_read_only_disk_is_told_before_the_work(tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(OSError, match=r"cannot be written \(Read-only file system\); give another folder"):
        check_new_folder(tmp_path / "new")


def test_a_full_disk_in_the_middle_of_a_write_leaves_the_former_file(tmp_path):
    path = tmp_path / "big.txt"
    path.write_text("former")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(WriteError, match=r"big\.txt cannot be written"):
            write_text(path, "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"big.txt": "former"}
