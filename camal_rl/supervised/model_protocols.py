"""Optional interfaces of a model for the trainer, which otherwise only needs logits."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class TrainingLosses(NamedTuple):
    """The result of a model with its own losses for one batch.

    Attributes:
        logits: ``(B, K)``, the prediction.
        losses: weighted scalars by name; they replace the trainer's cross-entropy and must include one.
    """

    logits: Tensor
    losses: dict[str, Tensor]


@runtime_checkable
class HasCustomLosses(Protocol):
    """A model with its own losses (iFAM), trained from image labels only."""

    def training_losses(self, images: Tensor, labels: Tensor, progress: float) -> TrainingLosses:
        """Return the prediction and the losses for ``images (B, 3, H, W)`` in [0, 1] and ``labels (B,)``.

        ``progress`` in [0, 1) is the finished share of training.
        """


@runtime_checkable
class HasBuiltInAttention(Protocol):
    """A model with built-in attention (iFAM: the mask of its first stage)."""

    def built_in_attention(self, images: Tensor) -> Tensor:
        """Return maps ``(B, h, w)`` in [0, 1] for ``images (B, 3, H, W)`` in [0, 1], without gradient."""
