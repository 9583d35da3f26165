"""A small, fixed part of each attack; ``python -m tests.endurance`` runs hundreds of each."""

import json
import signal
import subprocess

import pytest

from tests.endurance.files import damaged_checkpoints, damaged_models, damaged_results
from tests.endurance.full_disk import full_disks
from tests.endurance.grid import KEPT, differences
from tests.endurance.kills import KillTest
from tests.endurance.settings import drawn_commands, drawn_configurations

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("attack", [damaged_checkpoints, damaged_models, damaged_results])
def test_damaged_files_are_refused_or_told(tmp_path, attack):
    assert attack(tmp_path, 12, seed=1) == []


@pytest.mark.parametrize("attack", [drawn_configurations, drawn_commands])
def test_drawn_input_is_refused_in_one_line_or_works(tmp_path, attack):
    assert attack(tmp_path, 40, seed=2) == []


def test_a_training_that_is_killed_is_resumed_to_the_same_end(tmp_path):
    kills = KillTest("toy_grid", tmp_path, seed=0)
    for number, by in enumerate((signal.SIGKILL, signal.SIGTERM)):
        assert kills.run(number, 1, by).problems == []


def mounts_in_its_own_name_space():
    try:
        done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.mark.skipif(not mounts_in_its_own_name_space(), reason="this user may not mount file systems here")
def test_a_training_on_a_full_disk_is_resumed_when_there_is_room(tmp_path):
    assert full_disks(tmp_path, 1, seed=4) == []


def test_a_grid_is_compared_with_the_kept_one_in_every_figure(tmp_path):
    kept = json.loads(KEPT.read_text())
    (tmp_path / "comparison.json").write_text(KEPT.read_text())
    assert differences(kept, tmp_path, 8) == []
    kept["figures"]["return/held_out"]["camal"]["seeds"]["7"] += 1e-15
    assert differences(kept, tmp_path, 7) == []
    (problem,) = differences(kept, tmp_path, 8)
    assert problem.startswith("camal seed 7: return/held_out is ")
