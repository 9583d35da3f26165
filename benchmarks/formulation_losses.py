"""Attention losses that were tried as formulations of CAMAL and are not shipped; docs/results/formulations.md.

A loss is selected by its path from the root of the repository:

    camal-rl sweep toy_grid camal.loss=benchmarks.formulation_losses:margin evaluation.suite=full --seeds 3
"""

from __future__ import annotations

import torch
from torch import Tensor

from camal_rl.losses import CamalLoss, camal_loss

MARGIN = 0.5
"""Mean attention inside the target that suffices."""


def margin(cam: Tensor, target: Tensor) -> CamalLoss:
    """CAMAL's loss with a margin inside: a mean attention of :data:`MARGIN` on the target suffices.

    ``inside = max(0, MARGIN - sum t m / sum t) / MARGIN``, in [0, 1]; the outside part is that of
    :func:`camal_rl.losses.camal_loss`. Frames with an empty target do not count.

    Args:
        cam: ``(B, h, w)`` in [0, 1].
        target: the same shape, in [0, 1].
    """
    whole = camal_loss(cam, target)
    area = target.sum(dim=(-2, -1))
    valid = area > 0
    mean = (cam * target).sum(dim=(-2, -1)) / area.masked_fill(~valid, 1)
    missing = torch.relu(MARGIN - mean) / MARGIN * valid
    inside = missing.sum(dim=-1) / valid.sum().clamp_min(1)
    return CamalLoss(inside + whole.outside, inside, whole.outside, whole.valid_fraction)
