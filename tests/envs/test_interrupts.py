"""Ctrl-C goes to the whole process group of a terminal: environments survive it, so that training can end in order."""

import importlib.util
import os
import signal
import subprocess
import sys

import pytest

from camal_rl.envs import make_segmented_vec
from camal_rl.envs.guarded_env import EnvironmentFailure

PROGRAM = """
import os, signal, sys, time
from functools import partial


def main():
    import gymnasium
    import numpy as np
    from camal_rl.envs import make_segmented_vec, make_vec

    caught = []
    signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    if sys.argv[1] == "workers":
        venv = make_segmented_vec("camal_rl/toy_grid-default-v0", 2, subproc=True)
    else:
        venv = make_vec(sys.argv[1], 1, 0)
    venv.reset()
    for step in range(9):
        if step % 3 == 1:
            os.killpg(0, signal.SIGINT)
            while len(caught) < (step + 2) // 3:
                time.sleep(0.01)
        venv.step(np.zeros(venv.num_envs, dtype=np.int64))
    venv.reset()
    venv.close()
    print("closed", len(caught))


if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("what", ["workers", "vizdoom/Basic"])
def test_environments_in_other_processes_go_on_stepping(what, tmp_path):
    if what.startswith("vizdoom") and importlib.util.find_spec("vizdoom") is None and "CI" not in os.environ:
        pytest.skip("ViZDoom is not installed")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program), what],
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )
    assert done.stdout.strip() == "closed 3", done.stderr


def test_a_worker_still_ends_by_sigterm():
    venv = make_segmented_vec("camal_rl/toy_grid-default-v0", 1, subproc=True)
    venv.reset()
    os.kill(venv.venv.processes[0].pid, signal.SIGTERM)
    with pytest.raises(EnvironmentFailure, match="SIGTERM"):
        venv.reset()
