"""``camal-rl sweep``: trials, budget and the best configuration are on disk; tuning seeds are spent."""

import math
import sys
from contextlib import contextmanager

import pytest

from camal_rl.comparison import plan, worker
from camal_rl.comparison.backends import BACKENDS
from camal_rl.comparison.outcomes import Cells, Ending, Outcome
from camal_rl.failures import DivergedError
from camal_rl.runs import run_folder
from camal_rl.runs.json_files import read_json, write_record
from camal_rl.runs.loading import load_config
from camal_rl.runs.metrics_file import RunMetrics, write_metrics
from camal_rl.runs.results import Result, Results
from tests.command_line import refusal, run_main
from tests.conftest import TINY

SWEEP = ("sweep", "toy_grid", *TINY, "--no-progress", "--out", "out")
RATE = "algorithm.learning_rate"


class Here:
    """Executes runs in this process, one after the other, and as many as ``limit`` says."""

    limit = math.inf
    started: list

    @contextmanager
    def opened(self, folder):
        yield self.execute

    def execute(self, runs, command, on_progress, tell):
        cells = Cells(runs, on_progress, tell)
        while cells.waiting:
            if len(self.started) >= self.limit:
                return Outcome(cells.failures, 2)
            index, messages = cells.waiting.popleft(), []
            self.started.append(runs[index].label)
            worker.execute_run(runs[index], command, messages.append)
            cells.settle(index, messages[-1], Ending(""))
        return Outcome(cells.failures, None)


def fake_run(planned, command, *_):
    """Write what a run would: its return is best at a learning rate of .001, and above .1 it diverges."""
    rate = planned.config.algorithm.learning_rate
    if rate > 0.1:
        raise DivergedError(3, "the loss", "ppo", "lower it")
    folder = planned.folder
    folder.path.mkdir(parents=True)
    folder.create(planned.config, command, {"device": "cpu", "precision": "float32"})
    write_record(folder.train_file, {"interrupted": False, "timesteps": 256, "seconds": 1.0})
    value = -abs(math.log10(rate) + 3) + 0.01 * (planned.seed - 100)
    results = Results([
        Result(figure="return", level_set="train", control="stochastic", value=value, count=4),
        Result(figure="return", level_set="held_out", control="stochastic", value=-value, count=4),
    ])  # fmt: skip
    settings = planned.config.as_dict()["evaluation"]
    suite = settings.pop("suite")
    write_metrics(folder.metrics_file, RunMetrics({"env": "toy_grid"}, suite, settings, results, {}))
    return worker.DONE


@pytest.fixture
def here(in_tmp, monkeypatch):
    """Have sweeps run fakes in this process."""
    monkeypatch.setattr(BACKENDS, "_entries", dict(BACKENDS._entries))
    monkeypatch.setattr(worker, "_execute", fake_run)
    monkeypatch.setattr(plan, "check_runs", lambda runs: None)
    monkeypatch.setattr(run_folder, "provenance", dict)
    monkeypatch.setattr(Here, "started", [], raising=False)
    monkeypatch.setattr(Here, "limit", math.inf)
    BACKENDS.register("here", Here)
    return in_tmp / "out"


def swept(*arguments):
    return run_main(*SWEEP, *arguments, "--backend", "here")


