"""The training state of PPO for exact resuming, except for the environment's own state."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from camal_rl.agents.episode_state import episode_state, refusing_other_models, restore_episode_state
from camal_rl.agents.rollout_buffer import CamalRolloutBuffer
from camal_rl.random_states import random_states, restore_random_states

if TYPE_CHECKING:
    from camal_rl.agents.ppo_with_terms import PPOWithTerms

_ARRAYS = ("actions", "rewards", "returns", "episode_starts", "values", "log_probs", "advantages")
_COUNTERS = ("num_timesteps", "_episode_num", "_n_updates")


def training_state(model: PPOWithTerms) -> dict[str, Any]:
    """Return the state of training as a tree for :mod:`camal_rl.state_tree`.

    The state is valid at the start of a rollout, between two steps of a rollout, and while an update is pending.
    """
    buffer = model.rollout_buffer
    under_way = isinstance(buffer, CamalRolloutBuffer) and 0 < buffer.pos < model.n_steps
    within = model.interruption.update_waits or under_way
    start = model.interruption.rollout_start
    return {
        **update_state(model),
        **{name: getattr(model, name) for name in _COUNTERS},
        "random": random_states() if start is None or buffer.pos > 0 else start,
        **episode_state(model),
        "update_waits": model.interruption.update_waits,
        "rollout": _rollout(model) if within else None,
    }


def restore_training_state(model: PPOWithTerms, state: Mapping[str, Any], seconds: float = 0.0) -> None:
    """Restore a model with the same arguments to a state from :func:`training_state`.

    Args:
        model: the model, untrained.
        state: the state.
        seconds: duration of training so far.

    Raises:
        ValueError: the state belongs to another model; one line.
    """
    with refusing_other_models():
        restore_update_state(model, state)
        for name in _COUNTERS:
            setattr(model, name, int(state[name]))
        restore_episode_state(model, state)
        restore_random_states(state["random"])
        interruption = model.interruption
        interruption.resumed, interruption.update_waits = state["random"], bool(state["update_waits"])
        rollouts = model.num_timesteps // (model.n_steps * model.n_envs)
        interruption.rollouts_before = rollouts - int(interruption.update_waits)
        interruption.seconds_before = seconds
        if state["rollout"] is not None:
            _restore_rollout(model, state["rollout"])


def update_state(model: PPOWithTerms) -> dict[str, Any]:
    """Return what an update changes, except for counters and global random states; tensors are not copied."""
    return {
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        "term_modules": model.term_modules.states(),
        "terms": {term.name: term.training_state() for term in model.auxiliary_terms},
    }


def restore_update_state(model: PPOWithTerms, state: Mapping[str, Any]) -> None:
    """Restore a state from :func:`update_state`.

    Raises:
        ValueError, RuntimeError, KeyError: it belongs to another model.
    """
    model.policy.load_state_dict(state["policy"])
    model.policy.optimizer.load_state_dict(state["optimizer"])
    model.term_modules.load_states(state["term_modules"])
    if state["terms"].keys() != {term.name for term in model.auxiliary_terms}:
        raise ValueError(f"it has the terms {sorted(state['terms'])}")
    for term in model.auxiliary_terms:
        term.restore_training_state(state["terms"][term.name])


@dataclass(frozen=True)
class BeforeUpdate:
    """The state before an update, in memory; an interrupted update is undone and later repeated from its start."""

    state: Mapping[str, Any]
    random: Mapping[str, Any]
    updates: int

    @classmethod
    def of(cls, model: PPOWithTerms) -> BeforeUpdate:
        """Copy the state of a model whose rollout is complete."""
        return cls(_copied(update_state(model)), random_states(), model._n_updates)

    def restore(self, model: PPOWithTerms) -> None:
        """Undo the changes of the update so far."""
        restore_update_state(model, self.state)
        restore_random_states(self.random)
        model._n_updates = self.updates


def _copied(tree: Any) -> Any:
    """Return a copy of nested data; tensors stay on their device."""
    if isinstance(tree, Tensor):
        return tree.detach().clone()
    if isinstance(tree, Mapping):
        return {key: _copied(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_copied(value) for value in tree]
    return copy.deepcopy(tree)


def _rollout(model: PPOWithTerms) -> dict[str, Any]:
    """Return the data of the buffer so far."""
    buffer = model.rollout_buffer
    assert isinstance(buffer, CamalRolloutBuffer)
    count = buffer.pos
    return {
        "steps": count,
        **{name: getattr(buffer, name)[:count] for name in _ARRAYS},
        "stored": buffer.stored(count),
    }


def _restore_rollout(model: PPOWithTerms, state: Mapping[str, Any]) -> None:
    buffer = model.rollout_buffer
    if not isinstance(buffer, CamalRolloutBuffer):
        raise ValueError(f"an unfinished rollout requires a CamalRolloutBuffer, got {type(buffer).__name__}")
    buffer.reset()
    count = int(state["steps"])
    for name in _ARRAYS:
        getattr(buffer, name)[:count] = state[name]
    buffer.restore_stored(state["stored"])
    buffer.pos, buffer.full = count, count == buffer.buffer_size
