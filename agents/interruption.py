"""The state of interrupting and resuming training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from camal_rl.random_states import random_states, restore_random_states


def never() -> bool:
    """Never ask training to stop."""
    return False


@dataclass
class Interruption:
    """The state of interrupting and resuming training.

    Attributes:
        requested: returns whether training should stop after the current step.
        rollout_start: the random states at the start of the current rollout.
        resumed: the random states with which the first rollout after restoring a state starts.
        update_waits: whether the rollout is complete and its update is pending.
        rollouts_before: number of rollouts before training was restored, without one whose update is pending.
        seconds_before: duration of training before it was restored.
    """

    requested: Callable[[], bool] = never
    rollout_start: Mapping[str, Any] | None = None
    resumed: Mapping[str, Any] | None = None
    update_waits: bool = False
    rollouts_before: int = 0
    seconds_before: float = 0.0

    def start_rollout(self) -> None:
        """Store the random states; after restoring a state, first restore its random states."""
        if self.resumed is not None:
            restore_random_states(self.resumed)
            self.resumed = None
        self.rollout_start = random_states()
