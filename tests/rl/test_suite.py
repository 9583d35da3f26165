"""``camal-rl evaluate --suite full``: every figure, and the simulator's counterfactuals."""

import shutil

import numpy as np
import pytest
import torch

from camal_rl.agents import CAMALPPO, CamalConfig
from camal_rl.cli.main import main
from camal_rl.comparison.tables import counterfactual_table
from camal_rl.envs import make_vec
from camal_rl.metrics import FAITHFULNESS_METRICS
from camal_rl.rl.evaluate import faithfulness as faithfulness_suite
from camal_rl.rl.evaluate.attention import attention_report
from camal_rl.rl.evaluate.counterfactuals import counterfactual_report
from camal_rl.rl.evaluate.evaluation import check_suite, evaluate_run, evaluation_settings, load_model, stages
from camal_rl.rl.frames import sample_frames
from camal_rl.runs.run_folder import RunFolder, read_json

# An absolute map has no ties: its pixels have one order.
CAMAL = CamalConfig(value_rectification="absolute", policy_rectification="absolute")


@pytest.fixture(scope="module")
def model(trained):
    return CAMALPPO.load(trained.model_file)


@pytest.fixture(scope="module")
def full(model):
    """Return the quick and the full report on the same four frames."""
    frames = sample_frames(model, make_vec("toy_grid/default", 2, 3), 4, 2, 0)
    return tuple(attention_report(model.policy, frames, CAMAL, 0, suite) for suite in ("quick", "full"))


def test_the_full_suite_holds_the_quick_one_and_every_figure_of_every_map(full):
    quick, everything = full
    for head in ("value", "policy"):
        assert everything[head]["alignment"] == quick[head]["alignment"]
        own = everything[head]["faithfulness"]["own"]
        assert own["deletion_effect"] == pytest.approx(
            quick[head]["faithfulness"]["own"]["deletion_effect"], rel=1e-3, abs=1e-5
        )
        maps = everything[head]["faithfulness"]
        assert list(maps) == ["own", "random", "mask", "perturbation", "integrated_gradients"]
        names = {metric.name for metric in FAITHFULNESS_METRICS}
        assert all({*figures} == {*names, "undefined"} for figures in maps.values())
        assert {fill: [*maps] for fill, maps in everything[head]["fills"].items()} == {
            fill: ["own", "random", "mask"] for fill in ("blur", "zero", "road")
        }
        curve = everything[head]["curves"]["own"]
        early = [value for share, value in zip(curve["fractions"], curve["deletion"], strict=True) if 0 < share <= 0.5]
        assert np.mean(early) == pytest.approx(own["deletion_effect"], rel=1e-5)
    assert "changes" not in everything["value"]
    assert [*everything["policy"]["changes"]] == ["kl", "sarfa"]


def test_stability_of_the_own_map(full):
    stability = full[1]["policy"]
    assert [*stability["consistency"]] == ["noise_spearman", "noise_cosine", "shift_spearman", "shift_cosine"]
    assert 0.5 < stability["consistency"]["noise_cosine"] <= 1 + 1e-6
    stages_of = list(stability["randomization"].items())
    # The value head is no part of the policy's map; the whole network is.
    assert stages_of[0] == ("value_net", pytest.approx(1.0))
    assert stages_of[-1][1] < 0.95


def test_counterfactuals_are_those_of_the_simulator_and_the_policy(model):
    venv = make_vec("toy_grid/default", 4, 3)
    report = counterfactual_report(model, venv, 4, 3, CAMAL, 0)
    # The oracle plays to the same frames and asks the simulator itself.
    venv = make_vec("toy_grid/default", 4, 3)
    frames = sample_frames(model, venv, 4, 3, 0)
    remove = next(each for each in venv.interventions() if each.name == "remove_goal")
    redrawn = venv.counterfactual(remove)

    def outputs(images):
        batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            probabilities = model.policy.get_distribution(batch).distribution.probs
            return model.policy.predict_values(batch).numpy().ravel(), probabilities.numpy()

    (values, before), (values_after, after) = outputs(frames.images), outputs(redrawn.images)
    got = next(each for each in report["interventions"] if each["name"] == "remove_goal")
    assert got["frames"] == redrawn.applies.sum() == 4
    assert got["class_name"] == "goal"
    assert got["area"] == pytest.approx(redrawn.changed.mean(), rel=1e-5)
    assert got["value_change"] == pytest.approx(np.abs(values - values_after).mean() / values.std(), rel=1e-4)
    divergence = (before * np.log(before / after)).sum(axis=1).mean()
    assert got["policy_kl"] == pytest.approx(divergence, rel=1e-3, abs=1e-7)
    assert report["frames"] == 4
    assert {*report["rank_correlation"]["policy"]} == {"own", "random", "uniform"}


def test_surplus_frames_are_cut_off(model):
    assert counterfactual_report(model, make_vec("toy_grid/default", 4, 3), 6, 2, CAMAL, 0)["frames"] == 6


def test_environments_that_cannot_redraw_have_no_counterfactuals(model):
    from camal_rl.envs import find_counterfactual

    venv = make_vec("toy_grid/default", 2, 3)
    assert find_counterfactual(venv) is not None
    venv.interventions = lambda: ()
    assert counterfactual_report(model, venv, 4, 2, CAMAL, 0) is None


def test_the_evaluation_writes_the_suite(trained, tmp_path):
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(trained.path, folder.path)
    settings = evaluation_settings(folder.config(), 4, 4)
    done = []
    metrics = evaluate_run(folder, load_model(folder), settings, done.append, "full")
    assert done == stages(settings, "full")
    assert metrics == read_json(folder.metrics_file)
    assert metrics["suite"] == "full"
    assert [*metrics["counterfactuals"]] == ["held_out"]
    assert len(counterfactual_table(metrics).rows) == 4


def test_an_unknown_suite_and_a_missing_package(trained, capsys, monkeypatch):
    with pytest.raises(SystemExit) as exit_code:
        main(["evaluate", str(trained.path), "--suite", "fast"])
    assert exit_code.value.code == 2
    assert capsys.readouterr().err == "camal-rl: suite must be one of quick, full, got 'fast'\n"
    monkeypatch.setattr(faithfulness_suite, "find_spec", lambda name: None)
    assert check_suite("quick") == "quick"
    with pytest.raises(ImportError, match=r"pip install 'captum>=0\.7'$"):
        check_suite("full")
