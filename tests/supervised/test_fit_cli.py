import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from camal_rl.comparison.figures import compared_keys, figure_name, headline_keys
from camal_rl.comparison.groups import group_runs, read_run
from camal_rl.comparison.plan import method_config
from camal_rl.runs.json_files import read_json
from camal_rl.runs.loading import config_from_dict, dump_yaml, load_config
from camal_rl.runs.results import ResultKey
from camal_rl.runs.run_folder import RunFolder
from camal_rl.supervised.config import CamalConfig, SupervisedConfig
from camal_rl.supervised.training import load_classifier, make_sets
from tests.command_line import refusal, run_main

NAME = "supervised/spurious_shapes"
TINY = [
    "data.image_size=32", "data.options.train_length=16", "data.options.validation_length=8",
    "data.options.test_length=8", "data.options.num_classes=2", "model.options.width=8", "optimization.batch_size=8",
    "optimization.epochs=2", "evaluation.images=4", "log.images=4", "log.every=1",
]  # fmt: skip


def test_the_shipped_configuration_names_every_method():
    config = load_config(NAME)
    assert isinstance(config, SupervisedConfig)
    for method in ("vanilla", "camal", "energy", "l1", "ppce", "rrr", "mse", "ifam"):
        settings = method_config(config, method, 3)
        assert settings.method_name == method
        assert (settings.seed, settings.threads, settings.methods) == (3, 1, {})
    # Its own options, and none of the shipped network's.
    assert config.for_method("ifam").model.options == config.methods["ifam"]["model"]["options"]
    vanilla, camal = config.for_method("vanilla").camal, config.camal
    assert vanilla.weight == 0
    for name in ("target", "score", "method", "rectification", "coverage"):
        assert getattr(vanilla, name) == getattr(camal, name)


def test_a_configuration_survives_being_written(tmp_path):
    config = load_config(NAME, ["seed=3", "data.options.num_classes=3", "camal.schedule=decay"])
    path = tmp_path / "c.yaml"
    path.write_text(dump_yaml(config))
    assert load_config(path) == config


def test_settings_of_a_method_reach_model_and_optimization():
    data = {
        "data": {"name": "x"},
        "methods": {"ifam": {"model": {"options": {"dim": 8}}, "optimization": {"epochs": 3}}},
    }
    config = config_from_dict(data)
    ifam = config.for_method("ifam")
    assert (ifam.model.name, ifam.model.options, ifam.optimization.epochs) == ("ifam", {"dim": 8}, 3)
    assert (config.for_method("l1").model, config.for_method("l1").optimization) == (config.model, config.optimization)


