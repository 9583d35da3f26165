"""Environments of an experiment: the training environment, and those of the level sets."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from camal_rl.envs import MaskedVecEnv, SegmentedVecEnv, level_sets, make_vec
from camal_rl.random_states import random_states_kept
from camal_rl.rl.algorithms import find_algorithm
from camal_rl.rl.config import ExperimentConfig
from camal_rl.rl.env_config import EnvConfig
from camal_rl.spelling import did_you_mean

_EVERY_LEVEL = 2**31 - 1
_LEVEL_RANGE = ("start_level", "num_levels")


def level_set_options(env: EnvConfig, name: str) -> dict[str, Any]:
    """Return the options that select a level set for an experiment.

    A level set is defined by its changes to the environment's own training levels. These changes override the
    experiment's options; everything else is as in the experiment's training.

    Held-out sets must have other levels than training, unless they differ in the game itself (its mode, its size) and
    keep the seeds: the same seeds in another game give other levels.

    Raises:
        ValueError: the level set is unknown, or held-out levels overlap with the training levels.
    """
    sets = level_sets(env.id)
    if name not in sets:
        hint = did_you_mean(name, sets)
        raise ValueError(f"unknown level set {name!r} of {env.id}; {hint}level sets are {', '.join(sets)}")
    train = {**sets["train"], **env.options}
    changes = {key: value for key, value in sets[name].items() if sets["train"].get(key) != value}
    options = {**train, **changes}
    by_levels = not changes or any(key in _LEVEL_RANGE for key in changes)
    if name.startswith("held_out") and by_levels:
        _check_disjoint(name, _level_range(train), _level_range(options))
    return options


def make_training_env(config: ExperimentConfig) -> VecEnv:
    """Create the environment of the training levels, with normalized rewards if configured.

    Every environment reports its episodes, with raw returns, in ``info["episode"]``.
    """
    discount = config.env.normalize_reward_gamma
    if config.env.normalize_reward and discount is None:
        discount = find_algorithm(config.algorithm_name).discount(config.algorithm)
    masks = config.env.segmentation is not None
    venv: VecEnv = make_level_set_env(config, "train", config.env.num_envs, config.seed, masks)
    return venv if discount is None else VecNormalize(venv, norm_obs=False, norm_reward=True, gamma=discount)


def make_level_set_env(config: ExperimentConfig, name: str, num_envs: int, seed: int, masks: bool) -> SegmentedVecEnv:
    """Create the environment of a level set with raw rewards; ``masks=False`` avoids the cost of masks.

    An agent that sees only objects is given masked images here too, so it always has masks.
    """
    options, masking = level_set_options(config.env, name), config.env.masking
    if not masks and masking is None:
        options["segmentation"] = None
    elif config.env.segmentation not in (None, "default"):
        options["segmentation"] = config.env.segmentation
    if config.env.relevant is not None:
        options["relevant"] = config.env.relevant
    venv = make_vec(config.env.id, num_envs, seed, **options)
    if masking is None:
        return venv
    try:
        return MaskedVecEnv(venv, masking)
    except (TypeError, ValueError) as error:
        venv.close()
        raise ValueError(f"env.masking: {error}") from error


def check_masks(config: ExperimentConfig) -> None:
    """Raise a ValueError if an environment of the experiment returns no or malformed label maps at reset."""
    with random_states_kept(), closing(make_level_set_env(config, "train", 1, config.seed, masks=True)) as venv:
        venv.reset()
        venv.segmentation()


def _level_range(options: Mapping[str, Any]) -> range:
    start, count = int(options.get("start_level", 0)), int(options.get("num_levels", 0))
    return range(start, start + count) if count else range(start, _EVERY_LEVEL)


def _check_disjoint(name: str, train: range, held_out: range) -> None:
    if train.start < held_out.stop and held_out.start < train.stop:
        raise ValueError(
            f"level set {name!r} contains training levels: training uses {train.start} to {train.stop - 1}, "
            f"{name} starts at {held_out.start}; limit env.options.num_levels or remove {name} from evaluation.sets"
        )
