"""Training that was interrupted and resumed ends with the parameters of training that was not, bit for bit."""

import json
import signal
from dataclasses import replace

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from camal_rl.rl.config import agent_config
from camal_rl.rl.training import prepare, run
from camal_rl.runs.checkpoints import checkpoint_folders, read_checkpoint
from camal_rl.runs.folders import CheckpointWarning
from camal_rl.runs.loading import load_config
from camal_rl.runs.run_folder import RunFolder

STEPS = 4 * 8 * 4
SETTINGS = (
    *("env.num_envs=4", f"total_timesteps={STEPS}", "algorithm.n_steps=8", "algorithm.batch_size=8"),
    *("algorithm.n_epochs=2", "policy.encoder=nature", "policy.precision=float32", "log.checkpoint_every=32"),
    *("log.overlay_every=32", "log.held_out_every=64", "log.held_out_episodes=2", "evaluation.num_envs=2"),
    *("env.normalize_reward=true", "device=cpu"),
)
ALL_TERMS = "camal+drac+ucb_drac+background_mix+input_gradients"
MASKED = "camal+object_mask"
pytestmark = pytest.mark.filterwarnings("ignore:the CAM grid of encoder")


def config(*more):
    return agent_config(load_config("toy_grid", [*SETTINGS, *more]))


class SignalAfter(BaseCallback):
    """Sends a signal to this process after so many calls of the policy's optimizer or steps of the environment."""

    def __init__(self, steps=None, updates=None):
        super().__init__()
        self.steps, self.updates = steps, updates

    def _on_training_start(self):
        if self.steps == 0:
            signal.raise_signal(signal.SIGTERM)
        if self.updates is None:
            return
        count = 0

        def after(*_):
            nonlocal count
            count += 1
            if count == self.updates:
                signal.raise_signal(signal.SIGTERM)

        self.model.policy.optimizer.register_step_post_hook(after)

    def _on_step(self):
        if self.steps is not None and self.n_calls == self.steps:
            signal.raise_signal(signal.SIGTERM)
        return True