def test_the_weight_follows_the_schedule():
    camal = CamalConfig(weight=2.0, schedule="decay", schedule_fraction=0.5)
    assert [camal.weight_at(progress) for progress in (0.0, 0.5, 0.75, 1.0)] == [2.0, 2.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "toy_grid"], "it is for agents; use camal-rl train"),
        (["train", NAME], "so it is for image classifiers, but this command is for agents; use camal-rl fit"),
        (["bench", NAME], "so it is for image classifiers, but this command is for agents; use camal-rl fit"),
        (["fit", NAME, "camal.wieght=1"], "unknown key 'camal.wieght'; did you mean 'camal.weight'?"),
        (["fit", NAME, "camal.weight=-1"], "camal.weight must be a finite number of at least 0, got -1"),
        (["fit", NAME, "camal.target=both"], "camal.target: input should be 'true' or 'predicted', got 'both'"),
        (["fit", NAME, "camal.loss=camel"], "did you mean 'camal'"),
        (["fit", NAME, "methods.energy.wight=1"], "did you mean 'methods.energy.weight'?"),
        (["fit", NAME, "methods.energi.weight=1"], "did you mean 'energy'?"),
        (["fit", NAME, "data.mask_fraction=0"], "camal.weight above 0 needs masks"),
        (["fit", NAME, "data.name=spurious_shape"], "spurious_shapes"),
        (["fit", NAME, "model.name=compct"], "compact"),
        (["fit", NAME, *TINY, "model.cam_layer=featurs"], "unknown CAM layer 'featurs'; did you mean 'features'?"),
        (["fit", NAME, *TINY, "model.cam_layer=head"], "must give a feature map (B, C, h, w) or tokens"),
        (["fit", NAME, *TINY, "evaluation.sets=[held_out]"], "evaluation.sets can name train, validation, test"),
        (["fit", NAME, "optimization.precision=float16", "device=cpu"], "float16 needs CUDA"),
        (["compare", NAME, "--methods", "vanilla,camel"], "did you mean 'camal'?"),
        (["fit", NAME, "data.name=folder", "data.root=with space #1", "data.options={}"], "no folder with space #1;"),
        (["fit", NAME, "data.name=folder", "data.root=x"], "num_classes is inherited from configuration " + NAME),
        (["fit", NAME, "model.name=resnet"], "model.options={} removes all of model.options"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(in_tmp, capsys, arguments, message):
    assert run_main(*arguments) == 2
    assert message in refusal(capsys)
    assert list(in_tmp.iterdir()) == []


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a folder with a tiny run of vanilla and one of camal, trained and evaluated."""
    root = tmp_path_factory.mktemp("runs")
    for method, weight in (("vanilla", 0), ("camal", 1)):
        run_dir = root / f"{method}-seed0"
        settings = [*TINY, f"camal.weight={weight}", "log.checkpoint_every=1"]
        assert run_main("fit", NAME, *settings, "--run-dir", str(run_dir)) == 0
        assert run_main("evaluate", str(run_dir), "--no-progress") == 0
    return root


def test_a_run_folder_holds_what_an_agents_does(runs):
    folder = runs / "camal-seed0"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "config.yaml", "command.txt", "provenance.json", "train.json", "metrics.json", "model.safetensors",
        "tensorboard", "checkpoints",
    }  # fmt: skip
    assert [path.name for path in sorted((folder / "checkpoints").iterdir())] == [
        "step-000000000002",
        "step-000000000004",
    ]
    train = read_json(folder / "train.json")
    assert (train["interrupted"], train["timesteps"], train["epochs"], train["closed_form"]) == (False, 4, 2, True)


def test_metrics_have_groups_controls_and_swaps(runs):
    (group,) = group_runs([read_run(runs / "camal-seed0")])
    metrics = group.runs[0].metrics
    assert metrics.run["method"] == "camal"
    for name in ("validation", "test"):
        assert metrics.results.find(ResultKey("accuracy", name)).count == 8
        assert metrics.results.find(ResultKey("background_flips", name)).count == 8
        found = metrics.results.select(level_set=name, target="class")
        assert found.select(figure="deletion_effect").names("map") == ["own", "random", "mask"]
        assert {each.count for each in found.select(figure="zero_maps")} == {4}
    names = {figure_name(key) for key in compared_keys(group)}
    assert {"accuracy/test", "worst_group_accuracy/test", "background_flips/test", "epg/class/test"} <= names
    shown = [figure_name(key) for key in headline_keys(group)]
    assert "iou/class/test" in shown
    assert "deletion_effect_random/class/test" in shown
    assert "epg/class/validation" not in shown


def test_evaluate_prints_json_and_refuses_what_is_for_agents(runs, capsys):
    folder = str(runs / "vanilla-seed0")
    before = read_json(runs / "vanilla-seed0" / "metrics.json")
    assert run_main("evaluate", folder, "--json") == 0
    assert json.loads(capsys.readouterr().out) == before
    assert run_main("evaluate", folder, "--episodes", "3") == 2
    assert "--episodes is for agents" in capsys.readouterr().err
    assert run_main("explain", folder) == 2
    told = "is the run of an image classifier, but this command is for agents"
    assert capsys.readouterr().err.startswith(f"camal-rl: {folder} {told}")


def test_weights_of_another_model_are_one_line(runs, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(runs / "vanilla-seed0", folder)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("width: 8", "width: 16"))
    assert run_main("evaluate", str(folder)) == 2
    assert "model.safetensors does not contain the weights of the model" in refusal(capsys)


def test_a_report_has_tables_curves_and_pictures(runs, tmp_path, capsys):
    assert run_main("report", str(runs), "--out", str(tmp_path)) == 0
    text = (tmp_path / "report.md").read_text()
    for words in ("Accuracy", "worst group", "Background swap", "Alignment of the class map", "circle on"):
        assert words in text
    names = {path.name for path in (tmp_path / "report_files").iterdir()}
    assert {"spurious-shapes-attention.png", "spurious-shapes-learning-curves.svg"} <= names
    summary = next(line for line in text.splitlines() if line.startswith("On images that were not trained on"))
    assert "camal" in summary
    assert "vanilla" in summary


def test_resuming_gives_the_same_weights(runs, tmp_path):
    whole, cut = RunFolder(runs / "camal-seed0"), RunFolder(tmp_path / "cut")
    settings = [*TINY, "camal.weight=1", "log.checkpoint_every=1", "--run-dir", str(cut.path)]
    assert run_main("fit", NAME, *settings) == 0
    assert run_main("fit", NAME, *settings, "--resume") == 2
    cut.train_file.unlink()
    shutil.rmtree(cut.checkpoints / "step-000000000004")
    assert run_main("fit", NAME, *settings, "--resume") == 0
    config = whole.config()
    train_set = make_sets(config)["train"]
    first, second = (load_classifier(folder, config, train_set).state_dict() for folder in (whole, cut))
    assert all(torch.equal(first[name], second[name]) for name in first)
    # What was logged after the checkpoint is there once, from the resumed run.
    for folder in (whole, cut):
        events = EventAccumulator(str(folder.tensorboard), size_guidance={"scalars": 0, "images": 0})
        events.Reload()
        steps = {tag: [scalar.step for scalar in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        assert (steps["held_out/accuracy"], steps["train/loss"]) == ([0, 2, 4], [1, 2, 3, 4])
        assert all(len(set(each)) == len(each) for each in steps.values())
        assert [picture.step for picture in events.Images("camal/attention")] == [0, 4]


def test_every_file_of_a_run_has_the_permissions_of_a_new_one(runs):
    folder = runs / "camal-seed0"
    modes = {path.name: path.stat().st_mode for path in folder.rglob("*") if path.is_file()}
    assert "model.safetensors" in modes
    assert set(modes.values()) == {(folder / "config.yaml").stat().st_mode}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("size", "message"), [((16, 16), "a mask must have its image's size"), ((32, 32), "marks no pixel")]
)
def test_a_bad_mask_found_in_training_is_one_line_and_leaves_no_run_folder(in_tmp, capsys, workers, size, message):
    for name in ("cat", "dog"):
        for kind, pixels in (("images", np.full((32, 32, 3), 99, np.uint8)), ("masks", np.eye(32, dtype=np.uint8))):
            folder = in_tmp / "photos" / kind / name
            folder.mkdir(parents=True)
            for index in range(12):
                cv2.imwrite(str(folder / f"{index}.png"), pixels)
    for bad in (in_tmp / "photos" / "masks" / "dog").iterdir():
        cv2.imwrite(str(bad), np.zeros(size, np.uint8))
    (in_tmp / "mine.yaml").write_text(
        "data: {name: folder, root: photos, image_size: 32}\nmodel: {name: compact, options: {width: 8}}\n"
        f"evaluation: {{sets: [test]}}\nlog: {{images: 0}}\noptimization: {{epochs: 1, workers: {workers}}}\n"
    )
    assert run_main("fit", "mine.yaml", "--run-dir", "run", "--no-progress") == 2
    err = refusal(capsys)
    assert err.startswith(f"camal-rl: mask {Path('photos/masks/dog')}")
    assert message in err
    assert not (in_tmp / "run").exists()
