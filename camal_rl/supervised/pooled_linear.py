"""The gradient of a class's score at a layer followed by global average pooling and one linear layer.

For ``logits = W mean_i(A_i) + b`` (Zhou et al. 2016, arXiv 1512.04150)::

    d logit_k / d A_ci = W_kc / (h w)
    d log p_k / d A_ci = (onehot(k) - p) W_c / (h w)

which is the same at every position, so the map needs no backward pass, and training needs no second one.
"""

from __future__ import annotations

from torch import Tensor, nn

from camal_rl.closed_form import log_prob_score_gradient
from camal_rl.supervised.config import Score


def find_pooled_head(model: nn.Module, channels: int, classes: int) -> nn.Linear | None:
    """Return the last linear layer of ``channels`` inputs and ``classes`` outputs; ``None`` if there is none.

    This is a guess; a comparison with autograd decides whether the score depends on the features only through it and a
    mean.
    """
    heads = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear) and (module.in_features, module.out_features) == (channels, classes)
    ]
    return heads[-1] if heads else None


def pooled_score_gradient(
    weight: Tensor, logits: Tensor, classes: Tensor, score: Score, grid: tuple[int, int]
) -> Tensor:
    """Return ``d score / d A_i``, ``(B, C)``, the same for each position ``i``.

    Args:
        weight: ``(K, C)``, the weight of the linear layer; gradients flow through it.
        logits: ``(B, K)``; for the log-probability, gradients flow through them.
        classes: ``int64 (B,)``.
        score: ``logit`` or ``log_probability``.
        grid: ``(h, w)`` of the layer's output.
    """
    cells = grid[0] * grid[1]
    if score == "logit":
        return weight[classes] / cells
    return log_prob_score_gradient(weight, logits.to(weight.dtype).softmax(dim=1), classes) / cells
