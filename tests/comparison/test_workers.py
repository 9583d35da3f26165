"""The processes of a comparison: one that dies takes no other along, and interrupted ones are gone on with."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from camal_rl.comparison import worker
from camal_rl.comparison.local import _Workers
from camal_rl.comparison.outcomes import Cells
from camal_rl.failures import DivergedError
from camal_rl.runs.checkpoints import checkpoint_folders
from camal_rl.runs.run_folder import RunFolder
from tests.command_line import run_main
from tests.conftest import TINY

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the tests send signals")


@dataclass(frozen=True)
class FakeRun:
    """A run whose worker does what its label says, and notes each try in its folder."""

    label: str
    folder: RunFolder

    def is_finished(self):
        return False


def fake_work(run, command, messages):
    run.folder.path.mkdir(exist_ok=True)
    tries = run.folder.path / "tries"
    tries.write_text(tries.read_text() + "." if tries.exists() else ".")
    first = len(tries.read_text()) == 1
    if run.label == "killed once" and first:
        os.kill(os.getpid(), signal.SIGKILL)
    if run.label == "sends half a message":
        os.write(messages.fileno(), b"\0\0\1\0half")
        os._exit(7)

    def execute(*_):
        if run.label == "bug":
            raise KeyError("no such thing")
        if run.label == "diverges":
            raise DivergedError(3, "the loss", "camal", "lower it")
        return worker.DONE

    worker._execute = execute
    worker.work(run, command, messages)


def test_what_happens_to_a_worker_happens_to_no_other(tmp_path):
    labels = ["killed once", "sends half a message", "bug", "diverges", "good"]
    runs = [FakeRun(label, RunFolder(tmp_path / label)) for label in labels]
    lines, shares = [], {}
    cells = Cells(runs, lambda index, share, words: shares.update({index: (share, words)}), lines.append)
    failures, number = _Workers(cells, [], fake_work).execute(3)
    assert number is None
    told = {labels[index]: (failure.exit_code, str(failure)) for index, failure in failures.items()}
    assert told == {
        "bug": (1, f"KeyError: 'no such thing'; the traceback is in {tmp_path / 'bug' / 'error.txt'}"),
        "diverges": (3, "training diverged at step 3: the loss is not finite (camal); lower it"),
        "sends half a message": (1, "its process ended with exit code 7, again; run the same command to retry"),
    }  # fmt: skip
    tries = {run.label: len((run.folder.path / "tries").read_text()) for run in runs}
    assert tries == {"killed once": 2, "sends half a message": 2, "bug": 1, "diverges": 1, "good": 1}
    assert sorted(lines) == [
        "killed once: its process was ended by SIGKILL, as the system does when memory runs out; it is retried once",
        "sends half a message: its process ended with exit code 7; it is retried once",
    ]
    assert {labels[index] for index, (share, words) in shares.items() if (share, words) == (1, "done")} == {
        "killed once", "good",
    }  # fmt: skip
    assert 'raise KeyError("no such thing")' in (tmp_path / "bug" / "error.txt").read_text()


_SLEEPERS = """
import sys, time
from pathlib import Path
from tests.comparison.test_workers import FakeRun, sleeps
from camal_rl.comparison.local import _Workers
from camal_rl.comparison.outcomes import Cells
from camal_rl.runs.run_folder import RunFolder

if __name__ == "__main__":
    runs = [FakeRun("a", RunFolder(Path(sys.argv[1]) / "a"))]
    _Workers(Cells(runs, lambda *_: None, print), [], sleeps).execute(2)
"""


def sleeps(run, command, messages):
    worker.end_with_parent()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    signal.signal(signal.SIGTERM, lambda *_: None)  # a step that takes long
    run.folder.path.mkdir()
    (run.folder.path / "pid").write_text(str(os.getpid()))
    while True:
        time.sleep(60)


def wait_until(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ended(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("numbers", [[signal.SIGKILL], [signal.SIGTERM, signal.SIGTERM]])
def test_no_worker_and_no_file_outlives_a_comparison_that_is_ended_at_once(tmp_path, numbers):
    script, temporary = tmp_path / "sleepers.py", tmp_path / "temporary"
    script.write_text(_SLEEPERS)
    temporary.mkdir()
    here = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(Path.cwd())}
    file = tmp_path / "a" / "pid"
    with subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=here) as parent:
        wait_until(lambda: file.is_file() and file.read_text())
        for number in numbers:
            parent.send_signal(number)
            time.sleep(1)
    assert parent.returncode == -numbers[0]
    wait_until(lambda: ended(int(file.read_text())))
    assert [path.name for path in temporary.iterdir() if path.name.startswith("pymp-")] == []


def ending_run(planned, command, messages):
    """The main function of a worker process that gets signals while it ends."""
    worker.execute_run = lambda *_: None
    worker.work(planned, command, messages)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
    messages.send("ends by itself")


def test_a_signal_after_its_run_does_not_interrupt_a_worker():
    """Ctrl-C reaches a worker from the terminal and, a moment later, from the main process."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=ending_run, args=(None, [], sender))
    process.start()
    sender.close()
    assert receiver.recv() == "ends by itself"
    process.join()
    assert process.exitcode == 0


GRID = [
    "compare", "toy_grid", *TINY, "log.checkpoint_every=256", "log.overlay_every=0", "evaluation.episodes=4",
    "evaluation.frames=4", "--seeds", "1", "--jobs", "2", "--no-progress", "total_timesteps=1024", "--out",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "cmp"
    assert run_main(*GRID, str(out)) == 0
    return out


def measured(folder):
    return {path.parent.name: json.loads(path.read_text())["results"] for path in sorted(folder.glob("*/metrics.json"))}


def interrupted(out):
    """Start the comparison, press Ctrl-C when a run has a checkpoint, and return exit code and stderr."""
    code = f"from camal_rl.cli.main import main; main({[*GRID, str(out)]!r})"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True) as comparison:
        wait_until(lambda: checkpoint_folders(RunFolder(out / "camal-seed0").checkpoints))
        os.killpg(comparison.pid, signal.SIGINT)  # a terminal sends it to every process of the group
        _, told = comparison.communicate()
    return comparison.returncode, told


def test_an_interrupted_comparison_goes_on_to_the_same_figures(tmp_path, whole):
    out = tmp_path / "cmp"
    code, told = interrupted(out)
    assert code == 130
    assert told.splitlines()[-1] == "interrupted with 2 of 2 runs unfinished; run the same command to resume"
    assert "Traceback" not in told
    assert told.count("Ctrl-C: finishing and saving the current step") == 1
    assert run_main(*GRID, str(out)) == 0
    assert measured(out) == measured(whole)
    models = {path.name: path.stat().st_mtime_ns for path in out.glob("*/model.zip")}
    assert run_main(*GRID, str(out), "--resume", "--methods", "camal,ppo") == 0
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*/model.zip")} == models
