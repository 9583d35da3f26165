"""DQN that was interrupted and resumed ends as DQN that was not, bit for bit, its replay buffer too."""

import signal
from dataclasses import replace

import pytest
from stable_baselines3.common.buffers import ReplayBuffer

from camal_rl.rl import dqn
from camal_rl.rl.config import agent_config
from camal_rl.rl.training import prepare
from camal_rl.runs.checkpoints import checkpoint_folders, read_checkpoint
from camal_rl.runs.folders import CheckpointWarning
from camal_rl.runs.loading import load_config
from camal_rl.runs.run_folder import RunFolder
from tests.rl.test_resume import KilledAfter, SignalAfter, assert_equal, curves, final_state, train

STEPS = 160
SETTINGS = (
    "algorithm={_replace_: true, name: dqn, learning_starts: 24, buffer_size: 96, batch_size: 8, train_freq: 2}",
    *("algorithm.target_update_interval=16", "algorithm.exploration_fraction=0.6", "env.num_envs=4"),
    *(f"total_timesteps={STEPS}", "policy.encoder=nature", "policy.precision=float32", "log.checkpoint_every=32"),
    *("log.overlay_every=32", "log.held_out_every=64", "log.held_out_episodes=2", "evaluation.num_envs=2"),
    "device=cpu",
)
KINDS = {
    "camal": (),
    "dqn": ("camal.weight=0",),
    "memory": ("algorithm.optimize_memory_usage=true",),
    "several steps": ("algorithm.n_steps=3", "algorithm.buffer_size=512", "camal.schedule=warmup"),
}
pytestmark = pytest.mark.filterwarnings("ignore:the CAM grid of encoder")


def config(*more):
    return agent_config(load_config("toy_grid", [*SETTINGS, *more]))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    found = {}
    for kind, more in KINDS.items():
        folder = RunFolder(tmp_path_factory.mktemp("base") / "run")
        train(config(*more), folder)
        found[kind] = config(*more), folder
    return found


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("camal", {"steps": 0}),
        ("camal", {"steps": 3}),  # between two updates, before learning starts
        ("camal", {"updates": 5}),
        *((kind, {"steps": 21}) for kind in KINDS),
    ],
)
def test_a_signal_anywhere_changes_nothing(tmp_path, uninterrupted, kind, where):
    settings, base = uninterrupted[kind]
    folder = RunFolder(tmp_path / "run")
    summary = train(settings, folder, callbacks=[SignalAfter(**where)])
    assert (summary["interrupted"], summary["signal"]) == (True, signal.SIGTERM)
    assert summary["timesteps"] < STEPS
    assert not train(settings, folder, resume=True)["interrupted"]
    assert_equal(final_state(folder), final_state(base))
    assert curves(folder) == curves(base)


def test_after_a_kill_the_newest_whole_checkpoint_is_used(tmp_path, uninterrupted):
    settings, base = uninterrupted["camal"]
    folder = RunFolder(tmp_path / "run")

    with pytest.raises(RuntimeError, match="killed"):
        train(settings, folder, callbacks=[KilledAfter(29)])
    assert [step for step, _ in checkpoint_folders(folder.checkpoints)] == [32, 64, 96]
    train(settings, folder, resume=True)
    assert_equal(final_state(folder), final_state(base))
    assert curves(folder) == curves(base)


def test_the_buffer_of_a_checkpoint_is_smaller_than_the_one_in_memory(uninterrupted):
    _, base = uninterrupted["camal"]
    path = checkpoint_folders(base.checkpoints)[-1][1]
    replay = read_checkpoint(path).parts["agent"]["replay"]
    in_memory = 2 * 96 * 64 * 64 * 3
    packed = sum(len(replay[name]["bytes"]) for name in ("observations", "next_observations", "masks"))
    assert packed < in_memory / 4


def test_another_buffer_size_is_refused_in_one_line(tmp_path, uninterrupted):
    settings, base = uninterrupted["camal"]
    longer = replace(settings, total_timesteps=2 * STEPS, algorithm=replace(settings.algorithm, buffer_size=64))
    with pytest.raises(FileExistsError, match=r"algorithm\.buffer_size is 96 there and 64 here"):
        prepare(longer, base, resume=True)


def test_a_replay_buffer_that_no_checkpoint_can_hold_is_told_and_training_goes_on(tmp_path, monkeypatch):
    class OwnBuffer(ReplayBuffer):
        pass

    build = dqn.CAMALDQN
    monkeypatch.setattr(dqn, "CAMALDQN", lambda *args, **kwargs: build(*args, **kwargs, replay_buffer_class=OwnBuffer))
    settings = config("camal.weight=0", "total_timesteps=64", "log.held_out_every=0", "log.overlay_every=0")
    with pytest.warns(CheckpointWarning, match="requires a CamalReplayBuffer, got a OwnBuffer; training continues"):
        summary = train(settings, RunFolder(tmp_path / "run"))
    assert summary["timesteps"] == 64
