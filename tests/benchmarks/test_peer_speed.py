"""The program that compares training speeds: its sums by hand, its turns with a small program, its participants."""

import argparse
import ast
import os
import sys

import pytest
import torch
from torch import nn

from tests.benchmarks.conftest import FOLDER, NAMES

PROGRAM = """
import json, os, sys, time
os.setpgrp()
print(json.dumps({"layers": [[2, 3]]}), flush=True)
while int(sys.argv[1]) and not os.path.exists(os.path.join(os.path.dirname(__file__), "go")):
    time.sleep(0.01)
for update in range(int(sys.argv[1])):
    print(json.dumps({"cpu_seconds": 2.0 * (update + 1)}), flush=True)
if sys.argv[2:]:
    sys.exit(sys.argv[2])
"""


@pytest.fixture
def peer_speed(load):
    """Return the program as a module."""
    pytest.importorskip("procgen" if sys.version_info < (3, 13) else "procgen_gym")
    return load("peer_speed")


@pytest.fixture
def started(load, tmp_path):
    """Return a function that starts a small program for some updates, which can complain in the end."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    with (tmp_path / "log").open("w+") as log:
        yield lambda updates, *words: load("peer_speed_process").PausedProcess(
            [sys.executable, str(script), str(updates), *words], steps=100, updates=updates, log=log
        )


def test_speeds_and_ratios_are_of_the_same_round(peer_speed):
    camal, stock = "CAMAL, bfloat16", "stock SB3"
    rounds = [{camal: (40.0, 20.0), stock: (10.0, 5.0)}, {camal: (60.0, 30.0), stock: (10.0, 5.0)}]
    rounds += [{camal: (30.0, 15.0), stock: (5.0, 5.0)}]
    floors = [{"bfloat16": 100.0, "float32": 20.0}, {"bfloat16": 100.0, "float32": 40.0}]
    table = peer_speed.summary(rounds, [*floors, floors[0]])
    assert table[camal]["wall"] == {"median": 40.0, "min": 30.0, "max": 60.0}
    assert table[camal]["over_floor"] == {"median": 0.4, "min": 0.3, "max": 0.6}
    assert table[stock]["over_floor"] == {"median": 0.25, "min": 0.25, "max": 0.5}
    assert table[stock]["CAMAL, bfloat16 over it"] == {"median": 6.0, "min": 4.0, "max": 6.0}
    assert "CAMAL, float32 over it" not in table[stock]
    assert [row["precision"] for row in table.values()] == ["bfloat16", "float32"]


def test_multiplications_of_a_network_are_those_worked_out_by_hand(load):
    floor = load("arithmetic_floor")
    small = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4, 5))
    assert floor.multiplications(small, torch.zeros(1, 3, 4, 4)) == 2 * 2 * 4 * (3 * 9) + 4 * 4 * 5
    assert not any(layer._forward_hooks for layer in small)


def test_the_floor_counts_each_thread(load, monkeypatch):
    floor = load("arithmetic_floor")
    monkeypatch.setattr(floor, "product_rate", {torch.bfloat16: 600.0, torch.float32: 200.0}.get)
    assert floor.floors(multiplications_of_a_step=10, threads=2) == {"bfloat16": 120.0, "float32": 40.0}


def test_a_program_stands_still_until_it_is_its_turn_and_ends_by_itself(started, tmp_path):
    with started(2) as process:
        assert process.description == {"layers": [[2, 3]]}
        os.waitid(os.P_PID, process._process.pid, os.WSTOPPED)  # returns when it has stopped
        (tmp_path / "go").touch()
        for _ in range(2):
            process.send("any")
            wall, cpu = process.recv()
            assert wall > 0
            assert cpu == 50.0
    assert process._process.returncode == 0


def test_a_program_is_ended_where_it_is_not_done(started):
    with started(2) as process:
        process.send("any")
    assert process._process.returncode != 0


def test_a_program_that_ends_too_early_says_why(started):
    with started(0, "no simulator") as process:
        process.send("any")
        with pytest.raises(RuntimeError, match=r"ended before its time: no simulator$"):
            process.recv()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rounds", "0"], "--rounds must be at least 1, got 0"),
        (["--num-envs", "3", "--n-steps", "200"], "3 environments x 200 steps are 600, which is no multiple"),
        (["--num-envs", "1", "--n-steps", "1"], "minibatches of 1 frames, 2 or more"),
        (["--frame-fraction", "0"], "--frame-fraction must be above 0 and at most 1, got 0"),
        (["--out", "no/such/folder/file.json"], "there is no folder no/such/folder"),
        (["--participants", "sample_factory"], "needs --sample-factory PYTHON"),
        (["--sample-factory", "no-such-python"], "no-such-python: No such file or directory"),
        (
            ["--sample-factory", sys.executable, "--n-steps", "100", "--num-envs", "128"],
            "minibatches of whole rollouts",
        ),
    ],
)
def test_wrong_arguments_end_the_program_with_one_line(peer_speed, words, message, capsys):
    pytest.importorskip("tyro")
    with pytest.raises(SystemExit) as ended:
        peer_speed.main(words)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_python_without_sample_factory_is_named(peer_speed, capsys):
    pytest.importorskip("tyro")
    with pytest.raises(SystemExit):
        peer_speed.main(["--sample-factory", sys.executable])
    assert "cannot run Sample Factory: ModuleNotFoundError" in capsys.readouterr().err


def test_the_participants_train_the_same_layers(peer_speed, load):
    pytest.importorskip("tyro")
    parts = load("training_speed")
    titles = ["CAMAL, float32", "PPO of this package, float32", "stock SB3", "CleanRL-style loop"]
    setting = {"env": "procgen/coinrun", "num_envs": 2, "n_steps": 4, "batch_size": 4, "device": "cpu"}
    arguments = argparse.Namespace(**setting, frame_fraction=0.25, titles=titles)
    agents = {}
    for make in peer_speed.makers(titles):
        agents |= make(arguments, "impala")
    assert set(agents) == set(titles)
    layers = {name: parts.layer_shapes(agent.policy) for name, agent in agents.items()}
    assert [each == layers[titles[0]] for each in layers.values()] == [True] * 4
    own = agents["CleanRL-style loop"]
    before = own.policy.actor.weight.clone()
    own.learn(8, reset_num_timesteps=False)
    assert not torch.equal(own.policy.actor.weight, before)


def test_sample_factorys_part_imports_nothing_of_this_package():
    tree = ast.parse((FOLDER / "peer_speed_sample_factory.py").read_text(encoding="utf-8"))
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert not [name for name in names if name.split(".")[0] in {"camal_rl", *NAMES}]
