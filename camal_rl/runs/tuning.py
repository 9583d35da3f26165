"""The tuning record that a sweep writes into its best configuration; its seeds must not be used for results."""

from __future__ import annotations

from dataclasses import dataclass

from camal_rl.runs.checks import Count, CountOrNone, Seed, check_section

FIRST_TUNING_SEED = 100
"""The first tuning seed; seeds of a comparison count from the configuration's own, 0 by default."""


@dataclass(frozen=True)
class Tuning:
    """The tuning behind a configuration; its runs must not use the tuning seeds.

    Attributes:
        search: ``grid``, ``random`` or ``optuna``.
        objective: the optimized figure, ``<figure>@<level set>``.
        keys: the tuned settings.
        trials: number of combinations tried.
        runs: number of trainings, one for each trial and seed.
        steps: training steps of all runs.
        seeds: the seeds of these runs.
    """

    search: str
    objective: str
    keys: tuple[str, ...]
    trials: Count
    runs: Count
    steps: CountOrNone
    seeds: tuple[Seed, ...]

    def __post_init__(self) -> None:
        """Check ranges."""
        check_section(self, "tuning")


def check_not_tuned_on(seed: int, tuning: Tuning | None) -> None:
    """Raise a ValueError if a run's settings were tuned on its seed."""
    if tuning is not None and seed in tuning.seeds:
        raise ValueError(
            f"these settings were tuned on seed {seed} (tuning.seeds: {', '.join(map(str, tuning.seeds))}), so its "
            "result would be biased; give other seeds"
        )
