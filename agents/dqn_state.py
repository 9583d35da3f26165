"""The training state of DQN for exact resuming, except for the environment's own state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from stable_baselines3.common.buffers import ReplayBuffer

from camal_rl.agents.episode_state import (
    episode_state,
    in_order,
    refusing_other_models,
    restore_episode_state,
    with_order,
)
from camal_rl.agents.replay_buffer import CamalReplayBuffer
from camal_rl.random_states import random_states, restore_random_states

if TYPE_CHECKING:
    from camal_rl.agents.camal_dqn import CAMALDQN

_COUNTERS = ("num_timesteps", "_episode_num", "_n_updates", "_n_calls", "_diagnosed_at")
_NUMBERS = ("exploration_rate", "_current_progress_remaining")
_LOGS = ("name_to_value", "name_to_count", "name_to_excluded")


def training_state(model: CAMALDQN) -> dict[str, Any]:
    """Return the state of training as a tree for :mod:`camal_rl.state_tree`; valid at the start of a rollout.

    Raises:
        TypeError: the replay buffer has a user's class, which checkpoints cannot store.
    """
    buffer = model.replay_buffer
    if not isinstance(buffer, CamalReplayBuffer):
        raise TypeError(f"a checkpoint requires a CamalReplayBuffer, got a {type(buffer).__name__}")
    return {
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        **{name: getattr(model, name) for name in (*_COUNTERS, *_NUMBERS)},
        "random": random_states(),
        "actions": model.action_space.np_random.bit_generator.state,
        **episode_state(model),
        "last_original_observations": with_order(model._last_original_obs),
        "logs": _pending_logs(model),
        "replay": buffer.stored(),
    }


def _pending_logs(model: CAMALDQN) -> dict[str, Any]:
    """Return the pending figures of the logger that are numbers."""
    if not hasattr(model, "_logger"):
        return {}
    waiting = {name: dict(getattr(model.logger, name)) for name in _LOGS}
    numbers = {key: float(value) for key, value in waiting["name_to_value"].items() if _is_number(value)}
    return {**{name: {key: waiting[name].get(key) for key in numbers} for name in _LOGS}, "name_to_value": numbers}


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def restore_training_state(model: CAMALDQN, state: Mapping[str, Any], seconds: float = 0.0) -> None:
    """Restore a model with the same arguments to a state from :func:`training_state`.

    Args:
        model: the model, untrained.
        state: the state.
        seconds: duration of training so far.

    Raises:
        ValueError: the state belongs to another model; one line.
    """
    with refusing_other_models():
        model.policy.load_state_dict(state["policy"])
        model.policy.optimizer.load_state_dict(state["optimizer"])
        for name in _COUNTERS:
            setattr(model, name, int(state[name]))
        for name in _NUMBERS:
            setattr(model, name, float(state[name]))
        restore_episode_state(model, state)
        model._last_original_obs = in_order(state["last_original_observations"])
        cast(CamalReplayBuffer, cast(ReplayBuffer, model.replay_buffer)).restore_stored(state["replay"])
        model.action_space.np_random.bit_generator.state = state["actions"]
        restore_random_states(state["random"])
        model.pending_logs = state["logs"]
        interruption = model.interruption
        interruption.resumed = state["random"]
        interruption.seconds_before = seconds
