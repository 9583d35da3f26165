import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from camal_rl.comparison.comparison_file import comparison_json, comparison_markdown, comparison_table
from camal_rl.comparison.derived import derived_results
from camal_rl.comparison.figure_words import figure_words, higher_is_better
from camal_rl.comparison.figures import figure_name, headline_keys
from camal_rl.comparison.groups import planned_group
from camal_rl.comparison.plan import method_config, plan_runs
from camal_rl.rl.training import Trial
from camal_rl.runs.curves import mean_curve, read_curves
from camal_rl.runs.loading import load_config
from camal_rl.runs.results import Result, ResultKey, Results
from camal_rl.runs.run_folder import RunFolder
from tests.comparison.report_runs import made_group, planned_runs, texts


@pytest.fixture
def runs(tmp_path):
    """Return three seeds of two methods whose results are known."""
    return planned_runs(tmp_path)


def test_names_of_figures_are_those_of_their_results(runs):
    found = comparison_json(planned_group(runs[:1]))["figures"]
    assert {name: each["ppo"]["mean"] for name, each in found.items()} == {
        "return/train": 8,
        "return_deterministic/train": 108,
        "return/held_out": 1,
        "return_deterministic/held_out": 101,
        "gap/held_out": 7,
        "epg/value/held_out": 0.1,
        "iou/value/held_out": 0.25,
        "deletion_effect/value/held_out": 0.2,
        "deletion_effect_random/value/held_out": 0.1,
        "deletion_effect_mask/value/held_out": 0.2,
        "deletion_effect_net/value/held_out": 0.1,
    }


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (ResultKey("return", "train", control="stochastic"), "return/train"),
        (ResultKey("normalized_return", "train", control="stochastic"), "normalized/train"),
        (ResultKey("accuracy", "test"), "accuracy/test"),
        (ResultKey("background_flips", "test", control="same_texture"), "background_flips_same_texture/test"),
        (ResultKey("epg", "test", "built_in", "own"), "epg/built_in/test"),
        (ResultKey("deletion_effect", "test", "class", "mask", "blur"), "deletion_effect_blur_mask/class/test"),
    ],
)
def test_a_name_leaves_out_what_is_usual(key, name):
    assert figure_name(key) == name


def test_net_figures_say_how_much_better_than_a_random_map():
    def effects(own, random):
        place = {"level_set": "held_out", "target": "value", "control": "mean"}
        found = zip(("own", "random"), (own, random), strict=True)
        return Results(
            Result(figure=name, map=map_, **place, value=value) for map_, each in found for name, value in each.items()
        )

    own = {"deletion_effect": 0.75, "insertion_change_auc": 0.125}
    random = {"deletion_effect": 0.25, "insertion_change_auc": 0.5}
    assert {each.figure: each.value for each in derived_results(effects(own, random))} == {
        "deletion_effect_net": 0.5,
        "insertion_change_auc_net": 0.375,
    }
    found = derived_results(effects({**own, "insertion_change_auc": None}, random))
    assert [each.figure for each in found] == ["deletion_effect_net"]


def test_what_other_backgrounds_change_is_the_mean_over_them():
    def change(figure, target, control, value):
        return Result(figure=figure, level_set="held_out", target=target, control=control, value=value, count=8)

    found = derived_results(
        Results([
            change("policy_kl", "policy", "background_1", 0.25),
            change("policy_kl", "policy", "background_2", 0.75),
            change("policy_kl", "policy", "background_off", 9.0),
            change("policy_kl", "policy", "remove_goal, remove", 9.0),
            change("value_change", "value", "background_1", None),
            change("value_change", "value", "background_2", 0.5),
            change("flips", "policy", "theme_1", 1.0),
        ])
    )  # fmt: skip
    assert {(each.figure, each.level_set): each.value for each in found} == {
        ("background_kl", "held_out"): 0.5,
        ("background_value_change", "held_out"): 0.5,
    }
    assert higher_is_better("background_kl") is False
    assert figure_words(found[0].key, arrow=True).startswith("KL of the policies under other backgrounds on held_out")


def test_maps_that_no_method_trains_on_are_compared_with_the_random_one_too():
    def effect(map_, value):
        return Result(
            figure="deletion_effect", level_set="held_out", target="value", map=map_, control="mean", value=value
        )

    found = derived_results(Results([effect("own", 0.5), effect("perturbation", 0.75), effect("random", 0.25)]))
    assert {each.map: each.value for each in found} == {"own": 0.25, "perturbation": 0.5}
    own, neutral = (figure_words(each.key) for each in sorted(found, key=lambda each: each.map))
    assert own != neutral
    assert "perturbation" in neutral


