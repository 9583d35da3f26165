"""A package outside the repository with its own environment, encoder, loss, metric, term and algorithm."""

import json
import pickle
import sys

import pytest
import torch
import yaml

from camal_rl.agents.encoders import ENCODERS
from camal_rl.agents.terms import TERMS
from camal_rl.envs.registry import CUSTOM_ENVS
from camal_rl.losses import LOSSES
from camal_rl.metrics import CUSTOM_METRICS
from camal_rl.rl.algorithms import ALGORITHMS
from camal_rl.rl.model_file import load_model
from camal_rl.runs.json_files import read_json
from camal_rl.runs.loading import load_config
from camal_rl.runs.metrics_file import read_metrics
from camal_rl.runs.run_folder import RunFolder
from tests.command_line import refusal, run_main
from tests.extension.package import write_package


@pytest.fixture
def orchard(own_modules):
    """Return a working folder that contains a user's own package."""
    write_package(own_modules)
    return own_modules


def test_paths_in_a_file_train_evaluate_and_explain(orchard, capsys):
    assert run_main("train", "by_path.yaml", "--run-dir", "run") == 0
    written = yaml.safe_load((orchard / "run" / "config.yaml").read_text())
    assert written["env"]["id"] == "orchard.envs:Catch"
    assert written["algorithm"]["name"] == "orchard.algorithms:SLOW_PPO"
    assert written["algorithm"]["pull"] == 0.25
    assert type(load_model(RunFolder(orchard / "run")).policy.features_extractor).__name__ == "Tiny"
    for name in ("model.json", "model.safetensors"):
        (orchard / "run" / name).rename(orchard / name)
    assert type(load_model(RunFolder(orchard / "run", trust=True))).__name__ == "SlowPPO"
    for name in ("model.json", "model.safetensors"):
        (orchard / name).rename(orchard / "run" / name)
    assert run_main("evaluate", "run") == 0
    results = read_metrics(orchard / "run" / "metrics.json").results
    assert results.level_sets("return") == ["train", "held_out", "held_out_green"]
    assert results.level_sets("gap") == ["held_out", "held_out_green"]
    assert 0 <= results.value("peak_share", level_set="held_out", target="value", map="own") <= 1
    assert "peak share" in capsys.readouterr().out
    assert run_main("explain", "run", "--frames", "2") == 0
    assert list(orchard.rglob("*.png"))
    assert run_main("export", "run") == 0
    assert (orchard / "run" / "model.pt2").is_file()


def test_the_algorithms_own_setting_changes_what_is_learned(orchard):
    parameters = {}
    for pull in (0, 0.25, 1):
        assert run_main("train", "by_path.yaml", f"algorithm.pull={pull}", "--run-dir", f"run{pull}") == 0
        model = load_model(RunFolder(orchard / f"run{pull}"))
        config = RunFolder(orchard / f"run{pull}").config()
        assert config.algorithm.pull == pull
        parameters[pull] = model.policy.value_net.weight.detach()
    ppo = ("algorithm.name=ppo", "~algorithm.pull")
    assert run_main("train", "by_path.yaml", *ppo, "--run-dir", "ppo") == 0
    parameters["ppo"] = load_model(RunFolder(orchard / "ppo")).policy.value_net.weight.detach()
    assert torch.equal(parameters["ppo"], parameters[0])
    assert not torch.equal(parameters[0], parameters[0.25])
    assert not torch.equal(parameters[0.25], parameters[1])


def test_bench_measures_the_algorithm(orchard, capsys):
    assert run_main("bench", "by_path.yaml", "--rounds", "1", "--out", "speed.json") == 0
    assert "update: CAMAL loss" in capsys.readouterr().out
    found = read_json(orchard / "speed.json")
    assert found["config"]["algorithm"]["name"] == "orchard.algorithms:SLOW_PPO"
    assert found["steps_per_round"] == 32


@pytest.mark.slow
def test_registered_names_compare_in_worker_processes_and_are_reported(orchard, capsys):
    methods = ("ppo", "camal", "orchard_peak", "orchard_small", "camal+orchard_small")
    options = ("--methods", ",".join(methods), "--seeds", "1", "--jobs", "1", "--out", "cmp")
    assert run_main("compare", "by_name.yaml", *options) == 0
    out = capsys.readouterr().out
    assert "peak share of the value map on held_out" in out
    comparison = json.loads((orchard / "cmp" / "comparison.json").read_text())
    assert set(comparison["figures"]["peak_share/value/held_out"]) == set(methods)
    assert {path.name for path in (orchard / "cmp").glob("*-seed0")} == {f"{method}-seed0" for method in methods}
    assert run_main("report", "cmp") == 0
    (page,) = orchard.rglob("*.html")
    text = page.read_text()
    assert "peak share" in text
    assert "Largest value of the map divided by its sum." in text
    assert "orchard/catch" in text
    assert "orchard_slow" in text
    assert "float32 on cpu" in text


