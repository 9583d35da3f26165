"""A package outside the repository, with an environment, encoder, loss and metric of its own, on the command line."""

import json
import pickle
import sys

import pytest
import yaml

from camal_rl.agents.encoders import ENCODERS
from camal_rl.envs.registry import OWN
from camal_rl.losses import LOSSES
from camal_rl.metrics import OWN_METRICS
from camal_rl.runs.loading import load_config
from camal_rl.runs.metrics_file import read_metrics
from tests.command_line import refusal, run_main
from tests.extension.package import write_package


@pytest.fixture
def orchard(own_modules):
    """Work beside a package of a user's own."""
    write_package(own_modules)
    return own_modules


def test_paths_in_a_file_train_evaluate_and_explain(orchard, capsys):
    assert run_main("train", "by_path.yaml", "--run-dir", "run") == 0
    written = yaml.safe_load((orchard / "run" / "config.yaml").read_text())
    assert written["env"]["id"] == "orchard.envs:Catch"
    assert run_main("evaluate", "run") == 0
    results = read_metrics(orchard / "run" / "metrics.json").results
    assert results.level_sets("return") == ["train", "held_out", "held_out_green"]
    assert results.level_sets("gap") == ["held_out", "held_out_green"]
    assert 0 <= results.value("peak_share", level_set="held_out", target="value", map="own") <= 1
    assert "peak share" in capsys.readouterr().out
    assert run_main("explain", "run", "--frames", "2") == 0
    assert list(orchard.rglob("*.png"))


@pytest.mark.slow
def test_registered_names_compare_in_worker_processes_and_are_reported(orchard, capsys):
    options = ("--methods", "ppo,orchard_peak", "--seeds", "1", "--jobs", "1", "--out", "cmp")
    assert run_main("compare", "by_name.yaml", *options) == 0
    out = capsys.readouterr().out
    assert "peak share of the value map on held_out" in out
    comparison = json.loads((orchard / "cmp" / "comparison.json").read_text())
    assert set(comparison["figures"]["peak_share/value/held_out"]) == {"ppo", "orchard_peak"}
    assert run_main("report", "cmp") == 0
    (page,) = orchard.rglob("*.html")
    text = page.read_text()
    assert "peak share" in text
    assert "Largest value of the map divided by its sum." in text
    assert "orchard/catch" in text


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
        ("camal.loss=orchard.envs:Catch", "attention loss 'orchard.envs:Catch' takes maps and targets"),
        ("camal.loss=orchard_peek", "did you mean 'orchard_peak'?"),
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
        (OWN, "their/catch", "orchard.envs:Catch"),
        (ENCODERS, "theirs", "orchard.nets:Tiny"),
        (LOSSES, "theirs", "orchard.losses:peak_outside"),
        (OWN_METRICS, "peak_share", "orchard.metrics:peak_share"),
    ):
        monkeypatch.setattr(registry, "_announced_paths", {name: path})
    settings = ("imports=[]", "env.id=their/catch", "policy.encoder=theirs", "camal.loss=theirs")
    assert run_main("train", "by_name.yaml", *settings, "--run-dir", "run") == 0
    assert run_main("evaluate", "run", "--episodes", "2") == 0
    assert "peak share" in capsys.readouterr().out
