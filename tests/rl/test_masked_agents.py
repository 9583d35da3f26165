"""An agent that sees objects only, from training to a file that leaves the house: it is masked wherever it acts."""

import json
from contextlib import closing

import numpy as np
import pytest
import torch

from camal_rl.agents import CAMALPPO
from camal_rl.comparison.groups import find_runs, group_runs, read_run
from camal_rl.comparison.report.sections import document
from camal_rl.comparison.report.write import write_report
from camal_rl.envs import MaskedVecEnv, make_vec
from camal_rl.rl import load_policy, save_policy
from camal_rl.rl.environments import make_level_set_env, make_training_env
from camal_rl.rl.evaluate.returns import play_episodes
from camal_rl.runs.loading import load_config
from tests.command_line import refusal, run_main
from tests.conftest import TINY

SMALL = {"n_steps": 8, "batch_size": 16, "n_epochs": 1, "device": "cpu", "seed": 3}
METHODS = "ppo,camal+object_mask,class_mask"


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """The folder of a finished comparison, and what the command printed."""
    folder = tmp_path_factory.mktemp("masked") / "c"
    command = ["compare", "toy_grid", *TINY, "--methods", METHODS, "--seeds", "1", "--jobs", "1", "--no-progress"]
    assert run_main(*command, "--out", str(folder)) in (0, None)
    return folder


def test_every_table_plot_and_paragraph_of_a_comparison_says_who_sees_masks(comparison, capsys):
    markdown = (comparison / "comparison.md").read_text()
    header = next(line for line in markdown.splitlines() if line.startswith("| figure"))
    assert [cell.strip() for cell in header.split("|")[2:5]] == [
        "ppo",
        "camal+object_mask (sees masks)",
        "class_mask (sees masks)",
    ]
    assert "camal+object_mask sees masks whenever it acts. " in markdown
    assert "ppo (sees masks)" not in markdown
    assert "ppo sees masks" not in markdown
    found = json.loads((comparison / "comparison.json").read_text())
    assert found["methods"] == METHODS.split(",")
    assert found["acting_notes"] == {"camal+object_mask": "sees masks", "class_mask": "sees masks"}
    assert all(set(figure) == set(found["methods"]) for figure in found["figures"].values())
    groups = group_runs([read_run(path) for path in find_runs([comparison])])
    html, _ = write_report(document(groups), comparison / "report")
    page = html.read_text()
    assert "camal+object_mask (sees masks)" in page
    for table in page.split("<table")[1:]:
        if "object_mask" in table and "env.masking" not in table:
            assert "(sees masks)" in table


def test_evaluation_explanation_and_export_tell_of_it(comparison, capsys):
    run = comparison / "camal+object_mask-seed0"
    assert run_main("evaluate", str(run), "--suite", "full", "--no-progress") in (0, None)
    titles = [line for line in capsys.readouterr().out.splitlines() if "; the agent sees masks" in line]
    assert len(titles) == 4
    metrics = json.loads((run / "metrics.json").read_text())
    floors = [
        each["value"]
        for each in metrics["results"]
        if each["figure"] in ("value_change", "flips") and str(each["control"]).startswith("background")
    ]
    assert floors
    assert set(floors) == {0.0}
    assert run_main("explain", str(run), "--no-video", "--no-progress") in (0, None)
    assert run_main("export", str(run), "--out", str(run / "m.safetensors"), "--format", "safetensors") in (0, None)
    assert "it expects images masked by object_mask" in capsys.readouterr().out
    assert load_policy(run / "m.safetensors", "cpu").masking == "object_mask"


def test_the_saved_policy_knows_what_it_sees(comparison):
    seen = {name: load_policy(comparison / f"{name}-seed0", "cpu").masking for name in METHODS.split(",")}
    assert seen == {"ppo": None, "camal+object_mask": "object_mask", "class_mask": "class_mask"}
    told = json.loads((comparison / "camal+object_mask-seed0" / "model.json").read_text())
    assert told["arguments"]["masking"] == "object_mask"
    assert "masking" not in json.loads((comparison / "ppo-seed0" / "model.json").read_text())["arguments"]


