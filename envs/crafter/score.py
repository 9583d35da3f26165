"""Crafter's own score: how often each achievement is unlocked, and the geometric mean over all of them.

Hafner, "Benchmarking the Spectrum of Agent Capabilities", arXiv 2109.06780: with success rates s_i in percent of the
episodes, the score is ``exp(mean(ln(1 + s_i))) - 1``, in percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from camal_rl.envs.crafter.classes import ACHIEVEMENTS


def episode_scores(name: str, infos: Sequence[Mapping[str, Any]]) -> Mapping[str, float]:
    """Return ``score``, in percent, and ``success_<achievement>``, the share of the episodes that unlocked it.

    Args:
        name: name of the environment; not used.
        infos: ``info`` of the last step of each episode; at least one.
    """
    unlocked = np.array([[info["achievements"][each] > 0 for each in ACHIEVEMENTS] for info in infos])
    shares = unlocked.mean(axis=0)
    score = float(np.expm1(np.log1p(100 * shares).mean()))
    rates = {f"success_{each}": float(share) for each, share in zip(ACHIEVEMENTS, shares, strict=True)}
    return {"score": score, **rates}
