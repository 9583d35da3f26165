"""A vision transformer whose attention can leave out patches, with a gradient for the choice."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from camal_rl.supervised.ifam.patches import PatchEmbedding

EXPONENT_LIMIT = 10.0
"""Largest excess of a left-out key's score over the largest kept one; bounds the gradient of the choice."""


def masked_softmax(scores: Tensor, keep: Tensor) -> Tensor:
    r"""Softmax over the keys that are kept: ``a_j = m_j exp(s_j) / sum_k m_k exp(s_k)``.

    If ``m`` is zeros and ones, this is the softmax over the kept keys, and the others get exactly 0. It is also
    differentiable in ``m``: ``d a / d m_j`` at ``m_j = 0`` is the effect of including key ``j``, from which a
    straight-through mask learns. (The logarithm of a mask as a bias has an infinite derivative there, and a boolean
    mask has none.)

    Args:
        scores: ``(..., N)``.
        keep: ``m``, in {0, 1}, broadcast against ``scores``; every row keeps at least one key.

    Returns:
        ``(..., N)`` in [0, 1], rows sum to 1, at least float32.
    """
    scores = scores if scores.dtype == torch.float64 else scores.float()
    peak = scores.detach().masked_fill(keep <= 0, float("-inf")).amax(dim=-1, keepdim=True)
    weighted = (scores - peak).clamp(max=EXPONENT_LIMIT).exp() * keep
    return weighted / weighted.sum(dim=-1, keepdim=True)


def check_vit(image_size: tuple[int, int], patch_size: int, dim: int, depth: int, heads: int) -> tuple[int, int]:
    """Check the sizes of a vision transformer and return its grid of patches ``(h, w)``.

    Raises:
        ValueError: a size is not positive, or not a multiple of another one as required.
    """
    if min(patch_size, dim, depth, heads) < 1:
        raise ValueError(
            f"patch_size, dim, depth and heads must be positive, got {patch_size}, {dim}, {depth} and {heads}"
        )
    if image_size[0] % patch_size or image_size[1] % patch_size:
        raise ValueError(
            f"patch_size must divide the image, got {patch_size} for images of {image_size[0]}x{image_size[1]}"
        )
    if dim % heads:
        raise ValueError(f"dim must be a multiple of heads, got {dim} and {heads}")
    return image_size[0] // patch_size, image_size[1] // patch_size


class MaskedAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, arXiv 1706.03762) over the keys that are kept."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, keep: Tensor | None) -> Tensor:
        """Return ``(B, N, C)`` of ``tokens (B, N, C)``; ``keep (B, N)`` in {0, 1}, None keeps all."""
        batch, count, dim = tokens.shape
        qkv = self.qkv(tokens).view(batch, count, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(2, 3) * (dim // self.heads) ** -0.5
        weights = scores.softmax(dim=-1) if keep is None else masked_softmax(scores, keep[:, None, None, :])
        mixed = weights.to(value.dtype) @ value
        return self.out(mixed.transpose(1, 2).reshape(batch, count, dim))


class MaskedBlock(nn.Module):
    """A transformer block with normalization first (Dosovitskiy et al. 2021, arXiv 2010.11929)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = MaskedAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, tokens: Tensor, keep: Tensor | None) -> Tensor:
        """Return ``(B, N, C)`` of ``tokens (B, N, C)``; ``keep`` as in :class:`MaskedAttention`."""
        tokens = tokens + self.attention(self.norm1(tokens), keep)
        return tokens + self.mlp(self.norm2(tokens))


class MaskedViT(nn.Module):
    """A vision transformer: patch embedding, class token, positions and blocks.

    Attributes:
        grid: ``(h, w)`` patches.
    """

    def __init__(self, image_size: tuple[int, int], *, patch_size: int, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.grid = check_vit(image_size, patch_size, dim, depth, heads)
        self.image_size = image_size
        self.patches = PatchEmbedding(patch_size, dim)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(torch.zeros(1, self.grid[0] * self.grid[1] + 1, dim))
        self.blocks = nn.ModuleList(MaskedBlock(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        for parameter in (self.class_token, self.positions):
            nn.init.trunc_normal_(parameter, std=0.02)

    def embed(self, images: Tensor) -> Tensor:
        """Return the patches' tokens ``(B, h w, C)`` of normalized images ``(B, 3, H, W)``, without positions."""
        if tuple(images.shape[2:]) != self.image_size:
            raise ValueError(f"images must be of size {self.image_size}, got {tuple(images.shape[2:])}; resize them")
        tokens: Tensor = self.patches(images)
        return tokens

    def encode(self, patches: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return normalized tokens ``(B, 1 + h w, C)``, the class token first.

        Args:
            patches: ``(B, h w, C)`` of :meth:`embed`.
            keep: ``(B, h w)`` in {0, 1}, the patches that others may attend to; None keeps all. The class token
                is always kept.
        """
        tokens = torch.cat([self.class_token.expand(len(patches), -1, -1).to(patches.dtype), patches], dim=1)
        tokens = tokens + self.positions
        with_class = None if keep is None else functional.pad(keep, (1, 0), value=1.0)
        for block in self.blocks:
            tokens = block(tokens, with_class)
        return self.norm(tokens)
