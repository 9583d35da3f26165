"""A tiny trained run, shared by the tests of this folder."""

import pytest

TINY = (
    "total_timesteps=256",
    "env.num_envs=8",
    "algorithm.n_steps=16",
    "algorithm.batch_size=64",
    "algorithm.n_epochs=1",
    "policy.precision=float32",
    "evaluation.sets=[train,held_out]",
    "evaluation.attention_sets=[held_out]",
    "evaluation.episodes=12",
    "evaluation.frames=8",
    "evaluation.frame_every=3",
    "evaluation.num_envs=4",
    "log.overlay_every=128",
    "log.overlay_frames=2",
    "log.checkpoint_every=128",
    "threads=1",
)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return the folder of a finished tiny run."""
    from camal_rl.experiments.loading import load_config
    from camal_rl.experiments.run_folder import RunFolder
    from camal_rl.experiments.training import prepare, run

    folder = RunFolder(tmp_path_factory.mktemp("runs") / "tiny")
    run(prepare(load_config("toy_grid", TINY), folder), ["camal-rl", "train", "toy_grid"])
    return folder
