"""The states of the global random generators: saved with a checkpoint, or protected while other code draws."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def random_states() -> dict[str, Any]:
    """Return the states of the global generators of Python, NumPy and torch, on every CUDA device too."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Restore the global generators to states from :func:`random_states`.

    States of CUDA devices that do not exist here are ignored.

    Raises:
        ValueError, TypeError, KeyError: the states are invalid.
    """
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for device, state in enumerate(states["cuda"][:here]):
        torch.cuda.set_rng_state(state, device)


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Restore the global generators after the block to their states before it."""
    states = random_states()
    try:
        yield
    finally:
        restore_random_states(states)


def own_random_states(holder: object) -> dict[str, Any]:
    """Return the states of an object's generators: its attributes that are torch or NumPy generators."""
    found: dict[str, Any] = {}
    for name, value in vars(holder).items():
        if isinstance(value, torch.Generator):
            found[name] = value.get_state()
        elif isinstance(value, np.random.Generator):
            found[name] = value.bit_generator.state
    return found


def restore_own_random_states(holder: object, states: Mapping[str, Any]) -> None:
    """Restore an object's generators to states from :func:`own_random_states`.

    Raises:
        ValueError: the object does not have these generators.
    """
    if states.keys() != own_random_states(holder).keys():
        raise ValueError(
            f"{type(holder).__name__} has the random generators {sorted(own_random_states(holder))}, but the state is "
            f"for {sorted(states)}"
        )
    for name, state in states.items():
        generator = getattr(holder, name)
        if isinstance(generator, torch.Generator):
            generator.set_state(state)
        else:
            generator.bit_generator.state = state