@pytest.mark.parametrize("masks", [True, False])
def test_environments_of_all_level_sets_are_masked_even_where_nobody_asks_for_masks(masks):
    config = load_config("toy_grid", [*TINY, "env.masking=object_mask"])
    for name in ("train", "held_out"):
        with closing(make_level_set_env(config, name, 2, 0, masks)) as env:
            assert env.masking == "object_mask"
    with closing(make_training_env(config)) as env:
        assert isinstance(env, MaskedVecEnv)
    with closing(make_training_env(load_config("toy_grid", [*TINY]))) as env:
        assert not isinstance(env, MaskedVecEnv)


def masked(name="object_mask", **options):
    return MaskedVecEnv(make_vec("toy_grid/default", 2, seed=0, **options), name)


def trained(env, **given):
    model = CAMALPPO("CamPolicy", env, policy_kwargs={"encoder": "nature"}, **{**SMALL, **given})
    return model.learn(32)


def test_the_policy_is_trained_on_masked_images_and_says_so_in_every_file(tmp_path):
    model = trained(masked(), camal={"weight": 0.1})
    assert model.policy.masking == "object_mask"
    model.save(tmp_path / "m.zip")
    assert CAMALPPO.load(tmp_path / "m.zip", device="cpu").policy.masking == "object_mask"
    save_policy(model, tmp_path)
    policy = load_policy(tmp_path, "cpu")
    images = masked().reset()
    np.testing.assert_array_equal(
        policy.predict(images, deterministic=True)[0], model.predict(images, deterministic=True)[0]
    )


def test_training_without_masking_is_as_it_was():
    plain = trained(make_vec("toy_grid/default", 2, seed=0), camal={"weight": 0})
    off = trained(make_vec("toy_grid/default", 2, seed=0, segmentation=None), camal={"weight": 0})
    assert plain.policy.masking is None
    assert "masking" not in plain.policy_kwargs
    for ours, theirs in zip(plain.policy.parameters(), off.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_masked_policy_is_not_trained_on_in_another_view(tmp_path):
    model = trained(masked(), camal={"weight": 0})
    model.save(tmp_path / "m.zip")
    bare, other = make_vec("toy_grid/default", 2, seed=0), masked("relevant_mask")
    for env, words in ((bare, "unmasked images"), (other, "images masked by 'relevant_mask'")):
        with pytest.raises(
            ValueError, match=f"acts on images masked by 'object_mask', but this environment gives {words}"
        ):
            CAMALPPO.load(tmp_path / "m.zip", env=env, device="cpu")
        with pytest.raises(ValueError, match="wrap it as in training"):
            model.set_env(env)
    CAMALPPO.load(tmp_path / "m.zip", env=masked(), device="cpu").learn(16)


class Still:
    def predict(self, observation, *, deterministic=False):
        return np.zeros(len(observation), dtype=np.int64), None


def test_duplicates_of_training_levels_are_told_by_the_frames_of_the_simulator():
    first = make_vec("toy_grid/default", 2, seed=0).reset()
    shown = []

    def is_duplicate(frame):
        shown.append(frame)
        return False

    play_episodes(Still(), masked(max_steps=3), 2, True, 0, is_duplicate)
    np.testing.assert_array_equal(shown[:2], first)


def test_a_simulator_without_masks_is_refused_before_anything_is_written(tmp_path, capsys):
    folder = tmp_path / "run"
    settings = ["env.segmentation=null", "camal.weight=0", "env.masking=object_mask"]
    assert run_main("train", "toy_grid", *TINY, *settings, "--run-dir", str(folder)) == 2
    assert "env.masking=object_mask needs masks" in refusal(capsys)
    assert not folder.exists()
