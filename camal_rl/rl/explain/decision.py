"""Display of decisions beside pictures: titles of maps, and bars of the action scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from camal_rl.agents.config import AttentionTarget
from camal_rl.rl.policy_outputs import PolicyOutputs

MAP_TITLES: dict[AttentionTarget, str] = {
    "value": "value map",
    "policy": "policy map: action taken",
    "q": "Q map: action taken",
}
"""Titles of the maps of an episode, which explain the actions that were taken."""
SCORE_TITLES = {"p": "probability of each action", "Q": "Q-value of each action"}
"""Titles of the bars, by :attr:`PolicyOutputs.score_name`."""


def bar_shares(outputs: PolicyOutputs, episode: PolicyOutputs) -> npt.NDArray[np.float32]:
    """Return the length ``(N, A)`` of each action's bar in [0, 1]: its probability, or its scaled Q-value.

    Args:
        outputs: the outputs to show.
        episode: outputs for the episode's frames; bars range from their smallest to their largest Q-value.
    """
    scores = _finite(outputs.action_scores)
    if outputs.q_values is None:
        return scores
    known = _finite(episode.action_scores)
    low, high = known.min(), known.max()
    return ((scores - low) / (high - low)).clip(0, 1) if high > low else np.zeros_like(scores)


def _finite(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.nan_to_num(scores, posinf=0.0, neginf=0.0)
