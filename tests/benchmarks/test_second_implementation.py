"""The comparison of two implementations: its intervals by hand, its rows from small results."""

import json
import sys

import pytest
from scipy import stats

from camal_rl.rl.config import agent_config
from camal_rl.runs.loading import load_config
from tests.docs.pages import ROOT


@pytest.fixture
def program(load):
    """Return the program as a module."""
    return load("second_implementation")


def result(sampled, preferred, value, policy):
    names = ("return_sampled", "return_preferred", "epg_value", "epg_policy")
    figures = {
        name: {"mean": mean, "count": 4} for name, mean in zip(names, (sampled, preferred, value, policy), strict=True)
    }
    return {"level_sets": {"train": figures}}


def test_the_interval_of_a_difference_is_welchs(program):
    # Means 3 and 1, their variances 1/3 and 4/3; degrees of freedom (5/3)^2 / ((1/9) / 2 + (16/9) / 2) = 50/17.
    found = program.contrast([[2.0, 3.0, 4.0], [-1.0, 1.0, 3.0]], (1, -1))
    assert found["mean"] == pytest.approx(2.0)
    assert found["high"] - found["mean"] == pytest.approx(found["mean"] - found["low"])
    assert found["high"] == pytest.approx(2.0 + stats.t.ppf(0.975, 50 / 17) * (5 / 3) ** 0.5)


def test_groups_that_do_not_vary_have_an_interval_of_one_point(program):
    found = program.contrast([[1.0, 1.0], [0.25, 0.25], [0.5, 0.5], [0.5, 0.5]], (1, -1, -1, 1))
    assert found == {"mean": 0.75, "low": 0.75, "high": 0.75}


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.1, 0.3, "higher"),
        (-0.3, -0.1, "lower"),
        (-0.1, 0.3, "no difference shown"),
        (0.0, 0.3, "no difference shown"),
    ],
)
def test_a_conclusion_needs_an_interval_without_0(program, low, high, words):
    assert program.conclusion({"mean": 0.2, "low": low, "high": high}) == words


def test_rows_are_the_figures_that_both_have(program):
    runs = {
        "ppo": [dict(program.figures(result(0.0, 0.2, 0.1, None))), dict(program.figures(result(0.1, 0.2, 0.1, 0.1)))],
        "camal": [dict(program.figures(result(0.9, 0.3, 0.8, 0.7))), dict(program.figures(result(1.0, 0.1, 0.8, 0.7)))],
    }
    own = {"ppo": {"seeds": {"0": 0.5, "1": 0.4, "2": 9.0}}, "camal": {"seeds": {"0": 0.4, "1": 0.5, "2": 9.0}}}
    kept = {"figures": {"return/train": own, "epg/value/train": own, "epg/policy/train": own, "iou/value/train": own}}
    rows = program.table(runs, kept, [0, 1])
    assert list(rows) == ["return/train", "epg/value/train"]  # one policy map of PPO is undefined
    first = rows["return/train"]
    assert first["example"]["effect"]["mean"] == pytest.approx(0.9)
    assert first["package"]["effect"]["mean"] == pytest.approx(0.0)
    assert first["difference_of_effects"]["mean"] == pytest.approx(0.9)
    assert [first[side]["conclusion"] for side in ("example", "package")] == ["higher", "no difference shown"]
    assert (first["figure"], first["level_set"], first["same_conclusion"]) == ("return", "train", "no")


def test_finished_runs_are_compared_without_training(program, tmp_path, monkeypatch, capsys):
    for method, value in (("ppo", 0.1), ("camal", 0.9)):
        for seed in (0, 1):
            folder = tmp_path / "runs" / f"{method}-seed{seed}"
            folder.mkdir(parents=True)
            of_run = {**result(value, value, value, value), "training": {"steps": 16, "seconds": 1.0}}
            (folder / "result.json").write_text(json.dumps(of_run))
    out = tmp_path / "out.json"
    monkeypatch.setattr(
        sys, "argv", ["program", "toy_grid", str(tmp_path / "runs"), "--seeds", "0", "1", "--out", str(out)]
    )
    monkeypatch.setattr(program, "EXAMPLE", tmp_path / "not_there.py")
    program.main()
    written = json.loads(out.read_text())
    assert written["agreement"]["rows"] == len(written["rows"]) == 4
    assert (written["seeds"], written["steps"]) == ([0, 1], 16)
    assert "epg/value/train" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0"], "two seeds or more"),
        (["--seeds", "0", "77"], "got [0, 77]"),
        (["--comparison", "no.json"], "no.json"),
    ],
)
def test_wrong_arguments_are_refused_before_training(program, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.setattr(sys, "argv", ["program", "toy_grid", str(tmp_path), *words])
    with pytest.raises(SystemExit) as end:
        program.main()
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_run_that_fails_ends_the_program_with_one_line(program, tmp_path, monkeypatch, capsys):
    example = tmp_path / "example.py"
    example.write_text("import sys\nsys.exit('no room on the device')\n")
    monkeypatch.setattr(program, "EXAMPLE", example)
    out = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["program", "toy_grid", str(tmp_path / "runs"), "--out", str(out)])
    with pytest.raises(SystemExit) as end:
        program.main()
    assert end.value.code == 1
    assert capsys.readouterr().err.strip() == "program: ppo-seed0 failed: no room on the device"
    assert not out.exists()


@pytest.mark.parametrize(
    ("setting", "name", "same_steps"), [("toy_grid", "toy_grid", True), ("starpilot", "procgen/starpilot", False)]
)
def test_the_example_trains_as_the_configuration_does(program, load, monkeypatch, setting, name, same_steps):
    tyro = pytest.importorskip("tyro", reason="the extra examples")
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    chosen = program.SETTINGS[setting]
    args = tyro.cli(load("ppo_camal").Args, args=["--camal-weight", str(chosen.weight), *chosen.arguments])
    config = agent_config(load_config(name, []))
    algorithm, camal, env, evaluation = config.algorithm, config.camal, config.env, config.evaluation
    pairs = {
        "env_id": env.id,
        "num_envs": env.num_envs,
        "norm_reward": env.normalize_reward,
        "encoder": config.policy.encoder,
        "num_steps": algorithm.n_steps,
        "num_minibatches": algorithm.n_steps * env.num_envs // algorithm.batch_size,
        "update_epochs": algorithm.n_epochs,
        "learning_rate": algorithm.learning_rate,
        "anneal_lr": algorithm.anneal_learning_rate,
        "gamma": algorithm.gamma,
        "gae_lambda": algorithm.gae_lambda,
        "clip_coef": algorithm.clip_range,
        "clip_vloss": algorithm.pessimistic_value_loss,
        "ent_coef": algorithm.ent_coef,
        "vf_coef": 2 * algorithm.vf_coef,  # the example has half of the squared error
        "max_grad_norm": algorithm.max_grad_norm,
        "norm_adv": algorithm.normalize_advantage,
        "camal_weight": camal.weight,
        "camal_targets": camal.targets,
        "camal_method": camal.method,
        "camal_loss": camal.loss,
        "camal_inside_weight": camal.inside_weight,
        "camal_frame_fraction": camal.frame_fraction,
        "camal_value_rectification": camal.value_rectification,
        "camal_policy_rectification": camal.policy_rectification,
        "eval_sets": evaluation.sets,
        "eval_episodes": evaluation.episodes,
        "eval_frames": evaluation.frames,
        "eval_frame_every": evaluation.frame_every,
        "eval_seed": evaluation.seed,
    }
    assert {each: getattr(args, each) for each in pairs} == pairs
    assert (args.total_timesteps == config.total_timesteps) is same_steps
