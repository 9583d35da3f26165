"""The one-file PPO: two updates on a small toy grid."""

import importlib.util
import json
import sys

import gymnasium
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.docs.pages import ROOT, blocks, read

FILE = ROOT / "examples" / "ppo_camal.py"
SMALL = ("--num-envs", "2", "--num-steps", "8", "--total-timesteps", "32", "--num-minibatches", "2")
SHORT = ("--eval-episodes", "3", "--eval-frames", "4", "--eval-frame-every", "1", "--no-cuda")


@pytest.fixture(scope="module")
def example():
    """Return the file as a module, and its library for arguments."""
    pytest.importorskip("tyro")
    spec = importlib.util.spec_from_file_location("ppo_camal", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["ppo_camal"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["ppo_camal"]


def run(example, folder, *arguments):
    """Run the program; return its result file and its parameters."""
    words = [*SMALL, *SHORT, "--run-dir", str(folder), *arguments]
    example.main(example.tyro.cli(example.Args, args=words))
    result = json.loads((folder / "result.json").read_text())
    return result, load_file(folder / "agent.safetensors")


@pytest.fixture(scope="module")
def runs(example, tmp_path_factory):
    """Return what plain PPO and CAMAL gave, with the same seed: folder, result file, parameters."""
    folders = {weight: tmp_path_factory.mktemp("runs") / weight for weight in ("0", "0.5")}
    return {weight: (path, *run(example, path, "--camal-weight", weight)) for weight, path in folders.items()}


def test_the_result_file_holds_arguments_and_figures_of_each_level_set(runs):
    for weight, (_, result, _) in runs.items():
        assert result["args"]["camal_weight"] == float(weight)
        assert result["training"]["steps"] == 32
        assert list(result["level_sets"]) == ["train", "held_out"]
        for figures in result["level_sets"].values():
            assert list(figures) == ["return_sampled", "return_preferred", "epg_value", "epg_policy"]
            assert [each["count"] for each in figures.values()] == [3, 3, 4, 4]
            assert all(0 <= figures[f"epg_{head}"]["mean"] <= 1 for head in ("value", "policy"))


def test_the_scalars_of_every_update_are_there_and_those_of_the_term_with_a_weight_alone(runs):
    names = {}
    for weight, (folder, *_) in runs.items():
        events = EventAccumulator(str(folder)).Reload()
        assert [each.step for each in events.Scalars("losses/policy")] == [16, 32]
        names[weight] = set(events.Tags()["scalars"])
    assert {"charts/SPS", "charts/learning_rate", "losses/value", "losses/entropy"} <= names["0"]
    assert names["0.5"] - names["0"] == {"camal/loss", "camal/value/outside", "camal/policy/outside"}


def test_the_weight_changes_training_and_nothing_else_does(example, runs, tmp_path):
    _, again = run(example, tmp_path / "again", "--camal-weight", "0")
    plain, supervised = runs["0"][2], runs["0.5"][2]
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert not torch.equal(plain["cnn.0.weight"], supervised["cnn.0.weight"])


def test_the_term_lowers_attention_outside_the_masks(example, runs, tmp_path):
    _, result, _ = runs["0"]
    supervised, _ = run(
        example, tmp_path / "run", "--camal-weight", "5", "--total-timesteps", "160", "--camal-targets", "value"
    )
    epg = [each["level_sets"]["train"]["epg_value"]["mean"] for each in (supervised, result)]
    assert epg[0] > epg[1]


def test_a_time_limit_counts_as_an_end_unless_the_last_value_is_added(example, tmp_path):
    cut_off = (*("--camal-weight", "0"), "--env-options", "max_steps", "4")
    _, plain = run(example, tmp_path / "plain", *cut_off)
    _, added = run(example, tmp_path / "added", *cut_off, "--bootstrap-timeouts")
    assert not torch.equal(plain["critic.weight"], added["critic.weight"])
    never = ("--camal-weight", "0", "--total-timesteps", "16", "--env-options", "max_steps", "50")
    _, plain = run(example, tmp_path / "plain_without_limit", *never)
    _, added = run(example, tmp_path / "added_without_limit", *never, "--bootstrap-timeouts")
    assert torch.equal(plain["critic.weight"], added["critic.weight"])


@pytest.mark.parametrize(
    "options",
    [
        ("--encoder", "impala", "--camal-frame-fraction", "0.5", "--camal-method", "gradcam", "--anneal-lr"),
        ("--norm-reward", "--clip-vloss", "--no-norm-adv", "--env-options", "num_levels", "7"),
    ],
)
def test_other_options_train_as_well(example, tmp_path, options):
    result, parameters = run(example, tmp_path / "run", *options)
    assert result["training"]["steps"] == 32
    assert all(each.isfinite().all() for each in parameters.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--camal-weight", "-1"), "camal.weight must be a finite number of at least 0, got -1.0"),
        (("--camal-loss", "camel"), "camel"),
        (("--env-id", "toy_grid/defualt"), "did you mean 'toy_grid/default'?"),
        (("--env-options", "sise", "3"), "sise"),
        (("--eval-sets", "held_uot"), "did you mean 'held_out'?"),
        (("--num-envs", "0"), "num_envs must be at least 1, got 0"),
        (("--gamma", "1.5"), "gamma must be at most 1, got 1.5"),
        (("--learning-rate", "nan"), "learning_rate"),
        (("--num-minibatches", "3"), "must be a multiple of num_minibatches"),
        (("--total-timesteps", "8"), "at most 8 total_timesteps, got 2 * 8"),
    ],
)
def test_a_bad_argument_is_one_line_and_exit_code_2(example, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        run(example, tmp_path / "run", *arguments)
    out, err = capsys.readouterr()
    assert (end.value.code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_is_there_is_refused(example, runs, capsys):
    folder = runs["0"][0]
    with pytest.raises(SystemExit) as end:
        run(example, folder)
    assert end.value.code == 2
    assert str(folder) in capsys.readouterr().err


def test_the_lines_that_the_page_shows_are_those_of_the_file():
    shown = [block.text for block in blocks("docs/ppo_camal.md") if block.language == "text"]
    text = "\n".join(line.strip() for line in FILE.read_text().splitlines())
    lines = 0
    for block in shown:
        stripped = "\n".join(line.strip() for line in block.strip().splitlines())
        assert stripped in text
        lines += len(stripped.splitlines())
    assert lines <= 18
    marks = [f"CAMAL {number}" for number in range(1, 6)]
    assert all(mark in text and mark in read("docs/ppo_camal.md") for mark in marks)


def test_the_file_is_short_and_uses_no_algorithm_of_stable_baselines():
    text = FILE.read_text()
    assert len(text.splitlines()) < 350
    imported = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert not [line for line in imported if "camal_rl.agents" in line]
    assert [line for line in imported if "stable_baselines3" in line] == [
        "from stable_baselines3.common.vec_env import VecEnv, VecNormalize"
    ]


class Continuous(gymnasium.Env):
    """An environment with masks whose actions are not discrete."""

    observation_space = gymnasium.spaces.Box(0, 255, (16, 16, 3), dtype=np.uint8)
    action_space = gymnasium.spaces.Box(-1, 1, (2,))
    segmentation_spec = {"names": ["background", "thing"], "relevant": ["thing"]}  # noqa: RUF012

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros((16, 16, 3), np.uint8), {"segmentation": np.zeros((16, 16), np.uint8)}


def test_actions_that_are_not_discrete_are_refused_in_one_line(example, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        run(example, tmp_path / "run", "--env-id", f"{__name__}:Continuous")
    err = capsys.readouterr().err
    assert (end.value.code, len(err.splitlines())) == (2, 1)
    assert "must have discrete actions, got Box" in err
