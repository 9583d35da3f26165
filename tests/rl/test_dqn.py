"""DQN by configuration: trained, evaluated, explained, exported, compared; what PPO alone has is refused in a line."""

import json

import numpy as np
import pytest

from camal_rl.agents import CAMALDQN, CamQPolicy
from camal_rl.rl.config import CamalConfig, EnvConfig, ExperimentConfig, agent_config
from camal_rl.rl.dqn import DQNConfig
from camal_rl.rl.evaluate.attention import attention_report
from camal_rl.rl.frames import sample_frames
from camal_rl.rl.model_file import load_model
from camal_rl.rl.policy_file import load_policy, save_policy
from camal_rl.rl.policy_outputs import policy_outputs
from camal_rl.rl.training import make_model, prepare, run
from camal_rl.runs.loading import config_from_dict, load_config
from camal_rl.runs.results import ResultKey
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.task import task_of
from tests.command_line import refusal, run_main
from tests.conftest import TINY

DQN = "algorithm={_replace_: true, name: dqn, learning_starts: 16, buffer_size: 256, batch_size: 8}"
SMALL = (
    DQN,
    *(each for each in TINY if not each.startswith(("algorithm", "total", "env.num"))),
    *("total_timesteps=96", "env.num_envs=4", "evaluation.episodes=4", "log.checkpoint_every=0"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = RunFolder(tmp_path_factory.mktemp("dqn") / "run", trust=True)
    run(prepare(agent_config(load_config("toy_grid", SMALL)), made), ["train"])
    return made


def test_the_default_targets_become_q_and_the_resolved_configuration_says_so():
    config = load_config("toy_grid", [DQN])
    assert config.camal.targets == ("q",)
    assert (config.baseline, config.method_name) == ("dqn", "camal")
    assert config_from_dict(config.as_dict()) == config
    made = ExperimentConfig(EnvConfig("toy_grid/default"), algorithm={"name": "dqn"})
    assert (made.algorithm, made.camal) == (DQNConfig(), CamalConfig(targets=("q",)))


def test_methods_of_a_comparison_are_dqn_alone_and_the_losses():
    config = load_config("toy_grid", [DQN])
    for method, loss, weight in (("dqn", "camal", 0.0), ("camal", "camal", 0.1), ("energy", "energy", 0.1)):
        made = config.for_method(method)
        assert (made.method_name, made.camal.loss, made.camal.weight) == (method, loss, weight)
        assert made.camal.targets == ("q",)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            (DQN, "camal.targets=[value]"),
            "the attention targets of the policy, q, got value",
        ),
        (
            ("camal.targets=[q]",),
            "the attention targets of the policy, value, policy, got q",
        ),
        (
            (DQN, "terms.drac.weight=0.1"),
            "terms: drac extends PPO's loss, but algorithm 'dqn' supports only CAMAL's term",
        ),
        ((DQN, "env.normalize_reward=true"), "env.normalize_reward is for PPO"),
        (
            (DQN, "algorithm.buffer_size=3"),
            "algorithm.buffer_size must be at least one step for each of env.num_envs = 64",
        ),
        ((DQN, "algorithm.train_freq=0"), "algorithm.train_freq must be at least 1, got 0"),
        ((DQN, "algorithm.gradient_steps=0"), "algorithm.gradient_steps must be at least 1, or -1"),
        ((DQN, "algorithm.tau=1.5"), "algorithm.tau must be at most 1, got 1.5"),
        ((DQN, "algorithm.n_steps=3", "algorithm.optimize_memory_usage=true"), "requires n_steps=1"),
        ((DQN, "algorithm.n_epochs=3"), "algorithm 'dqn' has no setting algorithm.n_epochs"),
        ((DQN, "algorithm.replay_buffer_class=x"), "is not a setting of configurations, only an argument of DQN"),
        (("algorithm.name=dqn",), "algorithm 'dqn' has no setting"),
    ],
)
def test_what_cannot_be_is_one_line(capsys, in_tmp, overrides, message):
    assert run_main("train", "toy_grid", *overrides, "--run-dir", "run") == 2
    assert message in refusal(capsys)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ("ppo,camal", "unknown method 'ppo'; methods are dqn, camal"),
        ("dqn,drac", "terms: drac extends PPO's loss"),
        ("dqn+camal", "method 'dqn+camal': dqn is plain DQN and cannot be combined; every other method is"),
    ],
)
def test_a_comparison_of_what_there_is_not_is_one_line(capsys, in_tmp, methods, message):
    assert run_main("compare", "toy_grid", DQN, "--methods", methods, "--out", "out") == 2
    assert message in refusal(capsys)


def test_every_setting_reaches_the_model(tmp_path):
    settings = {
        "buffer_size": 64, "learning_starts": 7, "batch_size": 5, "train_freq": 3, "gradient_steps": 2, "gamma": 0.9,
        "learning_rate": 0.002, "n_steps": 2, "tau": 0.5, "target_update_interval": 11, "exploration_fraction": 0.3,
        "exploration_initial_eps": 0.9, "exploration_final_eps": 0.2, "max_grad_norm": 3.0, "stats_window_size": 9,
    }  # fmt: skip
    config = load_config("toy_grid", ["env.num_envs=2", "policy.precision=float32", f"algorithm={_flow(settings)}"])
    trial = prepare(config, RunFolder(tmp_path / "run"))
    model = make_model(config, trial.venv, trial.folder)
    trial.close()
    found = {name: getattr(model, name) for name in settings if name not in ("train_freq", "stats_window_size")}
    assert found == {name: settings[name] for name in found}
    assert (model.train_freq.frequency, model._stats_window_size) == (3, 9)
    assert model.policy.exploration == 0.2
    assert model.policy.optimizer.defaults["eps"] == 1e-8


