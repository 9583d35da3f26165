"""The losses that shape iFAM's parts, as functions of part maps and part features (arXiv 2506.08915).

Part maps ``p (B, K + 1, h, w)`` are in [0, 1] and sum to 1 over the parts; the last part is the background. Every loss
is a scalar, and gradients flow through all maps and features.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

PROBABILITY_FLOOR = 1e-6
"""Lower bound of probabilities in logarithms, which bounds their gradients."""


def orthogonality_loss(features: Tensor) -> Tensor:
    """``mean over images and pairs (i, j) of (cos(f_i, f_j) - [i = j])^2``, in [0, 1].

    Args:
        features: ``(B, K + 1, C)``, one vector for each part, including the background.
    """
    unit = functional.normalize(features, dim=2)
    identity = torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
    return (unit @ unit.transpose(1, 2) - identity).square().mean()


def equivariance_loss(maps: Tensor, returned: Tensor, visible: Tensor) -> Tensor:
    """``1 - mean over images and foreground parts of cos(p_k, q_k)``, in [0, 1].

    The cosine is that of the two maps as vectors over the visible cells.

    Args:
        maps: ``p (B, K + 1, h, w)``, the maps of the images.
        returned: ``q``, the maps of the transformed images, transformed back.
        visible: ``bool (B, h, w)``, the cells that the transform kept in the image.
    """
    kept = visible.unsqueeze(1)
    first = (maps[:, :-1] * kept).flatten(2)
    second = (returned[:, :-1] * kept).flatten(2)
    return 1 - functional.cosine_similarity(first, second, dim=2).mean()


def presence_loss(maps: Tensor) -> Tensor:
    """``1 - mean over foreground parts of max over images and cells of p'_k``, in [0, 1].

    ``p'`` is the mean over 3x3 cells, without padding, so that a single cell does not count as a part.

    Args:
        maps: ``(B, K + 1, h, w)`` with at least 3x3 cells.
    """
    return 1 - functional.avg_pool2d(maps[:, :-1], 3, stride=1).amax(dim=(0, 2, 3)).mean()


def background_loss(maps: Tensor) -> Tensor:
    """``-mean over images of log(max over cells of r^2 p'_bg)``: every image has background near its border.

    ``p'`` is as in :func:`presence_loss`; ``r^2`` is the squared distance from the center of the grid of ``p'``, 1 in
    its corners. The loss is 0 if a corner is entirely background. It is at most ``-log(PROBABILITY_FLOOR)``, where its
    gradient is 0.

    Args:
        maps: ``(B, K + 1, h, w)`` with at least 4x4 cells.
    """
    background = functional.avg_pool2d(maps[:, -1:], 3, stride=1)[:, 0]
    rows, columns = (torch.linspace(-1, 1, n, dtype=maps.dtype, device=maps.device) for n in background.shape[1:])
    radius = (rows.square()[:, None] + columns.square()[None, :]) / 2
    return -(background * radius).amax(dim=(1, 2)).clamp_min(PROBABILITY_FLOOR).log().mean()


def total_variation_loss(maps: Tensor) -> Tensor:
    """``sum of |p(y + 1, x) - p(y, x)| + |p(y, x + 1) - p(y, x)| over parts and cells / (B h w)``, in [0, 4]."""
    batch, _, height, width = maps.shape
    steps = maps.diff(dim=2).abs().sum() + maps.diff(dim=3).abs().sum()
    return steps / (batch * height * width)


def entropy_loss(maps: Tensor) -> Tensor:
    """``-mean over images and cells of sum_k p_k log p_k``, in [0, log(K + 1)]; 0 if each patch belongs to one part."""
    return torch.special.entr(maps.clamp_min(PROBABILITY_FLOOR)).sum(dim=1).mean()
