import json
import math

import pytest
import yaml

from camal_rl import __version__
from camal_rl.experiments.loading import load_config
from camal_rl.experiments.run_folder import RunFolder, default_run_dir, read_json, write_json
from camal_rl.experiments.training import prepare


def test_default_folder_names_experiment_method_and_seed():
    config = load_config("toy_grid", ["seed=4", "camal.loss=energy"])
    assert default_run_dir(config).as_posix() == "runs/toy_grid-default/energy-seed4"


def test_a_finished_run_holds_everything(trained):
    names = {path.name for path in trained.path.iterdir()}
    assert {
        "config.yaml",
        "command.txt",
        "provenance.json",
        "model.zip",
        "train.json",
        "tensorboard",
        "checkpoints",
    } <= names
    assert yaml.safe_load(trained.config_file.read_text())["env"]["num_envs"] == 8
    assert (trained.path / "command.txt").read_text() == "camal-rl train toy_grid\n"
    assert read_json(trained.path / "provenance.json")["versions"]["camal-rl"] == __version__
    summary = read_json(trained.train_file)
    assert summary["timesteps"] == 256
    assert summary["interrupted"] is False
    assert summary["steps_per_second"] == pytest.approx(256 / summary["seconds"])
    assert len(list(trained.checkpoints.glob("model_*_steps.zip"))) == 2
    assert trained.is_trained()


def test_tensorboard_holds_scalars_pictures_and_hyperparameters(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (path,) = trained.tensorboard.iterdir()
    events = EventAccumulator(str(path))
    events.Reload()
    tags = events.Tags()
    assert {"rollout/ep_rew_mean", "train/loss", "camal/loss", "camal/value/epg", "camal/policy/iou"} <= set(
        tags["scalars"]
    )
    assert "camal/attention" in tags["images"]
    assert any("hparams" in tag for tag in events.summary_metadata)


def test_a_folder_in_use_is_left_as_it_was(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    config = load_config("toy_grid", ["env.num_envs=2", "algorithm.n_steps=16", "algorithm.batch_size=32"])
    with pytest.raises(FileExistsError, match="exists and is not empty"):
        prepare(config, RunFolder(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
    assert (tmp_path / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("env.id=toy_grid/defualt", ValueError, "did you mean 'toy_grid/default'"),
        ("env.options.cue_strenght=1", TypeError, "did you mean 'cue_strength'"),
        ("env.options.cue_strength=2", ValueError, "cue_strength"),
        ("env.relevant=[gaol]", ValueError, "unknown relevant class 'gaol'"),
        ("evaluation.sets=[heldout]", ValueError, "did you mean 'held_out'"),
        ("evaluation.attention_sets=[nowhere]", ValueError, "unknown level set 'nowhere'"),
    ],
)
def test_a_mistake_shows_before_anything_is_written(tmp_path, override, error, message):
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(error, match=message):
        prepare(load_config("toy_grid", [override]), folder)
    assert not folder.path.exists()


def test_json_has_null_for_what_is_not_a_number(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": math.nan, "b": [1.5, math.inf], "c": {"d": "text"}})
    assert json.loads(path.read_text()) == {"a": None, "b": [1.5, None], "c": {"d": "text"}}
    assert [item.name for item in tmp_path.iterdir()] == ["x.json"]


def test_a_folder_without_configuration_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not a run folder: it has no config.yaml"):
        RunFolder(tmp_path).config()
