import json
import math

import pytest
import yaml

from camal_rl import __version__
from camal_rl.rl.training import prepare
from camal_rl.runs.checkpoints import checkpoint_folders
from camal_rl.runs.json_files import read_json, write_json
from camal_rl.runs.loading import load_config
from camal_rl.runs.run_folder import RunFolder, default_run_dir


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
    assert [step for step, _ in checkpoint_folders(trained.checkpoints)] == [128, 256]
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file", "file is not a folder; give another folder than"),
        ("file/below/it", "file is not a folder; give another folder than"),
        ("link/below", "link is not a folder"),
        ("a" * 300 + "/x", "a folder's name may have at most 255 bytes, aaaaaaaaaaaaaaaaaaaa... has 300"),
    ],
)
def test_a_folder_that_cannot_be_made_shows_before_anything_is_written(tmp_path, name, message):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match=message):
        prepare(load_config("toy_grid"), RunFolder(tmp_path / name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_every_file_of_a_run_has_the_permissions_of_a_new_one(trained):
    modes = {path.stat().st_mode for path in trained.path.rglob("*") if path.is_file()}
    assert modes == {trained.config_file.stat().st_mode}


def test_no_figure_has_two_points_at_a_step(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (path,) = trained.tensorboard.iterdir()
    events = EventAccumulator(str(path), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    assert [scalar.step for scalar in events.Scalars("camal/value/epg")] == [128, 256]
    assert [picture.step for picture in events.Images("camal/attention")] == [0, 128, 256]
    for tag in events.Tags()["scalars"]:
        steps = [scalar.step for scalar in events.Scalars(tag)]
        assert len(set(steps)) == len(steps), tag


def test_json_has_null_for_what_is_not_a_number(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": math.nan, "b": [1.5, math.inf], "c": {"d": "text"}})
    assert json.loads(path.read_text()) == {"a": None, "b": [1.5, None], "c": {"d": "text"}}
    assert [item.name for item in tmp_path.iterdir()] == ["x.json"]


def test_a_folder_without_configuration_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not a run folder: it has no config.yaml"):
        RunFolder(tmp_path).config()


def test_a_byte_order_mark_does_not_matter(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_bytes(b"\xef\xbb\xbf" + b'{"n": 1}')
    assert read_json(path) == {"n": 1}


def test_another_encoding_names_file_and_line(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_bytes(b'{\n"n": "caf\xe9"}')
    with pytest.raises(ValueError, match=r"metrics.json, line 2 is not text in UTF-8 \(byte 0xe9\)"):
        read_json(path)
