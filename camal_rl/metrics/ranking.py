"""Ranking metrics of many maps at once: AUROC and average precision, exact with ties."""

from __future__ import annotations

import torch
from torch import Tensor


def auroc(scores: Tensor, positive: Tensor) -> Tensor:
    """Return the area under the ROC curve of each row: P(inside > outside) + P(equal) / 2.

    Args:
        scores: ``(B, P)``, finite.
        positive: ``bool (B, P)``.

    Returns:
        ``(B,)`` in [0, 1]; NaN for a row without positives or without negatives.
    """
    ordered = scores.sort(dim=1).values
    below = torch.searchsorted(ordered, scores)
    up_to = torch.searchsorted(ordered, scores, right=True)
    mean_rank = (below + up_to + 1).to(torch.float64) / 2
    inside = positive.sum(dim=1).to(torch.float64)
    outside = positive.shape[1] - inside
    wins = (mean_rank * positive).sum(dim=1) - inside * (inside + 1) / 2
    return (wins / (inside * outside)).to(scores.dtype)


def average_precision(scores: Tensor, positive: Tensor) -> Tensor:
    """Return the average precision of each row: the mean over positives of the precision at their score.

    Equal scores are accepted together, so that their order does not matter (as in scikit-learn).

    Args:
        scores: ``(B, P)``, finite.
        positive: ``bool (B, P)``.

    Returns:
        ``(B,)`` in [0, 1]; NaN for a row without positives.
    """
    ordered, order = scores.sort(dim=1)
    below = torch.searchsorted(ordered, scores)
    inside = positive.sum(dim=1, keepdim=True)
    inside_up_to = positive.gather(1, order).cumsum(dim=1)
    inside_below = torch.cat([torch.zeros_like(inside), inside_up_to], dim=1).gather(1, below)
    precision = (inside - inside_below).to(torch.float64) / (scores.shape[1] - below)
    return ((precision * positive).sum(dim=1) / inside.squeeze(1)).to(scores.dtype)
