"""Procgen's normalized return, so that games can be averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

# Easy mode, (R_min, R_max), as in ``constants.py`` of openai/train-procgen. The table in the paper (Cobbe et al. 2020,
# arXiv 1912.01588, appendix C) differs in two entries, jumper and leaper, where it has R_min = 3.
EASY_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "bigfish": (1.0, 40.0),
        "bossfight": (0.5, 13.0),
        "caveflyer": (3.5, 12.0),
        "chaser": (0.5, 13.0),
        "climber": (2.0, 12.6),
        "coinrun": (5.0, 10.0),
        "dodgeball": (1.5, 19.0),
        "fruitbot": (-1.5, 32.4),
        "heist": (3.5, 10.0),
        "jumper": (1.0, 10.0),
        "leaper": (1.5, 10.0),
        "maze": (5.0, 10.0),
        "miner": (1.5, 13.0),
        "ninja": (3.5, 10.0),
        "plunder": (4.5, 30.0),
        "starpilot": (2.5, 64.0),
    }
)


def normalized_score(name: str, returns: Sequence[float] | npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return ``(R - R_min) / (R_max - R_min)`` of episode returns in easy mode.

    0 is the return of an agent that sees nothing, 1 is about the best possible return; values are not clipped.

    Args:
        name: name of the game.
        returns: episode returns, in any shape, without reward normalization.

    Raises:
        ValueError: unknown game.
    """
    if name not in EASY_RANGES:
        raise ValueError(f"unknown Procgen game {name!r}; the games are {', '.join(EASY_RANGES)}")
    low, high = EASY_RANGES[name]
    return (np.asarray(returns, dtype=np.float64) - low) / (high - low)
