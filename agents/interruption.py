"""Where training stops on request, and where it resumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from camal_rl.random_states import random_states, restore_random_states


def never() -> bool:
    """Say that training goes on."""
    return False


@dataclass
class Interruption:
    """Where training can stop, and where it goes on.

    Attributes:
        requested: says whether training is to stop after the step under way.
        rollout_start: the random states at the start of the present rollout.
        resumed: the random states that the first rollout after a restored state starts with.
        update_waits: whether the rollout is complete, and its update is still to be made.
        rollouts_before: rollouts of restored training, without one whose update waits.
        seconds_before: seconds that they took.
    """

    requested: Callable[[], bool] = never
    rollout_start: Mapping[str, Any] | None = None
    resumed: Mapping[str, Any] | None = None
    update_waits: bool = False
    rollouts_before: int = 0
    seconds_before: float = 0.0

    def start_rollout(self) -> None:
        """Remember the random states, those of restored training where it goes on here."""
        if self.resumed is not None:
            restore_random_states(self.resumed)
            self.resumed = None
        self.rollout_start = random_states()
