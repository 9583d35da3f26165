"""What makes the documentation's snippets and commands small enough for a test: the shown text stays as it is."""

import functools
from dataclasses import replace

NUM_ENVS, N_STEPS = 2, 4
SMALL = {
    "ppo": {"n_steps": N_STEPS, "batch_size": N_STEPS, "n_epochs": 1},
    "dqn": {"buffer_size": 64, "learning_starts": N_STEPS, "batch_size": N_STEPS},
}
"""Settings of an algorithm that make an update small, by the name of the one whose settings it has."""


def shrink_python():
    """Let agents have few environments and learn from one short rollout, and classifiers from two batches."""
    from camal_rl import envs, supervised
    from camal_rl.agents import CAMALDQN, CAMALPPO

    shrink_commands()
    _wrap(CAMALDQN, "__init__", lambda init, *arguments, **given: init(*arguments, **{**given, **SMALL["dqn"]}))
    _wrap(CAMALDQN, "learn", lambda learn, self, _, **rest: learn(self, 2 * N_STEPS * self.n_envs, **rest))
    _wrap(CAMALPPO, "__init__", _small_agent)
    _wrap(CAMALPPO, "learn", _learn_little)
    _wrap(envs, "make_vec", lambda make, name, num_envs, *rest, **options: make(name, _few(num_envs), *rest, **options))
    _wrap(envs, "make_segmented_vec", _small_segmented_vec)
    _wrap(supervised.Trainer, "__init__", _small_trainer)


def _wrap(owner, name, call):
    real = getattr(owner, name)
    setattr(owner, name, functools.wraps(real)(lambda *arguments, **named: call(real, *arguments, **named)))


def _few(num_envs):
    return min(num_envs, NUM_ENVS)


def _small_segmented_vec(make, env, num_envs, subproc=False, **rest):
    # A worker process takes seconds to import everything.
    return make(env, 1 if subproc else _few(num_envs), subproc=subproc, **rest)


def _small_agent(init, self, *arguments, **settings):
    init(self, *arguments, **{**settings, **SMALL["ppo"]})


def _learn_little(learn, self, total_timesteps, *arguments, **named):
    return learn(self, self.n_steps * self.n_envs, *arguments, **named)


def _small_trainer(init, self, *arguments, optimization=None, **settings):
    from camal_rl.supervised import OptimizationConfig

    init(self, *arguments, optimization=replace(optimization or OptimizationConfig(), steps=2), **settings)


def shrink_commands():
    """Let configurations of agents be small, once they were read as they stand."""
    from camal_rl.runs import loading

    _wrap(loading, "load_config", lambda load, *arguments: small_config(load(*arguments)))


def small_config(config):
    """Return a configuration of an agent that trains and evaluates within a second or so; others as they are."""
    from camal_rl.rl.config import ExperimentConfig

    if not isinstance(config, ExperimentConfig):
        return config
    return replace(
        config,
        total_timesteps=2 * NUM_ENVS * N_STEPS,
        env=replace(config.env, num_envs=NUM_ENVS),
        algorithm=replace(config.algorithm, **SMALL["dqn" if hasattr(config.algorithm, "buffer_size") else "ppo"]),
        policy=replace(config.policy, precision="float32"),
        evaluation=replace(
            config.evaluation, episodes=2, frames=4, frame_every=2, num_envs=NUM_ENVS, sets=("train", "held_out")
        ),
        log=replace(config.log, overlay_every=0, checkpoint_every=0, held_out_every=0),
    )
