"""What the trainer asks of a model: nothing but logits, and what a model may offer beside them."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class TrainingLosses(NamedTuple):
    """What a model with losses of its own gives for one batch.

    Attributes:
        logits: ``(B, K)``, the prediction.
        losses: scalars by name, weighted already; they replace the cross-entropy, which is one of them.
    """

    logits: Tensor
    losses: dict[str, Tensor]


@runtime_checkable
class HasCustomLosses(Protocol):
    """A model that is trained with losses of its own (iFAM), from image labels only."""

    def training_losses(self, images: Tensor, labels: Tensor, progress: float) -> TrainingLosses:
        """Return the prediction and the losses for ``images (B, 3, H, W)`` in [0, 1] and ``labels (B,)``.

        ``progress`` in [0, 1) is the share of training that is done.
        """


@runtime_checkable
class HasBuiltInAttention(Protocol):
    """A model that says itself where it looks (iFAM: the mask of its first stage)."""

    def built_in_attention(self, images: Tensor) -> Tensor:
        """Return maps ``(B, h, w)`` in [0, 1] for ``images (B, 3, H, W)`` in [0, 1], without gradient."""
