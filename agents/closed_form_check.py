"""Checks whether the closed form of a map applies to a user's policy, whose heads are arbitrary."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from camal_rl.agents.action_evaluation import AttentionEvaluation
from camal_rl.agents.cam_encoder import CamEncoder
from camal_rl.agents.config import AttentionTarget
from camal_rl.closed_form import hidden_gradient

CLOSED_FORM_TOLERANCE = 1e-4
"""Largest difference between the closed form and autograd, relative to the largest gradient, that counts as
rounding."""


def closed_form_agrees(
    evaluation: AttentionEvaluation, target: AttentionTarget, encoder: CamEncoder, score_gradient: Tensor
) -> bool:
    """Return whether the closed form's gradient at the CAM layer equals that of autograd.

    Args:
        evaluation: evaluation of some images, with a graph.
        target: the target of the score.
        encoder: the encoder of the target.
        score_gradient: ``d score / d hidden`` of the closed form, ``(U,)`` or ``(B, U)``.
    """
    features, some = evaluation.cam_features(target), evaluation.attention_frames
    score = evaluation.score(target)
    if not (features.requires_grad and score.requires_grad):
        return False
    (gradient,) = torch.autograd.grad(score.sum(), features, retain_graph=True, allow_unused=True)
    if gradient is None:
        return False
    active = cast(Tensor, evaluation.encoded[target].hidden)[some] > 0
    closed = hidden_gradient(encoder.hidden_weight(features).detach(), active, score_gradient.detach())
    allowed = max(CLOSED_FORM_TOLERANCE, 16 * torch.finfo(gradient.dtype).eps) * float(gradient.abs().max())
    return float((gradient[some].float() - closed.float()).abs().max()) <= allowed
