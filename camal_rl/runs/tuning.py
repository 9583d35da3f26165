"""How settings were tuned: what a sweep writes into the configuration that it found best; its seeds are spent."""

from __future__ import annotations

from dataclasses import dataclass

from camal_rl.runs.checks import Count, CountOrNone, Seed, check_section

FIRST_TUNING_SEED = 100
"""Tuning seeds count from here; those of a comparison count from the configuration's own, 0 by default."""


@dataclass(frozen=True)
class Tuning:
    """The tuning behind a configuration; no run of it may have one of the tuning seeds.

    Attributes:
        search: ``grid``, ``random`` or ``optuna``.
        objective: what was optimized, ``<figure>@<level set>``.
        keys: the settings that were tuned.
        trials: combinations that were tried.
        runs: trainings, one for each trial and seed.
        steps: training steps of them all.
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
    """Raise a ValueError if a run's seed is one that its settings were tuned on."""
    if tuning is not None and seed in tuning.seeds:
        raise ValueError(
            f"seed {seed} is one that these settings were tuned on (tuning.seeds: "
            f"{', '.join(map(str, tuning.seeds))}), so its result would be no test of them; give other seeds"
        )
