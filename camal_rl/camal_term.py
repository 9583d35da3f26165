"""The CAMAL term: computes the additional loss from attention maps and target masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from camal_rl.attention import normalize_cam, zero_maps
from camal_rl.camal_config import AttentionTarget, CamalConfig
from camal_rl.losses import attention_loss
from camal_rl.targets import target_tensor


@dataclass(frozen=True)
class CamalTermLoss:
    """The term for one minibatch, and its parts for logging.

    Attributes:
        loss: scalar with gradient, ``weight(t) * total``; add it to the loss of the task.
        total: scalar with gradient, ``sum over targets of (inside_weight * inside + outside)``.
        inside: the inside part of the loss for each target, ``(K,)``, in the order of ``config.targets``, without
            gradient.
        outside: the outside part for each target, ``(K,)``, without gradient.
        zero_fraction: the share of each target's maps that are zero everywhere, ``(K,)``.
    """

    loss: Tensor
    total: Tensor
    inside: Tensor
    outside: Tensor
    zero_fraction: Tensor


def camal_term(
    maps: Mapping[AttentionTarget, Tensor], masks: Tensor, config: CamalConfig, progress: float = 0.0
) -> CamalTermLoss:
    """Return the loss that CAMAL adds for some frames, in any training loop.

    The maps are normalized, compared with the masks by ``config.loss``, and weighted. Your own loop makes the maps with
    :func:`camal_rl.attention.class_activation_map`, for a subset of the minibatch if ``config.frame_fraction`` is below
    1; a subset costs less and has the same expected value. :class:`camal_rl.agents.CAMALPPO` calls this function.

    Args:
        maps: maps ``(B, h, w)`` for each of ``config.targets``, non-negative, with their graph (``create_graph=True``);
            other keys are ignored.
        masks: the target of each frame on the grid of the maps, ``(B, h, w)``: uint8 with 255 for relevant
            (:func:`camal_rl.targets.grid_target`), bool, or floats in [0, 1].
        config: what is supervised, and how strongly.
        progress: the finished share of training in [0, 1], for ``config.schedule``.

    Raises:
        ValueError: a target has no maps, or maps and masks differ in shape.
        TypeError: the masks have another type.

    Example:
        >>> import torch
        >>> from camal_rl.attention import class_activation_map
        >>> from camal_rl.camal_config import CamalConfig
        >>> from camal_rl.camal_term import camal_term
        >>> encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.ReLU())
        >>> critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8 * 7 * 7, 1))
        >>> images, returns = torch.rand(16, 3, 16, 16), torch.rand(16)
        >>> masks = torch.zeros(16, 7, 7, dtype=torch.uint8)
        >>> masks[:, 2:4, 2:4] = 255
        >>> config = CamalConfig(weight=0.1, targets=("value",), frame_fraction=0.25)
        >>> features = encoder(images)
        >>> value = critic(features).flatten()
        >>> some = slice(config.num_attention_frames(len(images)))
        >>> cam = class_activation_map(features, value, create_graph=True, rectify=config.value_rectification)
        >>> term = camal_term({"value": cam[some]}, masks[some], config)
        >>> loss = (value - returns).square().mean() + term.loss
        >>> loss.backward()
    """
    missing = [target for target in config.targets if target not in maps]
    if missing:
        raise ValueError(f"maps must contain one map per frame for each of {', '.join(config.targets)}, got {[*maps]}")
    shapes = {tuple(maps[target].shape) for target in config.targets}
    if len(shapes) > 1:
        raise ValueError(f"the maps of all targets must have the same shape (B, h, w), got {sorted(shapes)}")
    # Maps of equal shape are processed together in fewer, larger operations.
    cams = torch.stack([maps[target] for target in config.targets])
    parts = attention_loss(config.loss)(normalize_cam(cams), _target(masks))
    total = (config.inside_weight * parts.inside + parts.outside).sum()
    zero = zero_maps(cams.detach()).float().mean(dim=1)
    loss = config.weight_at(progress) * total
    return CamalTermLoss(loss, total, parts.inside.detach(), parts.outside.detach(), zero)


def _target(masks: Tensor) -> Tensor:
    if masks.dtype == torch.bool:
        return masks.float()
    return masks if masks.is_floating_point() else target_tensor(masks)
