"""``camal-rl evaluate --suite full``: every figure, and the simulator's counterfactuals."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from camal_rl.agents import CAMALPPO, CamalConfig
from camal_rl.cli.main import main
from camal_rl.comparison.plan import PlannedRun
from camal_rl.comparison.run_tables import counterfactual_table
from camal_rl.envs import make_vec
from camal_rl.metrics import FAITHFULNESS_METRICS, preferred_action_drop
from camal_rl.rl.evaluate.attention import attention_report
from camal_rl.rl.evaluate.counterfactuals import counterfactual_report
from camal_rl.rl.evaluate.evaluation import evaluate_run, evaluation_settings, stages
from camal_rl.rl.evaluate.faithfulness import head_decision, neutral_maps
from camal_rl.rl.frames import sample_frames
from camal_rl.rl.model_file import load_model
from camal_rl.runs import faithfulness_suite
from camal_rl.runs.loading import load_config
from camal_rl.runs.metrics_file import RunMetrics, read_metrics, write_metrics
from camal_rl.runs.results import ResultKey, Results
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.task import EvaluationOptions, task_of
from tests.agents.policies import channels_first, frames, policy_of

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
    quick, everything = (report.results for report in full)
    assert full[0].maps == full[1].maps
    for head in ("value", "policy"):
        own = {"target": head, "map": "own"}
        assert everything.select(**own, control=None) == quick.select(**own, control=None)
        effect = everything.value("deletion_effect", **own, control="mean")
        assert effect == pytest.approx(quick.value("deletion_effect", **own, control="mean"), rel=1e-3, abs=1e-5)
        names = [metric.name for metric in FAITHFULNESS_METRICS]
        maps = everything.names("map", target=head, figure="deletion_effect", control="mean")
        assert maps == ["own", "random", "mask", "perturbation", "integrated_gradients"]
        for map_ in maps:
            of_map = everything.select(target=head, map=map_, control="mean")
            assert [each.figure for each in of_map if not each.figure.endswith(("_kl", "_sarfa"))] == names
        for fill in ("blur", "zero", "road"):
            assert everything.names("map", target=head, control=fill) == ["own", "random", "mask"]
            assert "average_drop" not in everything.names("figure", target=head, control=fill)
        curve = everything.select(figure="deletion_curve", **own)
        early = [each.value for each in curve if 0 < float(each.control) <= 0.5]
        assert np.mean(early) == pytest.approx(effect, rel=1e-5)
        # On no frame is there a probability of the value.
        drop = everything.find(ResultKey("average_drop", None, head, "own", "mean"))
        assert (drop.count, drop.value is None) == ((0, True) if head == "value" else (4, False))
    for measure in ("kl", "sarfa"):
        assert everything.names("target", figure=f"deletion_effect_{measure}") == ["policy"]


def test_stability_of_the_own_map(full):
    of_policy = full[1].results.select(target="policy", map="own")
    consistency = [each for each in of_policy if each.figure.startswith("consistency_")]
    assert [(each.figure, each.control) for each in consistency] == [
        (f"consistency_{measure}", change) for change in ("noise", "shift") for measure in ("spearman", "cosine")
    ]
    assert 0.5 < of_policy.value("consistency_cosine", target="policy", map="own", control="noise") <= 1 + 1e-6
    stages_of = of_policy.select(figure="randomized_spearman")
    # The value head is no part of the policy's map; the whole network is.
    assert (stages_of[0].control, stages_of[0].value) == ("value_net", pytest.approx(1.0))
    assert stages_of[0].count == 4
    assert stages_of[-1].value < 0.95


def test_counterfactuals_are_those_of_the_simulator_and_the_policy(model):
    venv = make_vec("toy_grid/default", 4, 3)
    report = counterfactual_report(model, venv, 4, 3, CAMAL, 0, "train")
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
    of_goal = report.select(control="remove_goal")
    got = {each.figure: each.value for each in of_goal}
    assert {each.count for each in of_goal} == {redrawn.applies.sum()} == {4}
    assert {each.level_set for each in report} == {"train"}
    assert got["changed_area"] == pytest.approx(redrawn.changed.mean(), rel=1e-5)
    assert got["value_change"] == pytest.approx(np.abs(values - values_after).mean() / values.std(), rel=1e-4)
    divergence = (before * np.log(before / after)).sum(axis=1).mean()
    assert got["policy_kl"] == pytest.approx(divergence, rel=1e-3, abs=1e-7)
    assert {each.count for each in report.select(figure="undefined_maps")} == {4}
    for control in ("remove", "all"):
        maps = report.names("map", figure="rank_correlation", target="policy", control=control)
        assert {*maps} == {"own", "random", "uniform"}


def test_surplus_frames_are_cut_off(model):
    report = counterfactual_report(model, make_vec("toy_grid/default", 4, 3), 6, 2, CAMAL, 0)
    assert {each.count for each in report.select(figure="undefined_maps")} == {6}


def test_environments_that_cannot_redraw_have_no_counterfactuals(model):
    from camal_rl.envs import find_counterfactual

    venv = make_vec("toy_grid/default", 2, 3)
    assert find_counterfactual(venv) is not None
    venv.interventions = lambda: ()
    assert counterfactual_report(model, venv, 4, 2, CAMAL, 0) == ()


def test_a_map_of_one_cell_can_be_measured():
    policy, images = policy_of("nature", shape=(3, 36, 36)), channels_first(frames(3, 36, 36))
    assert policy.cam_grid == (1, 1)
    decision = head_decision(policy, "policy", preferred_action_drop)
    maps = {"own": torch.ones(3, 36, 36)}
    found = Results(
        faithfulness_suite.faithfulness_suite(decision, images, maps, neutral_maps(policy, "policy", images), 0)
    )
    assert found.names("map", figure="deletion_effect", control="mean") == [
        "own",
        "perturbation",
        "integrated_gradients",
    ]


def test_the_evaluation_writes_the_suite(trained, tmp_path):
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(trained.path, folder.path)
    settings = evaluation_settings(folder.config(), EvaluationOptions(4, 4, "full"))
    done = []
    metrics = evaluate_run(folder, load_model(folder), settings, done.append)
    assert done == stages(settings)
    assert metrics == read_metrics(folder.metrics_file)
    assert metrics.suite == "full"
    assert metrics.results.level_sets("rank_correlation") == ["held_out"]
    assert len(counterfactual_table(metrics.results).rows) == 4


def test_an_unknown_suite_and_a_missing_package(trained, capsys, monkeypatch):
    with pytest.raises(SystemExit) as exit_code:
        main(["evaluate", str(trained.path), "--suite", "fast"])
    assert exit_code.value.code == 2
    assert capsys.readouterr().err == "camal-rl: suite must be one of quick, full, got 'fast'\n"
    monkeypatch.setattr(faithfulness_suite, "find_spec", lambda name: None)
    config = trained.config()
    assert evaluation_settings(config, EvaluationOptions(suite="quick")).suite == "quick"
    with pytest.raises(ImportError, match=r"pip install 'captum>=0\.8'$"):
        evaluation_settings(config, EvaluationOptions(suite="full"))


def test_a_configuration_can_ask_for_the_full_suite(tmp_path, monkeypatch):
    config = load_config("toy_grid", ["evaluation.suite=full"])
    assert evaluation_settings(config).suite == "full"
    assert evaluation_settings(config, EvaluationOptions(suite="quick")).suite == "quick"
    monkeypatch.setattr(faithfulness_suite, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="captum"):
        task_of(config).prepare(config, RunFolder(tmp_path / "run"))


def test_a_run_of_the_full_suite_is_evaluated_for_the_quick_one_too(trained, tmp_path):
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(trained.path, folder.path)
    config = folder.config()
    for suite, asked, evaluated in (("quick", "full", False), ("full", "full", True), ("full", "quick", True)):
        settings = {name: value for name, value in config.as_dict()["evaluation"].items() if name != "suite"}
        write_metrics(folder.metrics_file, RunMetrics({}, suite, settings, Results(), {}))
        planned = PlannedRun("camal", 0, replace(config, evaluation=replace(config.evaluation, suite=asked)), folder)
        assert planned.is_evaluated() is evaluated
