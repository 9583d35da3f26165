import random

import numpy as np
import pytest
import torch

from camal_rl.comparison.plan import PlannedRun
from camal_rl.comparison.plots import learning_curves, share_over_level_sets
from camal_rl.rl.evaluate.held_out import HELD_OUT_RETURN
from camal_rl.rl.training import prepare, run
from camal_rl.runs.curves import read_curves
from camal_rl.runs.loading import load_config
from camal_rl.runs.results import ResultKey
from camal_rl.runs.run_folder import RunFolder
from tests.conftest import TINY

QUICK = ("log.overlay_every=0", "log.checkpoint_every=0", "log.held_out_episodes=4")


def train(path, *overrides):
    folder = RunFolder(path)
    trial = prepare(load_config("toy_grid", [*TINY, *QUICK, *overrides]), folder)
    run(trial, ["test"])
    return folder, trial.model


@pytest.mark.parametrize("weight", [0, 0.1])
def test_training_is_the_same_bit_for_bit_with_and_without(tmp_path, weight):
    results = []
    for every in (0, 128):
        _, model = train(tmp_path / str(every), f"camal.weight={weight}", f"log.held_out_every={every}")
        drawn = (torch.rand(1).item(), np.random.rand(), random.random())  # noqa: NPY002
        results.append((model.policy.state_dict(), model.policy.optimizer.state_dict(), drawn))
    (first, first_optimizer, first_drawn), (second, second_optimizer, second_drawn) = results
    assert all(torch.equal(first[name], second[name]) for name in first)
    for key, state in first_optimizer["state"].items():
        assert all(torch.equal(state[name], second_optimizer["state"][key][name]) for name in state)
    assert first_drawn == second_drawn


def test_the_curve_begins_with_the_first_rollout_and_ends_with_the_last(tmp_path):
    folder, model = train(tmp_path / "run", "log.held_out_every=1000")
    curves = read_curves(folder.tensorboard, [HELD_OUT_RETURN, "rollout/ep_rew_mean"])
    steps, values = curves[HELD_OUT_RETURN]
    assert steps.tolist() == [128, 256]
    assert np.isfinite(values).all()
    figure = learning_curves([PlannedRun("camal", 0, folder.config(), folder)])
    panels = {axes.get_title(): axes for axes in figure.axes}
    train_axes, held_out_axes = panels["return on training levels"], panels["return on held-out levels"]
    assert train_axes.get_ylim() == held_out_axes.get_ylim()
    assert model.num_timesteps == 256


def test_it_is_off_by_default_and_needs_a_held_out_set(tmp_path):
    assert load_config("procgen/starpilot").log.held_out_every == 0
    assert load_config("demo").log.held_out_every > 0
    config = load_config("toy_grid", [*TINY, "evaluation.sets=[train]", "evaluation.attention_sets=[train]"])
    with pytest.raises(ValueError, match=r"evaluation\.sets contains only train; add held_out to it"):
        prepare(config, RunFolder(tmp_path / "run"))
    with pytest.raises(ValueError, match="held_out_episodes must be at least 1"):
        load_config("toy_grid", ["log.held_out_episodes=0"])


def test_panels_of_one_figure_share_an_axis_over_the_level_sets():
    from matplotlib.figure import Figure

    plot = Figure()
    gap = ResultKey("gap", "held_out", control="stochastic")
    (train, held_out), (epg_train, epg_held_out) = (
        [key._replace(level_set=name) for name in ("train", "held_out")]
        for key in (ResultKey("return", control="stochastic"), ResultKey("epg", target="value", map="own"))
    )
    keys = (train, held_out, gap, epg_train, epg_held_out)
    panels = {key: plot.add_subplot(1, len(keys), place + 1) for place, key in enumerate(keys)}
    for place, axes in enumerate(panels.values()):
        axes.plot([0, 1], [place, 2 * place + 1])
    share_over_level_sets(panels)
    limits = {key: axes.get_ylim() for key, axes in panels.items()}
    assert limits[train] == limits[held_out]
    assert limits[epg_train] == limits[epg_held_out]
    assert limits[gap] not in (limits[held_out], limits[epg_held_out])
    low, high = limits[train]
    assert low < 0
    assert high > 3


def test_the_demo_trains_as_long_as_the_claim_needs():
    demo = load_config("demo")
    assert demo.total_timesteps == load_config("toy_grid").total_timesteps == 131_072