def test_a_grid_writes_every_trial_the_budget_and_the_best_configuration(here, capsys):
    assert swept(f"{RATE}=0.01,0.001", "camal.weight=0.05,0.15", "--seeds", "2") == 0
    record = read_json(here / "sweep.json")
    assert record["budget"] == {"trials": 4, "runs": 8, "steps": 8 * 256}
    assert record["seeds"] == [100, 101]
    assert record["objective"] == {
        "figure": "return", "level_set": "train", "higher_is_better": True, "spends_a_test": False,
    }  # fmt: skip
    best, *_, worst = record["trials"]
    assert best["settings"] == {RATE: "0.001", "camal.weight": "0.05"}
    assert best["by_seed"] == {"100": 0.0, "101": 0.01}
    assert best["objective"] == pytest.approx(0.005)
    assert best["label"] == f"{RATE}=0.001 camal.weight=0.05"
    assert best["figures"] == {"return@train": pytest.approx(0.005), "return@held_out": pytest.approx(-0.005)}
    assert worst["settings"][RATE] == "0.01"
    assert record["best"] == best["number"] == 2
    assert {"command", "git_revision", "machine", "versions"} <= record.keys()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "grid search, return@train ↑, the best first"
    assert lines[3].split() == ["2", "0.001", "0.05", "done", "0.005", "0.007", "512"]
    assert "Budget: 4 trials, 8 runs, 2,048 steps. Tuning seeds 100, 101: best.yaml refuses them." in lines[7]
    config = load_config(here / "best.yaml")
    assert (config.algorithm.learning_rate, config.camal.weight, config.seed) == (0.001, 0.05, 0)
    assert vars(config.tuning) == {
        "search": "grid", "objective": "return@train", "keys": (RATE, "camal.weight"), "trials": 4, "runs": 8,
        "steps": 2048, "seeds": (100, 101),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "seed"),
    [
        (("train", "out/best.yaml", "seed=101"), 101),
        (("compare", "out/best.yaml", "seed=99", "--methods", "ppo", "--seeds", "2"), 100),
    ],
)
def test_tuning_seeds_are_refused_where_the_best_settings_are_tested(here, capsys, arguments, seed):
    assert swept(f"{RATE}=0.01,0.001", "--seeds", "2") == 0
    capsys.readouterr()
    assert run_main(*arguments) == 2
    assert f"were tuned on seed {seed} (tuning.seeds: 100, 101)" in refusal(capsys)


def test_values_that_only_the_baseline_ignores_are_tried(here):
    assert swept("camal.weight=0,0.1", "camal.inside_weight=0.1,1") == 0
    assert len(read_json(here / "sweep.json")["trials"]) == 4


def test_a_sweep_over_tuned_settings_adds_up_the_budgets(here, capsys):
    assert swept(f"{RATE}=0.01,0.001") == 0
    assert (
        run_main(
            "sweep", "out/best.yaml", "camal.weight=0.05,0.15", "--seeds", "2", "--out", "more", "--backend", "here"
        )
        == 0
    )
    tuning = load_config(here.parent / "more" / "best.yaml").tuning
    assert (tuning.trials, tuning.runs, tuning.seeds, tuning.keys) == (4, 6, (100, 101), (RATE, "camal.weight"))


def test_a_trial_that_diverges_is_told_and_the_others_go_on(here, capsys):
    assert swept(f"{RATE}=0.5,0.001") == 0
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "camal-rl: trial 0 seed 100 failed and is left out: training diverged at step 3: the loss is not finite (ppo); "
        "lower it"
    ]
    assert out.splitlines()[4].split() == ["0", "0.5", "failed", "-", "0"]
    failed = read_json(here / "sweep.json")["trials"][-1]
    assert (failed["state"], failed["objective"]) == ("failed", None)
    assert failed["failure"].startswith("training diverged")


def test_without_any_trial_that_ends_the_exit_code_is_that_of_the_failures(here, capsys):
    assert swept(f"{RATE}=0.5,0.6") == 3
    assert capsys.readouterr().err.splitlines()[-1] == "camal-rl: no trial was completed"
    assert not (here / "best.yaml").exists()


def test_values_that_do_not_go_together_are_a_failed_trial(here, capsys):
    assert swept("env.segmentation=null,default", "camal.weight=0.05,0") == 0
    err = capsys.readouterr().err.splitlines()
    assert err == ["camal-rl: trial 0 is left out: camal.weight above 0 needs masks: set env.segmentation=default"]
    states = {each["number"]: each["state"] for each in read_json(here / "sweep.json")["trials"]}
    assert states == {0: "failed", 1: "done", 2: "done", 3: "done"}


@pytest.mark.parametrize("search", [("--search", "grid"), ("--search", "optuna", "--trials", "6", "--at-once", "2")])
def test_an_interrupted_sweep_goes_on_to_the_same_trials(here, capsys, monkeypatch, search):
    if "optuna" in search:
        pytest.importorskip("optuna")
    varied = (f"{RATE}=0.01,0.003,0.001,0.0001,0.00003,0.0003", *search)
    monkeypatch.setattr(Here, "limit", 3)
    assert swept(*varied) == 130
    assert "run the same command to resume" in capsys.readouterr().err
    states = [each["state"] for each in read_json(here / "sweep.json")["trials"]]
    assert states.count("done") == 3
    monkeypatch.setattr(Here, "limit", math.inf)
    assert swept(*varied) == 0
    assert len(Here.started) == len(set(Here.started)) == 6
    trials = read_json(here / "sweep.json")["trials"]
    here.rename(here.with_name("first"))
    Here.started.clear()
    assert swept(*varied) == 0
    assert read_json(here / "sweep.json")["trials"] == trials
    assert swept(*varied) == 0
    assert len(Here.started) == 6