class KilledAfter(BaseCallback):
    """Ends training in the middle of a step, as a kill does."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def _on_step(self):
        if self.n_calls == self.steps:
            raise RuntimeError("killed")
        return True


def train(settings, folder, resume=False, callbacks=()):
    return run(prepare(settings, folder, resume), ["train"], callbacks=list(callbacks))


def final_state(folder):
    step, path = checkpoint_folders(folder.checkpoints)[-1]
    return step, read_checkpoint(path).parts


def assert_equal(first, second, place="state"):
    """Compare nested states but for clocks, and for generators of spaces, which nobody seeds."""
    assert type(first) is type(second), place
    if isinstance(first, dict):
        assert first.keys() == second.keys(), place
        for key in first:
            if key not in ("seconds", "t", "spaces"):
                assert_equal(first[key], second[key], f"{place}.{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), place
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_equal(one, other, f"{place}.{index}")
    elif hasattr(first, "shape"):
        one, other = torch.as_tensor(first), torch.as_tensor(second)
        assert one.dtype == other.dtype, place
        assert torch.equal(one, other), place
    else:
        assert first == second, place


def curves(folder):
    events = EventAccumulator(str(folder.tensorboard / "run_1"), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    found = {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    del found["time/fps"]
    return found


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    found = {}
    for methods in ("camal", ALL_TERMS, MASKED):
        settings = config().for_method(methods)
        folder = RunFolder(tmp_path_factory.mktemp("base") / "run")
        train(settings, folder)
        found[methods] = settings, folder
    return found


@pytest.mark.parametrize("methods", ["camal", ALL_TERMS, MASKED])
@pytest.mark.parametrize(
    "where",
    [
        {"steps": 0},  # before the first step: the environments are reset
        {"steps": 1},  # in the first rollout
        {"steps": 8},  # at its last step: the update waits
        {"steps": 13},
        {"updates": 1},  # in the first update
        {"updates": 19},
    ],
)
def test_a_signal_before_or_in_rollout_or_update_changes_nothing(tmp_path, uninterrupted, methods, where):
    settings, base = uninterrupted[methods]
    folder = RunFolder(tmp_path / "run")
    summary = train(settings, folder, callbacks=[SignalAfter(**where)])
    assert summary["interrupted"]
    assert summary["signal"] == signal.SIGTERM
    assert summary["timesteps"] < STEPS
    assert not train(settings, folder, resume=True)["interrupted"]
    assert_equal(final_state(folder), final_state(base))
    assert curves(folder) == curves(base)


def test_after_a_kill_the_newest_whole_checkpoint_is_used(tmp_path, uninterrupted):
    settings, base = uninterrupted["camal"]
    folder = RunFolder(tmp_path / "run")

    with pytest.raises(RuntimeError, match="killed"):
        train(settings, folder, callbacks=[KilledAfter(29)])
    kept = checkpoint_folders(folder.checkpoints)
    assert [step for step, _ in kept] == [32, 64, 96]
    (kept[-1][1] / "agent.safetensors").write_bytes(b"half")
    with pytest.warns(CheckpointWarning, match="the checkpoint before it is used"):
        trial = prepare(settings, folder, resume=True)
    assert trial.step == 64
    run(trial, ["train"])
    assert_equal(final_state(folder), final_state(base))
    assert curves(folder) == curves(base)


def test_a_run_killed_before_its_first_checkpoint_begins_anew(tmp_path, uninterrupted):
    settings, base = uninterrupted["camal"]
    folder = RunFolder(tmp_path / "run")

    with pytest.raises(RuntimeError, match="killed"):
        train(settings, folder, callbacks=[KilledAfter(1)])
    assert checkpoint_folders(folder.checkpoints) == []
    train(settings, folder, resume=True)
    assert_equal(final_state(folder), final_state(base))
    assert curves(folder) == curves(base)


def test_a_run_that_has_ended_can_be_made_longer(tmp_path, uninterrupted):
    settings, base = uninterrupted["camal"]
    folder = RunFolder(tmp_path / "run")
    train(replace(settings, total_timesteps=STEPS // 2), folder)
    train(settings, folder, resume=True)
    assert_equal(final_state(folder)[1]["agent"], final_state(base)[1]["agent"])
    assert folder.config().total_timesteps == STEPS
    assert json.loads(folder.provenance_file.read_text())["resumed"][0]["step"] == STEPS // 2


def test_what_cannot_be_resumed_is_refused_in_one_line(tmp_path, uninterrupted):
    settings, base = uninterrupted["camal"]
    with pytest.raises(FileExistsError, match=r"is finished.*larger total_timesteps"):
        prepare(settings, base, resume=True)
    other = replace(settings, seed=5, total_timesteps=2 * STEPS)
    with pytest.raises(
        FileExistsError, match=r"another configuration: seed is 0 there and 5 here; only total_timesteps"
    ):
        prepare(other, base, resume=True)
    with pytest.raises(FileExistsError, match=r"total_timesteps is 128 there and 64 here"):
        prepare(replace(settings, total_timesteps=64), base, resume=True)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "file").write_text("")
    with pytest.raises(FileNotFoundError, match="is not a run folder"):
        prepare(settings, RunFolder(tmp_path / "else"), resume=True)


def test_a_checkpoint_of_something_else_is_refused_in_one_line(tmp_path, uninterrupted):
    settings, base = uninterrupted["camal"]
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    (folder.path / "config.yaml").write_bytes(base.config_file.read_bytes())
    _, other = uninterrupted[ALL_TERMS]
    checkpoint_folders(other.checkpoints)[-1][1].rename(tmp_path / "moved")
    folder.checkpoints.mkdir()
    (tmp_path / "moved").rename(folder.checkpoints / "step-000000000128")
    with pytest.raises(ValueError, match="is not a checkpoint of this training"):
        prepare(replace(settings, total_timesteps=2 * STEPS), folder, resume=True)