@pytest.mark.slow
def test_methods_by_path_compare_in_portable_folders_and_are_reported(orchard, capsys):
    term = "orchard.terms:SmallValues"
    methods = ("ppo", "camal", term, f"camal+{term}")
    options = ("--methods", ",".join(methods), "--seeds", "1", "--jobs", "1", "--out", "cmp")
    assert run_main("compare", "by_path.yaml", f"methods={{'{term}': {{power: 4}}}}", *options) == 0
    folders = list((orchard / "cmp").glob("*-seed0"))
    assert len(folders) == 4
    assert not [path for path in (orchard / "cmp").rglob("*") if ":" in path.name]
    configs = [yaml.safe_load((folder / "config.yaml").read_text()) for folder in folders]
    assert sorted(len(config["terms"]) for config in configs) == [0, 0, 1, 1]
    assert {config["terms"][term]["power"] for config in configs if config["terms"]} == {4}
    capsys.readouterr()
    assert run_main("report", "cmp") == 0
    (page,) = orchard.rglob("*.html")
    for method in methods:
        assert method in page.read_text()


def test_masks_and_envs_know_a_path(orchard, capsys):
    assert run_main("masks", "orchard.envs:Catch", "--frames", "1", "--level-set", "held_out_green") == 0
    assert (orchard / "masks-orchard.envs-Catch.png").is_file()
    capsys.readouterr()
    assert run_main("envs", "orchard.envs:Catch") == 0
    out = capsys.readouterr().out
    for text in ("fruit*", "held_out_green", "unknown", "MIT"):
        assert text in out
    assert run_main("envs", "orchard/catch", "--import", "orchard", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["level_sets"]["held_out"]["start_level"] == 200


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("env.id=orchard.envs:Catsh", "did you mean 'Catch'?"),
        ("env.id=orchard/catsh", "did you mean 'orchard/catch'?"),
        ("policy.encoder=orchard.nets:nn", "must be a class derived from CamEncoder"),
        (
            "policy.encoder=orchard_tinny",
            "policy.encoder: unknown encoder 'orchard_tinny'; did you mean 'orchard_tiny'?",
        ),
        ("policy.cam_layer=layer.1", "no CAM layer 'layer.1' in Tiny; its layers are: layers, layers.0"),
        ("camal.loss=orchard.envs:Catch", "attention loss 'orchard.envs:Catch' must take maps and targets"),
        ("camal.loss=orchard_peek", "did you mean 'orchard_peak'?"),
        ("algorithm.name=orchard_slw", "did you mean 'orchard_slow'?"),
        ("algorithm.name=orchard.algorithms:build", "must be a camal_rl.rl.algorithms.AlgorithmSpec"),
        ("algorithm.pull=2", "algorithm.pull must be at most 1, got 2"),
        ("algorithm.pul=0.5", "did you mean 'algorithm.pull'?"),
        ("imports=[orchard.bushes]", "cannot import 'orchard.bushes'"),
        ("imports=orchard", "imports must be a list, such as [orchard]"),
        ("env.options.colour=3", "did you mean 'color'?"),
    ],
)
def test_what_is_wrong_is_one_line(orchard, capsys, setting, message):
    assert run_main("train", "by_name.yaml", setting) == 2
    assert message in refusal(capsys)
    assert not (orchard / "runs").exists()


def test_a_configuration_imports_its_modules_where_it_arrives(orchard):
    sent = pickle.dumps(load_config("by_name.yaml"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "orchard"]:
        del sys.modules[name]
    assert pickle.loads(sent) == load_config("by_name.yaml")
    assert "orchard.losses" in sys.modules


def test_an_installed_package_announces_its_names(orchard, monkeypatch, capsys):
    for registry, name, path in (
        (CUSTOM_ENVS, "their/catch", "orchard.envs:Catch"),
        (ENCODERS, "theirs", "orchard.nets:Tiny"),
        (LOSSES, "theirs", "orchard.losses:peak_outside"),
        (CUSTOM_METRICS, "peak_share", "orchard.metrics:peak_share"),
        (TERMS, "theirs_too", "orchard.terms:SmallValues"),
        (ALGORITHMS, "theirs", "orchard.algorithms:SLOW_PPO"),
    ):
        monkeypatch.setattr(registry, "_announced_paths", {name: path})
    settings = (
        "imports=[]",
        "env.id=their/catch",
        "policy.encoder=theirs",
        "camal.loss=theirs",
        "algorithm.name=theirs",
    )
    terms = "terms={theirs_too: {weight: 0.1}}"
    assert run_main("train", "by_name.yaml", *settings, terms, "--run-dir", "run") == 0
    assert run_main("evaluate", "run", "--episodes", "2") == 0
    assert "peak share" in capsys.readouterr().out
