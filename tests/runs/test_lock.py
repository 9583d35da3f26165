"""One writer a folder."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from camal_rl.rl.training import prepare, run
from camal_rl.runs.loading import load_config
from camal_rl.runs.lock import LOCK, FolderInUse, locked, wait_until_free
from camal_rl.runs.run_folder import RunFolder
from tests.command_line import refusal, run_main
from tests.conftest import TINY

HOLD = """
import multiprocessing, os, sys, time
from pathlib import Path
from camal_rl.runs.lock import locked
def child():
    print(os.getpid(), flush=True)
    time.sleep(600)
with locked(Path(sys.argv[1]), "training"):
    multiprocessing.get_context("fork").Process(target=child).start()
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Return a process, with a forked child, that writes into the folder."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        child = int(process.stdout.readline())
        yield process
        process.kill()
        os.kill(child, signal.SIGKILL)


def test_a_second_process_is_refused_in_one_line(tmp_path, holder):
    message = rf"{tmp_path.name} is in use by another training, process {holder.pid}; wait until it ends"
    with pytest.raises(FolderInUse, match=message), locked(tmp_path, "training"):
        pass


def test_a_killed_process_leaves_no_lock_though_its_child_lives(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path, "training"):
        pass
    assert not (tmp_path / LOCK).exists()


def test_the_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), locked(tmp_path, "training"):
        raise RuntimeError
    with locked(tmp_path, "training"), pytest.raises(FolderInUse), locked(tmp_path, "training"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_second_of_two_trainings_is_refused_and_writes_nothing(tmp_path):
    folder = RunFolder(tmp_path / "run")
    first, second = (prepare(load_config("toy_grid", [*TINY, f"seed={seed}"]), folder) for seed in (0, 1))
    with folder.writing():
        folder.create(first.config, ["first"], {})
        with pytest.raises(FolderInUse, match="run is in use by another training"):
            run(second, ["second"])
        first.close()
    assert (folder.path / "command.txt").read_text() == "first\n"
    assert folder.config().seed == 0


def test_a_training_that_began_in_the_meantime_is_not_written_over(tmp_path):
    folder = RunFolder(tmp_path / "run")
    late = prepare(load_config("toy_grid", TINY), folder)
    with folder.writing():
        folder.create(late.config, ["first"], {})
    with pytest.raises(FileExistsError, match="exists and is not empty"):
        run(late, ["second"])
    assert (folder.path / "command.txt").read_text() == "first\n"


def test_a_run_that_was_killed_before_it_wrote_a_file_is_no_run(tmp_path):
    (tmp_path / LOCK).write_text("1\n")
    (tmp_path / ".partial-1-config.yaml").write_text("env:")
    folder = RunFolder(tmp_path)
    folder.check_free()
    with folder.writing():
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]


@pytest.mark.parametrize("verb", ["train", "compare"])
def test_the_command_line_refuses_a_folder_in_use(in_tmp, capsys, holder, verb, tmp_path):
    option = {"train": "--run-dir", "compare": "--out"}[verb]
    assert run_main(verb, "toy_grid", *TINY, option, str(tmp_path)) == 2
    assert "is in use by another" in refusal(capsys)


def test_waiting_for_a_folder_ends_when_it_is_free_or_the_time_is_over(tmp_path):
    wait_until_free(tmp_path / "not-there", 60)
    wait_until_free(tmp_path, 60)
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path, "training"):
        wait_until_free(tmp_path, 0)
        freeing = threading.Thread(target=wait_until_free, args=(tmp_path, 60))
        freeing.start()
    freeing.join()
    assert list(tmp_path.iterdir()) == []
