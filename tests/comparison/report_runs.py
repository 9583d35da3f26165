"""Run folders with known metrics, for the tests of reports."""

import json

from camal_rl.comparison.plan import method_config
from camal_rl.comparison.report.runs import find_runs, group_runs, read_run
from camal_rl.runs.loading import dump_yaml, load_config

MAPS = ("own", "random", "mask")


def head(epg, effect, full=False):
    figures = {name: {"deletion_effect": value} for name, value in zip(MAPS, (effect, 0.25, 0.5), strict=True)}
    result = {
        "map": "gradcam, relu",
        "score": "value",
        "frames": 8,
        "alignment": {"epg": epg, "area_fraction": 0.125, "mae": None},
        "zero_maps": 2,
        "empty_targets": 0,
        "faithfulness": figures,
    }
    if full:
        figures["own"]["undefined"] = 0
        figures["perturbation"] = {"undefined": 1, "deletion_effect": 0.75, "sufficiency": -0.5, "brand_new": 3.5}
        result["fills"] = {"blur": {"own": {"deletion_effect": 0.625}}}
        line = {"fractions": [0.0, 0.5, 1.0], "deletion": [0.0, 0.5, 1.0], "insertion": [1.0, 0.5, 0.0]}
        result["curves"] = {"own": line, "random": line}
        result["consistency"] = {"consistency_under_noise": 0.875}
        result["randomization"] = {"value_head": 0.375}
    return result


def metrics(train, held_out, epg, effect=1.0, full=False):
    def actions(mean):
        return {"stochastic": {"mean": mean}, "deterministic": {"mean": mean + 100}}

    result = {
        "settings": {"episodes": 12, "frames": 8, "seed": 3},
        "returns": {"train": actions(train), "held_out": actions(held_out)},
        "gap": {"held_out": {"stochastic": train - held_out, "deterministic": 0.0}},
        "attention": {"held_out": {"value": head(epg, effect, full)}},
    }
    if full:
        removal = {"name": "removed", "kind": "remove", "frames": 8, "value_change": 0.5, "flips": None}
        ranks = {"value": {"own": 0.625, "random": 0.0625}}
        result["suite"] = "full"
        result["counterfactuals"] = {
            "held_out": {
                "interventions": [{**removal, "class_name": "goal"}, {**removal, "class_name": "wall", "flips": 0.75}],
                "rank_correlation": ranks,
            }
        }
    return result


def write_run(path, method, seed, measured, *overrides):
    """Write the folder of a run without a model; ``measured`` is what metrics.json holds."""
    path.mkdir(parents=True)
    config = method_config(load_config("toy_grid", overrides), method, seed)
    (path / "config.yaml").write_text(dump_yaml(config))
    (path / "train.json").write_text(json.dumps({"interrupted": False, "timesteps": 256, "seconds": 2.0}))
    if measured is not None:
        (path / "metrics.json").write_text(json.dumps(measured))
    return path


def write_comparison(root, ppo, camal):
    for method, results in (("ppo", ppo), ("camal", camal)):
        for seed, figures in enumerate(results):
            write_run(root / f"{method}-seed{seed}", method, seed, metrics(*figures))
    return root


def read_groups(*paths):
    return group_runs([read_run(path) for path in find_runs(paths)])


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def comparison_group(path):
    """Return three seeds of two methods: camal returns less on train, more on held-out levels."""
    ppo = [(8, 1, 0.1), (9, 2, 0.2), (10, 3, 0.3)]
    camal = [(5, 5, 0.7), (6, 6, 0.8), (7, 7, 0.9)]
    (found,) = read_groups(write_comparison(path / "runs", ppo, camal))
    return found


def full_group(path):
    """Return two seeds of two methods, evaluated by the full suite."""
    for method, epg in (("ppo", 0.25), ("camal", 0.75)):
        for seed in range(2):
            write_run(path / f"{method}-seed{seed}", method, seed, metrics(1 + seed, 2, epg, full=True))
    return read_groups(path)[0]
