"""Display of decisions beside pictures: titles of maps, words, and bars of the action scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from camal_rl.agents.config import AttentionTarget
from camal_rl.metrics import gaussian_flip
from camal_rl.rl.policy_outputs import PolicyOutputs

MAP_TITLES: dict[AttentionTarget, str] = {
    "value": "value map",
    "policy": "policy map: action taken",
    "q": "Q map: action taken",
}
"""Titles of the maps of an episode, which explain the actions that were taken."""
_NAMED_NUMBERS = 3
SCORE_TITLES = {"p": "probability of each action", "Q": "Q-value of each action", "mean": "mean of each action"}
"""Titles of the bars, by :attr:`PolicyOutputs.score_name`."""


def taken_words(outputs: PolicyOutputs, names: Sequence[str]) -> list[str]:
    """Return each image's action in words: its name and its score, or the numbers of a continuous one."""
    if outputs.gaussians is not None:
        return [numbers_in_words(row, names) for row in outputs.actions]
    return [
        f"{names[action]}, {outputs.score_name} = {_number(score, '.2f')}"
        for action, score in zip(outputs.actions, outputs.chosen_scores, strict=True)
    ]


def preferred_words(outputs: PolicyOutputs, names: Sequence[str]) -> list[str]:
    """Return the action that is preferred for each image in words: its name, or the numbers of a continuous one."""
    if outputs.gaussians is not None:
        return [numbers_in_words(row, names) for row in outputs.action_scores]
    return [names[index] for index in preferred(outputs)]


def numbers_in_words(numbers: npt.NDArray[np.float32], names: Sequence[str]) -> str:
    """Return the numbers ``(A,)`` of a continuous action with their names, or without where there are many."""
    if len(names) > _NAMED_NUMBERS:
        return " ".join(_number(value, "+.1f") for value in numbers)
    return ", ".join(f"{name} {_number(value, '+.2f')}" for name, value in zip(names, numbers, strict=True))


def _number(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else "not finite"


def preferred(outputs: PolicyOutputs) -> npt.NDArray[np.int64]:
    """Return the number ``(N,)`` of the action with the largest score; of a continuous one -1: it has none."""
    if outputs.gaussians is not None:
        return np.full(len(outputs), -1)
    return np.asarray(np.nan_to_num(outputs.action_scores, nan=-np.inf).argmax(axis=1))


def flips(outputs: PolicyOutputs, before: PolicyOutputs) -> npt.NDArray[np.bool_]:
    """Return for which images ``(N,)`` the preferred action is another one than for those before.

    A continuous action is another one as :func:`camal_rl.metrics.gaussian_flip` says.
    """
    if outputs.gaussians is None or before.gaussians is None:
        return np.asarray(preferred(outputs) != preferred(before))
    found = gaussian_flip(torch.from_numpy(before.gaussians), torch.from_numpy(outputs.gaussians)[None])[0]
    return np.asarray(found.bool().numpy())


def bar_shares(outputs: PolicyOutputs, episode: PolicyOutputs) -> npt.NDArray[np.float32]:
    """Return the length ``(N, A)`` of each action's bar in [0, 1]: its probability, or its scaled Q-value or mean.

    Args:
        outputs: the outputs to show.
        episode: outputs for the episode's frames; bars range from their smallest to their largest Q-value, or mean.
    """
    scores = _finite(outputs.action_scores)
    if outputs.probabilities is not None:
        return scores
    known = _finite(episode.action_scores)
    low, high = known.min(), known.max()
    return ((scores - low) / (high - low)).clip(0, 1) if high > low else np.zeros_like(scores)


def _finite(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.nan_to_num(scores, posinf=0.0, neginf=0.0)