def test_runs_that_an_earlier_version_evaluated_are_compared(runs):
    for planned in runs:
        effects = {
            map_: {"deletion_effect": 0.5, "deletion_auc": 0.5, "insertion_auc": value}
            for map_, value in (("own", 0.125), ("random", 0.5))
        }
        head = {"alignment": {"epg": 0.5}, "faithfulness": effects}
        planned.folder.metrics_file.write_text(json.dumps({"attention": {"held_out": {"value": head}}}))
    figures = comparison_json(planned_group(runs))["figures"]
    assert figures["insertion_change_auc_net/value/held_out"]["camal"]["mean"] == 0.375


def test_statistics_are_those_of_the_seeds(runs):
    comparison = comparison_json(planned_group(runs))
    assert comparison["methods"] == ["ppo", "camal"]
    assert comparison["seeds"] == [0, 1, 2]
    ppo, camal = (comparison["figures"]["return/held_out"][method] for method in ("ppo", "camal"))
    assert (ppo["mean"], ppo["std"], camal["mean"]) == (2, 1, 6)
    assert ppo["seeds"] == {"0": 1, "1": 2, "2": 3}
    assert 1 <= ppo["interval"][0] < 2 < ppo["interval"][1] <= 3
    # All of camal's runs above all of ppo's: the smallest two-sided p of 3 against 3, 2 / C(6, 3).
    assert camal["p_against_first"] == pytest.approx(0.1)
    assert ppo["p_against_first"] is None
    assert comparison["figures"]["return/train"]["camal"]["p_against_first"] == pytest.approx(1)


def test_the_error_of_a_mean_is_that_of_its_measurements():
    key, other = ResultKey("return", "train", control="stochastic"), ResultKey("accuracy", "test")
    group = made_group({key: [[1.0, 2.0], [1.0]], other: [[0.5], [0.5]]}, {key: 0.3})
    found = comparison_json(group)["figures"]
    # Two errors of .3: the mean's is .3 / sqrt(2).
    assert found["return/train"]["ppo"]["measuring_error"] == pytest.approx(0.3 / 2**0.5)
    assert found["return/train"]["camal"]["measuring_error"] == pytest.approx(0.3)
    assert found["accuracy/test"]["ppo"]["measuring_error"] is None


def test_table_and_markdown_show_every_seed(runs):
    group = planned_group(runs)
    table = comparison_table(group)
    rows = texts(table)
    assert table.header == ("figure", "ppo", "camal", "p, camal against ppo")
    assert ["return on held_out\N{NO-BREAK SPACE}↑", "2.000 ± 1.000", "6.000 ± 1.000", "0.100"] in rows
    epg = "EPG of the value map on held_out"
    assert [f"{epg}\N{NO-BREAK SPACE}↑", "0.200 ± 0.100", "0.800 ± 0.100", "0.100"] in rows
    text = comparison_markdown(group)
    assert "| return on held_out\N{NO-BREAK SPACE}↑ | 2.000 ± 1.000 | 6.000 ± 1.000 | 0.100 |" in text
    line = next(line for line in text.splitlines() if line.startswith(f"| {epg} | camal |"))
    assert line.endswith("| 0.700 | 0.800 | 0.900 |")
    assert "pointing game" not in text
    assert not re.search(r"\w/\w+/\w", text), "a raw key"
    assert headline_keys(group)[0] == ResultKey("return", "train", control="stochastic")


def test_one_seed_has_no_interval_and_no_test(runs):
    group = planned_group([planned for planned in runs if planned.seed == 0])
    camal = comparison_json(group)["figures"]["return/held_out"]["camal"]
    assert camal["interval"] is None
    assert camal["p_against_first"] is None
    assert camal["mean"] == 5
    table = comparison_table(group)
    assert table.header == ("figure", "ppo", "camal")
    assert ["return on held_out\N{NO-BREAK SPACE}↑", "1.000", "5.000"] in texts(table)


def test_methods_are_weights_and_losses():
    config = load_config("toy_grid", ["camal.weight=0.3"])
    ppo, energy, square = (method_config(config, name, 4) for name in ("ppo", "energy", "camal_square"))
    assert (ppo.camal.weight, ppo.seed, ppo.threads) == (0, 4, 1)
    assert (energy.camal.weight, energy.camal.loss) == (0.1, "energy")
    assert replace(energy, camal=config.camal) == replace(config, methods={}, seed=4, threads=1)
    assert (square.camal.weight, square.camal.schedule) == (10, "warmup")


