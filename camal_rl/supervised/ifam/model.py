"""The iFAM classifier, with both stages."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from camal_rl.supervised.ifam.affine import random_affine, warp, warp_back
from camal_rl.supervised.ifam.images import Normalize
from camal_rl.supervised.ifam.losses import (
    background_loss,
    entropy_loss,
    equivariance_loss,
    orthogonality_loss,
    presence_loss,
    total_variation_loss,
)
from camal_rl.supervised.ifam.parts import Parts, PartStage, foreground_mask, sampled_mask
from camal_rl.supervised.ifam.vit import MaskedViT, check_vit
from camal_rl.supervised.ifam.weights import IfamWeights, ifam_weights
from camal_rl.supervised.model_protocols import TrainingLosses

SMALLEST_GRID = 4
"""Smallest number of patches in a row or column, needed by the loss on the background."""


class Ifam(nn.Module):
    """Inherently faithful attention maps (arXiv 2506.08915): stage 1 chooses patches, stage 2 classifies only by them.

    For a given mask, patches outside the mask cannot change the prediction: their tokens are replaced by zeros and are
    not keys in any block of stage 2. Stage 1 sees the whole image when it chooses. An image with an empty mask is
    classified from the class token alone, so the prediction is the same for all such images.

    Attributes:
        cam_layer: the first normalization of stage 2's last block.
        token_grid: ``(h, w)`` patches.
        prefix_tokens: 1, the class token.
    """

    def __init__(
        self,
        stage1: PartStage,
        stage2: MaskedViT,
        num_classes: int,
        mask_dropout: float,
        warmup: float,
        weights: IfamWeights,
    ) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.stage1 = stage1
        self.stage2 = stage2
        self.head = nn.Linear(stage2.norm.normalized_shape[0], num_classes)
        self.mask_dropout = mask_dropout
        self.warmup = warmup
        self.weights = weights
        self.cam_layer = f"stage2.blocks.{len(stage2.blocks) - 1}.norm1"
        self.token_grid = stage2.grid
        self.prefix_tokens = 1

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, K)`` of images ``(B, 3, H, W)`` in [0, 1]; without noise, even in training mode."""
        return self.predict_with_mask(images, self.foreground_mask(images))

    @torch.no_grad()
    def foreground_mask(self, images: Tensor) -> Tensor:
        """Return stage 1's choice ``bool (B, h, w)``: patches nearer to a foreground part than to the background."""
        return foreground_mask(self.stage1.part_logits(self.normalize(images))[0])

    def built_in_attention(self, images: Tensor) -> Tensor:
        """Return the mask as a map ``(B, h, w)`` in {0, 1}, float32, without gradient."""
        return self.foreground_mask(images).float()

    def predict_with_mask(self, images: Tensor, mask: Tensor) -> Tensor:
        """Return the logits ``(B, K)`` of stage 2 alone.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            mask: ``bool (B, h, w)``, the patches that stage 2 may see.

        Raises:
            TypeError: the mask is not boolean.
            ValueError: it is not on the grid of patches.
        """
        if mask.dtype != torch.bool:
            raise TypeError(f"mask must be boolean, got {mask.dtype}; use mask > 0.5")
        if mask.shape != (len(images), *self.token_grid):
            raise ValueError(f"mask must be {(len(images), *self.token_grid)}, (B, h, w), got {tuple(mask.shape)}")
        kept = mask.flatten(1)
        patches = self.stage2.embed(self.normalize(images))
        # Masked attention alone is not enough, since 0 times NaN or infinity is NaN.
        patches = torch.where(kept.unsqueeze(2), patches, torch.zeros_like(patches))
        return self._classify(patches, kept.to(patches.dtype))

    def training_losses(self, images: Tensor, labels: Tensor, progress: float = 1.0) -> TrainingLosses:
        """Return the prediction and the weighted losses of a batch.

        In training mode the mask is drawn at random (:func:`camal_rl.supervised.ifam.parts.sampled_mask`), and the
        loss of stage 2 reaches stage 1 through the mask. Parts drop out of stage 1's prediction and of the mask.

        While ``progress < warmup``, training emphasizes classes over parts. With ``u = progress / warmup``, all losses
        except the two cross-entropies are multiplied by ``u``. In training mode stage 2 sees the whole image with
        probability ``1 - u``, without a gradient to stage 1.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            labels: ``int64 (B,)``.
            progress: the finished share of training, in [0, 1].
        """
        pixels = self.normalize(images)
        warmth = min(progress / self.warmup, 1.0) if self.warmup else 1.0
        found = self.stage1(pixels)
        mask = self._training_mask(found.part_logits, warmth)
        logits = self._classify(self.stage2.embed(pixels), mask.flatten(1))
        losses = {
            "stage1": self.weights.stage1 * functional.cross_entropy(found.class_logits, labels),
            "stage2": self.weights.stage2 * functional.cross_entropy(logits, labels),
        }
        losses |= {name: warmth * loss for name, loss in self._losses_on_parts(images, found).items()}
        return TrainingLosses(logits, losses)

    def _losses_on_parts(self, images: Tensor, found: Parts) -> dict[str, Tensor]:
        weights = self.weights
        losses = {
            "orthogonality": weights.orthogonality * orthogonality_loss(found.features),
            "presence": weights.presence * presence_loss(found.maps),
            "background": weights.background * background_loss(found.maps),
            "total_variation": weights.total_variation * total_variation_loss(found.maps),
            "entropy": weights.entropy * entropy_loss(found.maps),
        }
        if weights.equivariance:
            losses["equivariance"] = weights.equivariance * self._equivariance(images, found)
        return losses

    def _training_mask(self, part_logits: Tensor, warmth: float) -> Tensor:
        if not self.training:
            return foreground_mask(part_logits).float()
        mask = sampled_mask(part_logits, self.stage1.temperature, self.mask_dropout)
        if warmth == 1:
            return mask
        whole = torch.rand(len(mask), 1, 1, device=mask.device) >= warmth
        return mask.masked_fill(whole, 1.0)

    def _equivariance(self, images: Tensor, found: Parts) -> Tensor:
        """Run stage 1 on transformed images and compare its maps with those of the images."""
        affine = random_affine(len(images), self.stage2.image_size)
        moved = self.stage1(self.normalize(warp(images, affine))).maps
        returned, visible = warp_back(moved, affine)
        return equivariance_loss(found.maps, returned, visible)

    def _classify(self, patches: Tensor, keep: Tensor) -> Tensor:
        return self.head(self.stage2.encode(patches, keep)[:, 0])


