"""Run folders with known results, for the tests of comparisons and reports."""

import json
from pathlib import Path

from camal_rl.comparison.groups import FoundRun, Group, find_runs, group_runs, read_run
from camal_rl.comparison.plan import PlannedRun, method_config
from camal_rl.runs.loading import dump_yaml, load_config
from camal_rl.runs.metrics_file import MapDescription, RunMetrics, write_metrics
from camal_rl.runs.results import Result, Results
from camal_rl.runs.run_folder import RunFolder

MAPS = ("own", "random", "mask")
HELD_OUT = {"level_set": "held_out", "target": "value"}
OWN = {**HELD_OUT, "map": "own"}
SETTINGS = {"episodes": 12, "frames": 8, "seed": 3}


def head(epg, effect, full=False):
    alignment = {"epg": (epg, 8), "area_fraction": (0.125, 8), "mae": (None, 0), "zero_maps": (2, 8)}
    found = [Result(figure=name, **OWN, value=value, count=count) for name, (value, count) in alignment.items()]
    found.append(Result(figure="empty_targets", **OWN, value=0, count=8))
    for map_, value in zip(MAPS, (effect, 0.25, 0.5), strict=True):
        found.append(Result(figure="deletion_effect", **HELD_OUT, map=map_, control="mean", value=value, count=8))
    if full:
        neutral = {**HELD_OUT, "map": "perturbation", "control": "mean"}
        others = {"deletion_effect": (0.75, 7), "sufficiency": (-0.5, 7), "brand_new": (3.5, 7)}
        found += [Result(figure=name, **neutral, value=value, count=count) for name, (value, count) in others.items()]
        found.append(Result(figure="deletion_effect", **OWN, control="blur", value=0.625, count=8))
        for map_ in ("own", "random"):
            for mode, changes in (("deletion", (0.0, 0.5, 1.0)), ("insertion", (1.0, 0.5, 0.0))):
                for share, value in zip(("0.0", "0.5", "1.0"), changes, strict=True):
                    found.append(Result(figure=f"{mode}_curve", **HELD_OUT, map=map_, control=share, value=value))
        found.append(Result(figure="consistency_spearman", **OWN, control="noise", value=0.875))
        found.append(Result(figure="randomized_spearman", **OWN, control="value_head", value=0.375))
    return found


def returns(**means):
    """Return the results of returns by level set, preferred actions 100 better, and the gaps to ``train``."""
    found = []
    for name, mean in means.items():
        for actions, more in (("stochastic", 0), ("deterministic", 100)):
            found.append(Result(figure="return", level_set=name, control=actions, value=mean + more))
    for name, mean in means.items():
        if name != "train":
            found.append(Result(figure="gap", level_set=name, control="stochastic", value=means["train"] - mean))
            found.append(Result(figure="gap", level_set=name, control="deterministic", value=0.0))
    return found


def counterfactuals():
    found = []
    for name, flips in (("removed, goal", None), ("removed, wall", 0.75)):
        place = {"level_set": "held_out", "control": name, "count": 8}
        found.append(Result(figure="changed_area", **place, value=0.25))
        found.append(Result(figure="value_change", target="value", **place, value=0.5))
        found.append(Result(figure="flips", target="policy", **place, value=flips))
        found.append(Result(figure="attention_mass", target="value", map="own", **place, value=0.375))
    for map_, value in (("own", 0.625), ("random", 0.0625)):
        found.append(Result(figure="rank_correlation", **HELD_OUT, map=map_, control="remove", value=value))
    return found


def metrics(train, held_out, epg, effect=1.0, full=False):
    results = [*returns(train=train, held_out=held_out), *head(epg, effect, full), *(counterfactuals() if full else ())]
    maps = {"value": MapDescription("gradcam, relu", "value")}
    return RunMetrics({}, "full" if full else "quick", SETTINGS, Results(results), maps)


def write_run(path, method, seed, measured, *overrides):
    """Write the folder of a run without a model; ``measured`` is what metrics.json holds."""
    path.mkdir(parents=True)
    config = method_config(load_config("toy_grid", overrides), method, seed)
    (path / "config.yaml").write_text(dump_yaml(config))
    (path / "train.json").write_text(json.dumps({"interrupted": False, "timesteps": 256, "seconds": 2.0}))
    if measured is not None:
        write_metrics(path / "metrics.json", measured)
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


def made_group(figures, errors=None, methods=("ppo", "camal"), maps=None):
    """Return a group without files.

    Args:
        figures: by key the values of every method, in their order: a list with one for each seed.
        errors: by key the standard error of each value.
        methods: their names.
        maps: how their maps were computed, by target.
    """
    config, errors, runs = load_config("toy_grid"), errors or {}, []
    for place, method in enumerate(methods):
        seeds = max((len(each[place]) for each in figures.values() if len(each) > place), default=1)
        for seed in range(seeds):
            found = [
                Result(**key._asdict(), value=each[place][seed], error=errors.get(key))
                for key, each in figures.items()
                if len(each) > place and len(each[place]) > seed
            ]
            measured = RunMetrics({}, "quick", SETTINGS, Results(found), maps or {})
            folder = RunFolder(Path(f"{method}-seed{seed}"))
            runs.append(FoundRun(method, seed, config, folder, measured, None, None, None))
    return Group("toy_grid/default", tuple(methods), tuple(runs), ())


def planned_runs(path):
    """Return three seeds of two methods whose results lie in folders, as a comparison has planned them."""
    config, planned = load_config("toy_grid"), []
    seeds = {"ppo": [(8, 1, 0.1), (9, 2, 0.2), (10, 3, 0.3)], "camal": [(8, 5, 0.7), (9, 6, 0.8), (10, 7, 0.9)]}
    for method, found in seeds.items():
        for seed, (train, held_out, epg) in enumerate(found):
            folder = RunFolder(path / f"{method}-seed{seed}")
            folder.path.mkdir()
            effects = {"own": 2 * epg, "random": 0.1, "mask": 2 * epg}
            results = [
                *returns(train=train, held_out=held_out),
                *(Result(figure=name, **OWN, value=value) for name, value in (("epg", epg), ("pointing_game", None))),
                Result(figure="iou", **OWN, value=0.25),
                *(
                    Result(figure="deletion_effect", **HELD_OUT, map=map_, control="mean", value=value)
                    for map_, value in effects.items()
                ),
            ]
            write_metrics(folder.metrics_file, RunMetrics({}, "quick", SETTINGS, Results(results), {}))
            planned.append(PlannedRun(method, seed, method_config(config, method, seed), folder))
    return planned