def test_ppo_depends_only_on_which_map_is_measured():
    base = load_config("toy_grid")
    retuned = load_config("toy_grid", ["camal.weight=1", "camal.loss=l1", "camal.schedule=decay"])
    assert method_config(retuned, "ppo", 0) == method_config(base, "ppo", 0)
    other_map = load_config("toy_grid", ["camal.method=gradcam"])
    assert method_config(other_map, "ppo", 0) != method_config(base, "ppo", 0)


@pytest.mark.parametrize(
    ("methods", "seeds", "message"),
    [
        (["ppo", "camel"], 1, "did you mean 'camal'"),
        (["ppo", "ppo"], 1, "each once, got ppo,ppo"),
        ([], 1, "got none"),
        (["ppo"], 0, "seeds must be at least 1"),
    ],
)
def test_bad_plans_are_refused(tmp_path, methods, seeds, message):
    with pytest.raises(ValueError, match=message):
        plan_runs(load_config("toy_grid"), methods, seeds, tmp_path)


def test_camal_with_weight_0_is_no_method(tmp_path):
    with pytest.raises(ValueError, match="equals ppo"):
        plan_runs(load_config("toy_grid", ["camal.weight=0"]), ["ppo", "camal"], 1, tmp_path)


def test_only_finished_runs_of_the_same_configuration_are_used_again(tmp_path, trained):
    (tmp_path / "camal-seed0").symlink_to(trained.path)
    same = trained.config()
    (planned,) = plan_runs(same, ["camal"], 1, tmp_path)
    assert planned.folder.is_trained()
    plan_runs(replace(same, methods={"energy": {"weight": 0.9}}), ["camal"], 1, tmp_path)
    with pytest.raises(FileExistsError, match="run of another configuration"):
        plan_runs(replace(same, total_timesteps=999), ["camal"], 1, tmp_path)
    longer = replace(same, total_timesteps=999)
    with pytest.raises(
        FileExistsError, match=r"total_timesteps is 256 there and 999 here; .*a larger total_timesteps needs --resume"
    ):
        plan_runs(longer, ["camal"], 1, tmp_path)
    (planned,) = plan_runs(longer, ["camal"], 1, tmp_path, resume=True)
    assert not planned.is_trained()
    with pytest.raises(FileExistsError, match="device is 'auto' there and 'cpu' here; give"):
        plan_runs(replace(longer, device="cpu"), ["camal"], 1, tmp_path, resume=True)
    (tmp_path / "camal-seed1").mkdir()
    (tmp_path / "camal-seed1" / "config.yaml").write_text("half a run")
    with pytest.raises(ValueError, match="is not the configuration of a run"):
        plan_runs(same, ["camal"], 2, tmp_path)


def test_results_that_cannot_be_read_are_told_before_training(tmp_path, trained):
    shutil.copytree(trained.path, tmp_path / "camal-seed0")
    (tmp_path / "camal-seed0" / "metrics.json").write_text('{"version": 9}')
    with pytest.raises(ValueError, match=r"camal-seed0/metrics\.json does not contain .* it has version 9"):
        plan_runs(trained.config(), ["camal"], 1, tmp_path)


def test_curves_come_from_tensorboard(trained):
    curves = read_curves(trained.tensorboard, ["camal/value/epg", "rollout/ep_rew_mean", "no/such/tag"])
    assert set(curves) == {"camal/value/epg", "rollout/ep_rew_mean"}
    steps, values = curves["camal/value/epg"]
    assert steps[-1] == 256
    assert ((values >= 0) & (values <= 1)).all()


def test_mean_curve_interpolates_where_all_curves_are():
    first = np.array([0.0, 10.0]), np.array([0.0, 10.0])
    second = np.array([5.0, 15.0]), np.array([1.0, 1.0])
    steps, values = mean_curve([first, second], points=2)
    assert steps.tolist() == [5, 10]
    assert values.tolist() == [3, 5.5]


def test_ctrl_c_saves_the_model_and_says_so(tmp_path):
    from camal_rl.agents import CAMALPPO
    from camal_rl.rl.training import prepare, run
    from tests.conftest import TINY

    trial: Trial = prepare(load_config("toy_grid", TINY), RunFolder(tmp_path / "run"))

    def press_ctrl_c(*_):
        raise KeyboardInterrupt

    trial.model.train = press_ctrl_c
    summary = run(trial, ["camal-rl"])
    assert summary["interrupted"] is True
    assert summary["timesteps"] == 128
    assert not trial.folder.is_trained()
    assert CAMALPPO.load(trial.folder.model_file).num_timesteps == 128
