"""Stage 1 of iFAM: a vision transformer over the whole image, and prototypes to which its patches are assigned."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from camal_rl.supervised.ifam.vit import MaskedViT

PART_STD = 0.02
"""Standard deviation of the initial weights of the part classifiers."""


class Parts(NamedTuple):
    """Output of stage 1 for a batch; the last of the K + 1 parts is the background.

    Attributes:
        part_logits: ``(B, K + 1, h, w)``, negative squared distances to the prototypes.
        maps: ``(B, K + 1, h, w)`` in [0, 1], sums to 1 over the parts.
        features: ``(B, K + 1, C)``, normalized per part.
        class_logits: ``(B, num_classes)``, the mean of the foreground parts' predictions.
    """

    part_logits: Tensor
    maps: Tensor
    features: Tensor
    class_logits: Tensor


class PartStage(nn.Module):
    """Assigns patches to K foreground prototypes and one background prototype; every foreground part classifies."""

    def __init__(
        self, vit: MaskedViT, num_classes: int, *, parts: int, temperature: float, part_dropout: float
    ) -> None:
        super().__init__()
        dim = vit.norm.normalized_shape[0]
        self.vit = vit
        self.temperature = temperature
        self.part_dropout = part_dropout
        # About unit length, so that the distances to normalized patches differ, but not too much.
        self.prototypes = nn.Parameter(torch.randn(parts + 1, dim) * dim**-0.5)
        self.scale = nn.Parameter(torch.ones(parts + 1, dim))
        self.shift = nn.Parameter(torch.zeros(parts + 1, dim))
        self.classifiers = nn.Parameter(torch.randn(parts, num_classes, dim) * PART_STD)

    def part_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``-|t - c_k|^2`` as ``(B, K + 1, h, w)`` and the tokens ``t (B, h w, C)`` of normalized images."""
        tokens = self.vit.encode(self.vit.embed(images))[:, 1:]
        return self.distances(tokens).unflatten(2, self.vit.grid), tokens

    def distances(self, tokens: Tensor) -> Tensor:
        """Return ``-|t - c_k|^2`` as ``(B, K + 1, N)`` for ``tokens (B, N, C)``."""
        products = self.prototypes @ tokens.transpose(1, 2)
        lengths = self.prototypes.square().sum(dim=1)[:, None] + tokens.square().sum(dim=2)[:, None, :]
        return 2 * products - lengths

    def forward(self, images: Tensor) -> Parts:
        """Return the parts of normalized images ``(B, 3, H, W)``; in training mode with noise and part dropout."""
        part_logits, tokens = self.part_logits(images)
        maps = part_maps(part_logits, self.temperature, noisy=self.training)
        features = self._normalized(part_features(tokens, maps))
        return Parts(part_logits, maps, features, self.classify(features))

    def classify(self, features: Tensor) -> Tensor:
        """Return the mean over the foreground parts of ``W_k f_k`` for ``features (B, K + 1, C)``.

        In training mode whole parts drop out, and the others are scaled up.
        """
        kept = functional.dropout1d(features[:, :-1], self.part_dropout, self.training)
        return torch.einsum("bkc,knc->bn", kept, self.classifiers) / len(self.classifiers)

    def _normalized(self, features: Tensor) -> Tensor:
        return functional.layer_norm(features, features.shape[2:]) * self.scale + self.shift


def part_maps(part_logits: Tensor, temperature: float, *, noisy: bool) -> Tensor:
    """Return the soft assignment ``(B, K + 1, h, w)`` of each patch: softmax, with Gumbel noise if ``noisy``.

    The noise (Jang et al. 2017, arXiv 1611.01144) comes from torch's default generator, as in dropout.
    """
    logits = part_logits.float() if part_logits.dtype != torch.float64 else part_logits
    if noisy:
        return functional.gumbel_softmax(logits, tau=temperature, dim=1)
    return (logits / temperature).softmax(dim=1)


def part_features(tokens: Tensor, maps: Tensor) -> Tensor:
    """Return the map-weighted mean ``(B, K + 1, C)`` of ``tokens (B, h w, C)`` for ``maps (B, K + 1, h, w)``."""
    weights = maps.flatten(2)
    return weights @ tokens.to(weights.dtype) / weights.sum(dim=2, keepdim=True).clamp_min(1e-6)


def foreground_mask(part_logits: Tensor) -> Tensor:
    """Return ``bool (B, h, w)``: where the largest foreground logit is above that of the background."""
    return part_logits[:, :-1].amax(dim=1) > part_logits[:, -1]


def sampled_mask(part_logits: Tensor, temperature: float, mask_dropout: float) -> Tensor:
    """Draw a mask for training: a two-way hard Gumbel-softmax, foreground against background.

    The soft mask is ``sigma((f - b + g) / temperature)``, where ``f`` is the largest logit of the foreground parts that
    do not drop out, ``b`` that of the background, and ``g`` the difference of two Gumbel variables, which is logistic.
    The result is exactly 1 where the soft mask is above .5, and 0 elsewhere; gradients are those of the soft mask
    (straight-through, arXiv 1611.01144). An image whose parts all drop out has an empty mask.

    Args:
        part_logits: ``(B, K + 1, h, w)``.
        temperature: temperature of the softmax, above 0.
        mask_dropout: probability that a part drops out of an image's mask.

    Returns:
        ``(B, h, w)`` in {0, 1}.
    """
    logits = part_logits.float() if part_logits.dtype != torch.float64 else part_logits
    dropped = torch.rand(*logits.shape[:1], logits.shape[1] - 1, 1, 1, device=logits.device) < mask_dropout
    foreground = logits[:, :-1].masked_fill(dropped, float("-inf")).amax(dim=1)
    uniform = torch.rand_like(foreground).clamp(1e-6, 1 - 1e-6)
    soft = torch.sigmoid((foreground - logits[:, -1] + torch.logit(uniform)) / temperature)
    return straight_through(soft)


def straight_through(soft: Tensor) -> Tensor:
    """Return 1 where ``soft`` is above .5 and 0 elsewhere, with the gradient of ``soft``.

    ``soft + (hard - soft)`` is exact: a number and its negative cancel, and for numbers from .5 to 1 the
    difference to 1 has no rounding error.
    """
    hard = (soft > 0.5).to(soft.dtype)
    return soft + (hard - soft).detach()