def _flow(settings):
    return "{_replace_: true, name: dqn, " + ", ".join(f"{name}: {value}" for name, value in settings.items()) + "}"


def test_images_that_are_held_once_lose_the_time_limits_as_in_sb3(tmp_path):
    config = load_config("toy_grid", [*SMALL, "algorithm.optimize_memory_usage=true"])
    trial = prepare(config, RunFolder(tmp_path / "run"))
    trial.close()
    buffer = trial.model.replay_buffer
    assert buffer.optimize_memory_usage
    assert not buffer.handle_timeout_termination


def test_a_run_is_evaluated_with_the_figures_of_q_alone(folder):
    config = folder.config()
    metrics = task_of(config).evaluation(folder, config).run(lambda _: None)
    assert metrics.results.targets() == ["q"] or set(metrics.results.targets()) == {"q"}
    assert list(metrics.maps) == ["q"]
    assert metrics.results.value("epg", level_set="held_out", target="q", map="own") is not None
    assert metrics.results.find(ResultKey("return", level_set="train", control="stochastic")).count == 4
    assert json.loads(folder.metrics_file.read_text())


def test_the_full_suite_measures_what_a_q_network_has_and_nothing_of_a_distribution(folder):
    from camal_rl.rl.environments import make_level_set_env
    from camal_rl.rl.evaluate.counterfactuals import counterfactual_report

    pytest.importorskip("captum")
    config, model = folder.config(), load_model(folder)
    venv = make_level_set_env(config, "held_out", 2, 1, masks=True)
    frames = sample_frames(model, venv, 2, 3, 1)
    found = attention_report(model.policy, frames, config.camal, 0, "full", "held_out").results
    figures = {each.figure for each in found}
    assert {"deletion_effect", "deletion_effect_sarfa", "epg", "randomized_spearman"} <= figures
    assert "deletion_effect_kl" not in figures
    # A Q-value is no probability that could drop by a share.
    assert all(each.value is None for each in found.select(figure="average_drop"))
    changes = counterfactual_report(model, venv, 2, 3, config.camal, 0, "held_out")
    venv.close()
    figures = {each.figure for each in changes}
    assert {"value_change", "flips", "attention_mass", "rank_correlation"} <= figures
    assert not {"policy_drop", "policy_kl"} & figures
    assert {each.target for each in changes if each.target is not None} == {"q"}


def test_outputs_are_q_values_and_the_largest_is_the_value(folder):
    policy = load_model(folder).policy
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    outputs = policy_outputs(policy, images)
    assert outputs.probabilities is None
    assert (outputs.score_name, list(outputs.maps)) == ("Q", ["q"])
    np.testing.assert_allclose(outputs.values, outputs.q_values.max(axis=1))
    assert outputs.actions.tolist() == outputs.q_values.argmax(axis=1).tolist()
    np.testing.assert_allclose(outputs.chosen_scores, outputs.values)


def test_a_sheet_and_a_video_show_the_q_map(folder, in_tmp, capsys):
    assert run_main("explain", str(folder.path), "--frames", "2", "--episodes", "1", "--out", "out") == 0
    assert sorted(path.name for path in (in_tmp / "out").iterdir()) == [
        "attention-held_out.png",
        "episode-held_out.html",
        "episodes-held_out.mp4",
    ]


def test_the_policys_own_file_holds_it_and_acts_alike(folder, tmp_path):
    loaded, model = load_policy(folder.path), CAMALDQN.load(folder.model_file, device="cpu")
    assert type(loaded) is CamQPolicy
    assert loaded.exploration == model.policy.exploration == 0.05
    assert loaded.map_settings == model.policy.map_settings
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
    assert np.array_equal(loaded.act(images, deterministic=True)[0], model.predict(images, deterministic=True)[0])
    again = load_policy(save_policy(loaded, tmp_path))
    assert np.array_equal(again.attention(images)["q"], loaded.attention(images)["q"])


@pytest.mark.parametrize("file_format", ["pt2", "safetensors"])
def test_a_run_is_exported_with_its_q_values(folder, tmp_path, capsys, file_format):
    out = tmp_path / f"model.{file_format}"
    assert run_main("export", str(folder.path), "--out", str(out), "--format", file_format) == 0
    assert "-> q" in capsys.readouterr().out
    assert out.is_file()


def test_a_masked_agent_sees_objects_only_and_its_file_says_so(tmp_path):
    config = load_config("toy_grid", [*SMALL, "total_timesteps=32", "log.overlay_every=0"]).for_method("object_mask")
    made = RunFolder(tmp_path / "run", trust=True)
    trial = prepare(config, made)
    run(trial, ["train"])
    assert load_policy(made.path).masking == "object_mask"
    # Most of what it has seen is black.
    assert (trial.model.replay_buffer.observations[:4] == 0).mean() > 0.5