def test_optuna_finds_more_than_it_began_with_and_goes_on_to_more_trials(here):
    pytest.importorskip("optuna")
    varied = (f"{RATE}=1e-5:0.1:log", "algorithm.gae_lambda=0.9:1", "--search", "optuna")
    assert swept(*varied, "--trials", "12") == 0
    assert swept(*varied, "--trials", "16") == 0
    record = read_json(here / "sweep.json")
    assert len(Here.started) == 16
    assert record["trials"][0]["objective"] > -0.5
    assert all(0.9 <= float(each["settings"]["algorithm.gae_lambda"]) <= 1 for each in record["trials"])


def test_a_study_of_other_values_is_refused_in_one_line(here, capsys):
    pytest.importorskip("optuna")
    assert swept(f"{RATE}=0.01,0.001", "--search", "optuna", "--trials", "2") == 0
    capsys.readouterr()
    assert swept(f"{RATE}=0.01,0.002", "--search", "optuna", "--trials", "2") == 2
    assert "out/optuna.journal contains a study of other settings or values" in refusal(capsys)
    (here / "optuna.journal").write_text("{]\n{]\n")
    assert swept(f"{RATE}=0.01,0.001", "--search", "optuna", "--trials", "2") == 2
    assert "out/optuna.journal does not contain an Optuna study" in refusal(capsys)


def test_a_folder_of_another_sweep_is_refused_in_one_line(here, capsys):
    assert swept(f"{RATE}=0.01,0.001") == 0
    capsys.readouterr()
    assert swept(f"{RATE}=0.003,0.001") == 2
    assert "contains a run of another configuration: algorithm.learning_rate is 0.01 there and 0.003 here" in refusal(
        capsys
    )


def test_tuning_on_levels_that_test_is_said_loudly(here, capsys):
    assert swept(f"{RATE}=0.01,0.001", "--objective", "return@held_out") == 0
    assert "ATTENTION: the settings were chosen on held_out" in capsys.readouterr().out
    record = read_json(here / "sweep.json")
    assert record["objective"]["spends_a_test"] is True
    assert record["trials"][0]["settings"] == {RATE: "0.01"}
    assert load_config(here / "best.yaml").tuning.objective == "return@held_out"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["camal.wieght=1,2"], "unknown key 'camal.wieght'; did you mean 'camal.weight'?"),
        (["camal.weight=1,-2"], "camal.weight must be a finite number of at least 0, got -2"),
        (["camal.weight=1"], "nothing varies"),
        (["camal.weight=1,,2"], "camal.weight: a value is missing"),
        (["camal.weight=1,2", "seed=3"], "a sweep uses its own tuning seeds"),
        (["camal.weight=1,2", "--search", "random"], "give the number of combinations to try"),
        (["camal.weight=1,2", "--search", "random", "--trials", "0"], "--trials"),
        (["camal.weight=1,2", "--search", "gird"], "unknown search 'gird'; did you mean 'grid'?"),
        (["camal.weight=1,2", "--objective", "retrun@train"], "did you mean 'return'?"),
        (["camal.weight=1,2", "--objective", "return"], "an objective is FIGURE@LEVEL_SET"),
        (["camal.weight=1,2", "--objective", "gap@train"], "there is no objective 'gap'"),
        (["camal.weight=1,2", "--objective", "return@tset"], "is not measured: evaluation.sets has train, held_out"),
        (
            ["camal.loss=camal,energy", "camal.weight=1,2"],
            "camal.weight=1 and camal.weight=2 give the same run with camal.loss=energy; if settings under methods "
            "override them, vary those, or clear them with methods={}",
        ),
        (
            ["methods.energy.weight=1,2"],
            "methods.energy.weight=1 and methods.energy.weight=2 give the same run; if settings under",
        ),
        (["camal.weight=1,2", "--backend", "local", "--address", "auto"], "the backend 'local' has no --address"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_written(in_tmp, capsys, arguments, line):
    assert run_main(*SWEEP, *arguments) == 2
    assert line in refusal(capsys)
    assert list(in_tmp.iterdir()) == []


def test_without_optuna_the_line_says_what_installs_it(in_tmp, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert run_main(*SWEEP, "camal.weight=1,2", "--search", "optuna", "--trials", "2") == 2
    assert "--search optuna needs Optuna; install it with: pip install" in refusal(capsys)
