"""The common part of the training states of all algorithms: current episodes, and errors for states of other models."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm


def episode_state(model: BaseAlgorithm) -> dict[str, Any]:
    """Return the next observations, and the episodes in the running statistics."""
    return {
        "last_observations": with_order(model._last_obs),
        "last_episode_starts": model._last_episode_starts,
        "episodes": [dict(each) for each in model.ep_info_buffer or ()],
        "successes": [bool(each) for each in model.ep_success_buffer or ()],
    }


def restore_episode_state(model: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    """Restore the result of :func:`episode_state`."""
    model._last_obs = in_order(state["last_observations"])
    model._last_episode_starts = state["last_episode_starts"]
    model.ep_info_buffer = deque(state["episodes"], maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(state["successes"], maxlen=model._stats_window_size)


@contextmanager
def refusing_other_models() -> Iterator[None]:
    """Turn errors of restoring a state inside the block into a ValueError of one line.

    Raises:
        ValueError: the state belongs to another model or version.
    """
    try:
        yield
    except (KeyError, RuntimeError, TypeError, AttributeError, ValueError) as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(f"the state of training belongs to another model or version ({told})") from error


def with_order(observations: Any) -> dict[str, Any]:
    """Return observations with their memory order.

    Some convolutions round differently if images ``(N, C, H, W)`` are a view of channels-last ones.
    """
    last = isinstance(observations, np.ndarray) and observations.ndim == 4 and not observations.flags.c_contiguous
    return {"channels_last": last, "values": np.moveaxis(observations, 1, -1) if last else observations}


def in_order(stored: Mapping[str, Any]) -> Any:
    """Return the observations given to :func:`with_order`."""
    return np.moveaxis(stored["values"], -1, 1) if stored["channels_last"] else stored["values"]
