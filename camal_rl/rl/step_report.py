"""Reports the progress of an agent's training after each rollout."""

from __future__ import annotations

from collections.abc import Callable

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import safe_mean

OnSteps = Callable[[int, int, float | None], None]
"""Called with the finished steps, all steps, and the mean return of the last episodes, if any has ended."""


class StepReport(BaseCallback):
    """Calls a function after each rollout."""

    def __init__(self, on_steps: OnSteps) -> None:
        super().__init__()
        self.on_steps = on_steps

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        returns = [episode["r"] for episode in self.model.ep_info_buffer or ()]
        total = self.model._total_timesteps
        self.on_steps(self.num_timesteps, total, float(safe_mean(returns)) if returns else None)


def mean_return_words(mean: float | None) -> str:
    """Return the mean return of the last episodes in words."""
    return "mean return not known yet" if mean is None else f"mean return {mean:.2f}"
