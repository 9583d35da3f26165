"""What a classifier gives."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from camal_rl.layer_capture import shape_words


def logits_of(output: Any) -> Tensor:
    """Return the logits ``(B, K)`` of a model's output: a tensor, or an object that holds them as ``logits``."""
    logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        came = f"shape {shape_words(logits.shape)}" if isinstance(logits, Tensor) else type(output).__name__
        raise ValueError(f"a classifier must give logits (B, K), as a tensor or as output.logits, got {came}")
    return logits
