"""Files metrics.json of earlier versions, nested dictionaries, are read as records."""

import json
from pathlib import Path

import pytest

from camal_rl.runs.metrics_file import MapDescription, read_metrics
from camal_rl.runs.results import Result, ResultKey

KEPT = Path(__file__).parents[2] / "docs" / "results" / "files"
EFFECT = {"deletion_effect": 1.0, "deletion_auc": 0.5, "insertion_auc": 0.25, "average_drop": None, "undefined": 1}


def head():
    return {
        "map": "gradcam, relu",
        "score": "value",
        "alignment": {"epg": 0.5, "iou": None},
        "undefined": {"epg": 2, "iou": 8},
        "frames": 8,
        "zero_maps": 1,
        "empty_targets": 2,
        "faithfulness": {"own": EFFECT, "random": EFFECT, "mask": EFFECT},
    }


AGENT = {
    "run": {"env": "toy_grid/default", "method": "camal", "seed": 0},
    "settings": {"episodes": 4, "frames": 8},
    "returns": {
        "train": {
            "stochastic": {
                "mean": 0.5,
                "std": 0.25,
                "episodes": 4,
                "excluded": 1,
                "mean_length": 9,
                "normalized": 0.75,
            },
            "deterministic": {"mean": None, "std": None, "episodes": 0, "excluded": 5, "mean_length": None},
        }
    },
    "gap": {"held_out": {"stochastic": 0.125, "deterministic": None}},
    "attention": {"train": {"value": head()}},
}
CLASSIFIER = {
    "settings": {"images": 8},
    "accuracy": {
        "test": {"average": 0.5, "worst_group": 0.25, "n": 16, "groups": {"dark": {"accuracy": 0.25, "n": 4}}}
    },
    "masks": {"test": {"n": 16, "marked": 8, "lost": 2}},
    "attention": {"test": {"class": {**head(), "grid": [4, 4]}}, "validation": {}},
    "background_swap": {
        "test": {
            "flips": 0.5, "flips_any": 0.75, "flips_same_texture": 0.0, "accuracy_swapped": 0.25, "n": 16, "pairs": 48,
            "seed": 3,
        }
    },
}  # fmt: skip
FULL = {
    **AGENT,
    "suite": "full",
    "attention": {
        "train": {
            "policy": {
                **head(),
                "fills": {"blur": {"own": {"deletion_effect": 0.375, "undefined": 3}}},
                "changes": {"kl": {"own": {"deletion_effect": 0.0625}}},
                "curves": {"own": {"fractions": [0.0, 0.05], "deletion": [0.0, 1.5], "insertion": [2.0, 1.0]}},
                "consistency": {"noise_spearman": 0.875},
                "randomisation": {"value_net": 0.5},
            }
        }
    },
    "counterfactuals": {
        "train": {
            "frames": 8,
            "undefined_maps": {"value": 1, "random": 0},
            "interventions": [
                {
                    "name": "remove_goal", "kind": "remove", "class_name": "goal", "frames": 7, "area": 0.125,
                    "value_change": 0.5, "policy_drop": None, "value_mass": 0.25,
                },
                {"name": "swap", "kind": "remove", "class_name": "wall", "frames": 0, "value_change": None},
            ],
            "rank_correlation": {"value": {"own": 0.75}},
            "agreements": [
                {
                    "map": "value", "attention": "mass", "decision": "value", "group": "remove", "per_frame": 0.75,
                    "frames": 6, "undefined": 2, "overall": None, "interventions": 2,
                },
                {
                    "map": "random", "attention": "density", "decision": "divergence", "group": "all", "per_frame": 0.5,
                    "frames": 6, "undefined": 2, "overall": 0.25, "interventions": 2,
                },
            ],
        }
    },
}  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def read_former(data):
        (tmp_path / "metrics.json").write_text(json.dumps(data))
        return read_metrics(tmp_path / "metrics.json")

    return read_former


def numbers(results):
    """Return value and count of every result by figure, target, level set, map and control."""
    return {
        "/".join(part for part in (each.figure, each.target, each.level_set, each.map, each.control) if part): (
            each.value,
            each.count,
        )
        for each in results
    }


def test_the_results_of_an_agent(read):
    found = read(AGENT)
    assert (found.suite, found.settings, found.run) == ("quick", AGENT["settings"], AGENT["run"])
    assert found.maps == {"value": MapDescription("gradcam, relu", "value")}
    got = numbers(found.results)
    assert got["return/train/stochastic"] == (0.5, 4)
    assert got["normalized_return/train/stochastic"] == (0.75, 4)
    assert got["episode_length/train/stochastic"] == (9, 4)
    assert got["excluded_episodes/train/stochastic"] == (1, 5)
    assert got["return/train/deterministic"] == (None, 0)
    assert got["gap/held_out/stochastic"] == (0.125, None)
    # A standard deviation of .25 over 4 episodes.
    assert found.results.find(ResultKey("return", "train", control="stochastic")).error == 0.125
    assert got["epg/value/train/own"] == (0.5, 6)
    assert got["iou/value/train/own"] == (None, 0)
    assert got["zero_maps/value/train/own"] == (1, 8)
    # Names of earlier versions; how often average drop is undefined, such files do not say.
    assert got["deletion_change_auc/value/train/random/mean"] == (0.5, 7)
    assert got["insertion_change_auc/value/train/own/mean"] == (0.25, 7)
    assert got["average_drop/value/train/own/mean"] == (None, None)
    assert len(got) == len(found.results) == 25


