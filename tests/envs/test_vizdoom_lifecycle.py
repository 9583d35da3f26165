"""ViZDoom's engines and their files are gone when the program that uses them is, however it ended."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from camal_rl.envs.vizdoom.env import make_env
from camal_rl.envs.vizdoom.supervisor import FOLDER_PREFIX, SHARED_NAMES

if importlib.util.find_spec("vizdoom") is None and "CI" not in os.environ:
    pytest.skip("ViZDoom is not installed", allow_module_level=True)

if not Path("/proc/self/environ").exists():
    pytest.skip("needs /proc to find a program's processes", allow_module_level=True)

MARK = "CAMAL_RL_TEST_LIFECYCLE"
PATIENCE_SECONDS = 60
PROGRAM = """
import numpy as np
from camal_rl.envs.vizdoom.env import make_env

environments = [make_env("Basic"), make_env("TakeCover")]
for env in environments:
    env.reset(seed=0)
print("playing", flush=True)
while True:
    for env in environments:
        if any(env.step(np.int64(1))[2:4]):
            env.reset()
"""


def marked_processes(token):
    """Return the command lines of the processes that inherited a token from a program."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={token}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().decode()
        except OSError:
            continue
    return found


def instances(processes):
    """Return the engines' instance names, which are part of the names of all their files."""
    lines = [line.split("\0") for line in processes.values() if "+viz_instance_id" in line]
    return {words[words.index("+viz_instance_id") + 1] for words in lines}


def files_of(names, temporary):
    """Return the files and folders of engines that are there."""
    shared = [Path("/dev/shm", f"{prefix}{name}") for prefix in SHARED_NAMES for name in names]
    return [path for path in (*shared, *temporary.iterdir()) if path.exists()]


def eventually(condition):
    """Return whether a condition comes true in good time."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("number", "whole_group"), [(signal.SIGKILL, False), (signal.SIGINT, True)], ids=["SIGKILL", "Ctrl-C"]
)
def test_a_kill_leaves_nothing(tmp_path, number, whole_group):
    working, temporary = tmp_path / "working", tmp_path / "temporary"
    working.mkdir()
    temporary.mkdir()
    token = f"{os.getpid()}-{time.monotonic_ns()}"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=working,
        env={**os.environ, MARK: token, "TMPDIR": str(temporary)},
        start_new_session=True,
        # pytest may have been started with Ctrl-C switched off, which programs inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout.readline() == b"playing\n"
        processes = marked_processes(token)
        names = instances(processes)
        # Of each engine: the supervisor, the engine, and a folder; and three names in shared memory.
        assert len(names) == 2
        assert len(processes) == 5
        assert len(files_of(names, temporary)) == 2 * (1 + len(SHARED_NAMES))
        assert all(path.name.startswith(FOLDER_PREFIX) for path in temporary.iterdir())
        if whole_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        process.wait(PATIENCE_SECONDS)
        assert eventually(lambda: not marked_processes(token))
        assert eventually(lambda: not files_of(names, temporary))
        assert list(working.iterdir()) == []
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        for pid in marked_processes(token):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def engine(monkeypatch, tmp_path):
    """Give an environment that plays, with its supervisor's and its engine's process."""
    token = f"{os.getpid()}-{time.monotonic_ns()}"
    monkeypatch.setenv(MARK, token)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    env = make_env("Basic")
    env.reset(seed=0)
    processes = marked_processes(token)
    supervisor = next(pid for pid, line in processes.items() if "supervisor.py" in line)
    engine = next(pid for pid in processes if pid != supervisor)
    yield env, supervisor, engine
    env.close()
    assert not marked_processes(token)


def test_an_engine_that_dies_is_reported_and_can_be_started_again(engine, tmp_path):
    env, _, pid = engine
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Exception, match="exited unexpectedly"):
        env.step(np.int64(1))
    assert eventually(lambda: not list(tmp_path.iterdir()))
    image, _ = env.reset(seed=0)
    assert image.max() > 0


def test_ctrl_c_never_reaches_an_engine_not_even_while_it_starts(engine):
    """It is blocked from before the first program of the chain runs; here it is not."""
    _, *pids = engine
    for pid in pids:
        blocked = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigBlk" in line)
        assert int(blocked.split()[1], 16) & 1 << (signal.SIGINT - 1)
    assert not {signal.SIGINT, signal.SIGTERM} & signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_supervisor_that_is_told_to_end_removes_everything(engine, tmp_path):
    _, supervisor, pid = engine
    os.kill(supervisor, signal.SIGTERM)
    assert eventually(lambda: not list(tmp_path.iterdir()) and status(pid) == "Z")


def test_an_engine_dies_with_its_supervisor(engine):
    _, supervisor, pid = engine
    os.kill(supervisor, signal.SIGKILL)
    assert eventually(lambda: status(pid) == "Z")


def status(pid):
    """Return the letter of a process's state: Z for one that has ended, also if nothing is left of it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
