"""Ranking metrics and correlations of many maps at once, exact with ties."""

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
    mean_rank = mean_ranks(scores)
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


def mean_ranks(scores: Tensor) -> Tensor:
    """Return the rank of each entry in its row, 1 for the smallest; ties get their mean rank.

    Args:
        scores: ``(B, P)``, finite.

    Returns:
        ``float64 (B, P)``.
    """
    ordered = scores.sort(dim=1).values
    below = torch.searchsorted(ordered, scores)
    up_to = torch.searchsorted(ordered, scores, right=True)
    return (below + up_to + 1).to(torch.float64) / 2


def pearson(first: Tensor, second: Tensor) -> Tensor:
    """Return the correlation of each pair of rows, ``float64 (B,)`` in [-1, 1].

    NaN for rows that are constant or hold a value that is not finite.

    Args:
        first: ``(B, P)``.
        second: ``(B, P)``.
    """
    if first.dim() != 2 or first.shape != second.shape:
        raise ValueError(f"both must have one shape (B, P), got {tuple(first.shape)} and {tuple(second.shape)}")
    left, right = (values.double() - values.double().mean(dim=1, keepdim=True) for values in (first, second))
    constant = (first == first[:, :1]).all(dim=1) | (second == second[:, :1]).all(dim=1)
    correlation = (left * right).sum(dim=1) / (left.norm(dim=1) * right.norm(dim=1))
    return torch.where(constant, torch.nan, correlation.clamp(-1, 1))


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Return the rank correlation of each pair of rows, with :func:`mean_ranks`.

    Args:
        first: ``(B, P)``.
        second: ``(B, P)``.

    Returns:
        ``float64 (B,)`` in [-1, 1]; NaN for rows that are constant or hold a value that is not finite.
    """
    if first.dim() != 2 or first.shape != second.shape:
        raise ValueError(f"both must have one shape (B, P), got {tuple(first.shape)} and {tuple(second.shape)}")
    finite = (first.isfinite() & second.isfinite()).all(dim=1)
    usable = (torch.where(finite[:, None], values, 0.0) for values in (first, second))
    return pearson(*(mean_ranks(values) for values in usable))