def test_the_results_of_a_classifier(read):
    found = read(CLASSIFIER)
    got = numbers(found.results)
    assert found.maps["class"].grid == (4, 4)
    assert got["accuracy/test"] == (0.5, 16)
    assert found.results.find(ResultKey("accuracy", "test")).error == 0.125
    assert got["worst_group_accuracy/test"] == (0.25, None)
    assert got["accuracy/test/dark"] == (0.25, 4)
    assert (got["masked_images/test"], got["lost_masks/test"]) == ((8, 16), (2, 16))
    assert got["background_flips/test"] == (0.5, 48)
    assert got["background_flips/test/any"] == (0.75, 16)
    assert got["background_flips/test/same_texture"] == (0.0, 16)
    assert got["accuracy_swapped/test"] == (0.25, 48)
    assert got["epg/class/test/own"] == (0.5, 6)


def test_the_results_of_the_full_suite(read):
    found = read(FULL)
    assert found.suite == "full"
    got = numbers(found.results)
    place = "policy/train/own"
    assert got[f"deletion_effect/{place}/blur"] == (0.375, 5)
    assert got[f"deletion_effect_kl/{place}/mean"] == (0.0625, None)
    assert got[f"deletion_curve/{place}/0.05"] == (1.5, 7)
    assert got[f"insertion_curve/{place}/0.0"] == (2.0, 7)
    assert got[f"consistency_spearman/{place}/noise"] == (0.875, None)
    assert got[f"randomized_spearman/{place}/value_net"] == (0.5, None)
    assert (got["undefined_maps/value/train/own"], got["undefined_maps/train/random"]) == ((1, 8), (0, 8))
    assert got["changed_area/train/remove_goal"] == (0.125, 7)
    assert got["value_change/value/train/remove_goal"] == (0.5, 7)
    assert got["policy_drop/policy/train/remove_goal"] == (None, 7)
    assert got["attention_mass/value/train/own/remove_goal"] == (0.25, 7)
    # What the name of an intervention does not say is added to it.
    assert got["value_change/value/train/swap, remove, wall"] == (None, 0)
    assert got["rank_correlation/value/train/own/remove"] == (0.75, 6)
    assert got["rank_correlation_of_means/value/train/own/remove"] == (None, 2)
    assert got["rank_correlation_density/policy/train/random/all"] == (0.5, 6)
    assert got["rank_correlation_density_of_means/policy/train/random/all"] == (0.25, 2)


def test_files_that_hold_rank_correlations_alone_keep_them(read):
    ranks = {"value": {"own": 0.75, "random": None}}
    data = {"attention": {}, "counterfactuals": {"train": {"rank_correlation": ranks, "rank_correlation_all": ranks}}}
    place = {"level_set": "train", "target": "value"}
    assert read(data).results == tuple(
        Result(figure="rank_correlation", **place, map=map_, control=control, value=value)
        for control in ("remove", "all")
        for map_, value in (("own", 0.75), ("random", None))
    )


@pytest.mark.parametrize(
    "data",
    [
        {"settings": {}},
        {"returns": 3},
        {"returns": {"train": {"stochastic": {}}}},
        {"returns": {"train": {"stochastic": {"mean": "much"}}}},
        {"attention": {"train": {"value": {"map": "gradcam"}}}},
        {"attention": [1]},
        {"accuracy": {"test": {"average": None, "n": 3, "worst_group": 1}}},
    ],
)
def test_what_is_no_such_file_is_one_line_that_names_it(read, data):
    with pytest.raises(ValueError, match=r"metrics\.json does not contain the results of an evaluation: ") as told:
        read(data)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("path", sorted(KEPT.glob("*-seed?.json")), ids=lambda path: path.stem)
def test_the_files_that_the_repository_keeps_are_read(path):
    data = json.loads(path.read_text())
    found = read_metrics(path)
    for name, actions in data["returns"].items():
        for control, each in actions.items():
            assert found.results.value("return", level_set=name, control=control) == each["mean"]
    for name, targets in data["attention"].items():
        for target, each in targets.items():
            for figure, value in each["alignment"].items():
                assert found.results.value(figure, level_set=name, target=target, map="own") == value