def build_ifam(
    num_classes: int,
    image_size: tuple[int, int],
    *,
    patch_size: int = 8,
    dim: int = 128,
    depth: int = 4,
    heads: int = 4,
    parts: int = 4,
    temperature: float = 1.0,
    part_dropout: float = 0.3,
    mask_dropout: float = 0.3,
    warmup: float = 0.4,
    weights: IfamWeights | Mapping[str, float] | None = None,
) -> Ifam:
    """Build an untrained :class:`Ifam` with transformers of the same size in both stages.

    Args:
        num_classes: number of classes.
        image_size: ``(H, W)``, a multiple of the patch size, with at least 4 patches each way.
        patch_size: side of a patch in pixels.
        dim: width of the tokens, a multiple of ``heads``.
        depth: number of blocks in each stage.
        heads: number of attention heads.
        parts: number K of foreground parts.
        temperature: temperature of the Gumbel-softmax, above 0.
        part_dropout: probability that a part drops out of stage 1's prediction.
        mask_dropout: probability that a part drops out of an image's mask, in training.
        warmup: share of training, in [0, 1), that emphasizes classes over parts (:meth:`Ifam.training_losses`).
        weights: weights of the losses; a mapping changes some of the defaults of :class:`IfamWeights`.

    Raises:
        TypeError: a weight is not a number.
        ValueError: sizes do not fit, a probability or the warm-up is not in [0, 1), or a weight is unknown or negative.
    """
    _check_grid(check_vit(image_size, patch_size, dim, depth, heads))
    _check_numbers(parts, temperature, part_dropout, mask_dropout, warmup)
    first, second = (MaskedViT(image_size, patch_size=patch_size, dim=dim, depth=depth, heads=heads) for _ in range(2))
    stage1 = PartStage(first, num_classes, parts=parts, temperature=temperature, part_dropout=part_dropout)
    return Ifam(stage1, second, num_classes, mask_dropout, warmup, ifam_weights(weights))


def _check_grid(grid: tuple[int, int]) -> None:
    if min(grid) < SMALLEST_GRID:
        raise ValueError(
            f"iFAM needs at least {SMALLEST_GRID}x{SMALLEST_GRID} patches, got {grid}; use a smaller patch_size"
        )


def _check_numbers(parts: int, temperature: float, part_dropout: float, mask_dropout: float, warmup: float) -> None:
    if parts < 1 or not temperature > 0:
        raise ValueError(f"parts and temperature must be positive, got {parts} and {temperature}")
    if not (0 <= part_dropout < 1 and 0 <= mask_dropout < 1):
        raise ValueError(f"part_dropout and mask_dropout must be in [0, 1), got {part_dropout} and {mask_dropout}")
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup must be a share of training in [0, 1), got {warmup}")
