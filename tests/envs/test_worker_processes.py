"""Environments in processes of their own: what goes wrong there is said once, in one line."""

import copy
import multiprocessing
import subprocess
import sys
import threading
from functools import partial

import gymnasium
import pytest

from camal_rl.envs import make_segmented_vec, make_vec
from camal_rl.envs.worker_processes import WorkersError, WorkerVecEnv
from tests.envs.test_checker import SPEC, Ball

SCRIPT = """
import gymnasium
import numpy as np
from camal_rl.envs import SegmentationSpec, make_segmented_vec


class Dot(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros((4, 4, 3), np.uint8), {"segmentation": np.zeros((4, 4), np.uint8)}


spec = SegmentationSpec(names=("background", "dot"), relevant=("dot",))
env = make_segmented_vec(Dot, num_envs=2, spec=spec, subproc=True)
print(env.reset().shape)
env.close()
"""


def of_this_module(name):
    """Make an environment that is pickled by reference in a worker."""
    return {"ball": Ball, "broken": Broken}[name]()


class Broken(Ball):
    def __init__(self):
        raise OSError("no level file")


def run(*arguments, **given):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300, check=False, **given
    )


def test_a_script_without_a_guard_ends_in_one_line_that_says_what_to_add(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    done = run(str(path))
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert done.stdout == ""
    assert [line for line in lines if "Error: " in line] == lines[-1:]
    assert 'put the code that makes the environment and trains under `if __name__ == "__main__":`' in lines[-1]
    assert done.stderr.count("Traceback") == 1
    assert len(lines) < 12


def test_a_program_from_the_standard_input_needs_no_guard():
    done = run("-", input=SCRIPT.replace("num_envs=2", "num_envs=1"))
    assert (done.returncode, done.stdout) == (0, "(1, 4, 4, 3)\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "start",
    [
        lambda: make_segmented_vec(Ball, 2, subproc=True),
        lambda: make_vec("minigrid/Empty-5x5", 2, 0, subproc=True),
        lambda: make_vec("vizdoom/Basic", 2, 0, subproc=True),
        lambda: make_vec("atari/Freeway", 2, 0, subproc=True),
        lambda: make_vec("crafter/Reward", 2, 0, subproc=True),
    ],
    ids=["own", "minigrid", "vizdoom", "atari", "crafter"],
)
def test_a_worker_that_imports_the_program_ends_silently(start, monkeypatch, capfd):
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    before = multiprocessing.active_children()
    with pytest.raises(SystemExit) as ended:
        start()
    assert ended.value.code not in (0, 1)
    assert multiprocessing.active_children() == before
    assert capfd.readouterr() == ("", "")


def test_an_environment_in_this_process_needs_no_guard(monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    assert make_segmented_vec(Ball, 2).reset().shape == (2, 8, 8, 3)


def test_what_cannot_be_sent_is_refused_before_a_process_starts():
    before = multiprocessing.active_children()
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"cannot be sent to worker processes: cannot pickle .*lock.*subproc=False"):
        make_segmented_vec(lambda: Ball() if lock else None, 2, spec=SPEC, subproc=True)
    assert multiprocessing.active_children() == before


def test_an_environment_that_cannot_be_made_in_a_worker_says_why_and_leaves_no_process():
    before = multiprocessing.active_children()
    with pytest.raises(WorkersError, match=r"cannot be made in a worker process: OSError: no level file") as caught:
        WorkerVecEnv([partial(of_this_module, "ball"), partial(of_this_module, "broken")])
    assert "\n" not in str(caught.value)
    assert multiprocessing.active_children() == before


class Ends(Ball):
    def __init__(self):
        sys.exit(3)


def test_a_worker_that_ends_by_itself_is_told_from_one_without_a_guard():
    before = multiprocessing.active_children()
    with pytest.raises(WorkersError, match="ended with code 3 before its environment was made"):
        make_segmented_vec(Ends, 1, spec=SPEC, subproc=True)
    assert multiprocessing.active_children() == before


def test_environments_instead_of_what_makes_them_are_refused():
    with pytest.raises(TypeError, match=r"class or function that makes a new environment at each call, got <.*Ball"):
        make_segmented_vec(Ball(), 2)
    with pytest.raises(gymnasium.error.NameNotFound):
        make_segmented_vec("Nothing-v0", 2)


def test_copies_of_workers_are_refused():
    with pytest.raises(TypeError, match="processes of their own cannot be copied or pickled"):
        copy.deepcopy(WorkerVecEnv.__new__(WorkerVecEnv))
