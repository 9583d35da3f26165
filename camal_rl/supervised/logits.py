"""The logits in a classifier's output."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from camal_rl.layer_capture import shape_words


def logits_of(output: Any) -> Tensor:
    """Return the logits ``(B, K)`` of a model's output: a tensor, or an object with ``logits``.

    Raises:
        TypeError: it contains no logits.
    """
    logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        shape = f" of shape {shape_words(logits.shape)}" if isinstance(logits, Tensor) else ""
        raise TypeError(
            f"a classifier must return logits (B, K), or an object with .logits; got {type(output).__name__}{shape}"
        )
    return logits
