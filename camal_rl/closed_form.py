"""Class activation maps in closed form, without a second backward pass, for simple layers above the CAM layer.

If the network after the CAM layer is ``Flatten -> Linear -> ReLU -> Linear`` (NatureCNN and IMPALA under
the default heads of Stable-Baselines3), the gradient of a score is a product of weights and the ReLU's activation
pattern::

    hidden = relu(W · features + b)
    d score / d features = (1[W · features + b > 0] * d score / d hidden) · W

Values and gradients with respect to features, weights and score gradient equal those of automatic
differentiation (:func:`camal_rl.attention.class_activation_map` with ``create_graph=True``), which is twice
as costly in training.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from camal_rl.attention import (
    CamMethod,
    Rectification,
    cam_from_gradient,
    check_cam_options,
    rectified,
    weighted_channel_sums,
)


def closed_form_cam(
    features: Tensor,
    hidden_weight: Tensor,
    active: Tensor,
    score_gradient: Tensor,
    method: CamMethod = "gradcam",
    rectify: Rectification = "relu",
) -> Tensor:
    """Return the class activation map of a score that reads the features through one hidden ReLU layer.

    Grad-CAM's channel weights are ``alpha = (active * score_gradient) @ mean_positions(W)``: no gradient of the
    features' size is ever computed. The other methods need that gradient and compute it with one matrix product.

    Args:
        features: ``(B, C, h, w)``, the CAM layer's output that is flattened into the hidden layer.
        hidden_weight: ``(U, C, h, w)``, the linear layer's weight ``(U, C*h*w)`` viewed on the features'
            axes.
        active: ``bool (B, U)``, which hidden units are above 0.
        score_gradient: ``d score / d hidden``, ``(B, U)``, or ``(U,)`` if it is the same for all samples.
        method: one of :data:`camal_rl.attention.CAM_METHODS`.
        rectify: ``"relu"`` or ``"absolute"``, see :func:`camal_rl.attention.cam_from_gradient`.

    Returns:
        ``(B, h, w)``, non-negative, not normalized; gradients flow to features, weight and score gradient.

    Raises:
        TypeError: ``active`` is not boolean.
        ValueError: the shapes do not match, or the method is unknown.
    """
    return closed_form_cams(features, hidden_weight, active, [score_gradient], method, [rectify])[0]


def closed_form_cams(
    features: Tensor,
    hidden_weight: Tensor,
    active: Tensor,
    score_gradients: Sequence[Tensor],
    method: CamMethod,
    rectify: Sequence[Rectification],
) -> list[Tensor]:
    """Return the maps of several scores that read the same features through the same hidden layer.

    The maps equal those of :func:`closed_form_cam` for each score. For Grad-CAM, the features, by far the largest
    operand, are read once instead of once per score, and the products are computed in the features' precision.
    """
    for score_gradient, rectification in zip(score_gradients, rectify, strict=True):
        _check_shapes(features, hidden_weight, active, score_gradient)
        check_cam_options(method, rectification)
    if method == "gradcam":
        # Like mean(), whose gradient would be expanded to every position before it is added.
        means = (hidden_weight.sum(dim=(2, 3)) / hidden_weight[0, 0].numel()).to(features.dtype)
        gate = active.to(features.dtype)
        alphas = [_channel_weights(gate, gradient.to(features.dtype), means) for gradient in score_gradients]
        signed = weighted_channel_sums(features, torch.stack(alphas, dim=1)).to(hidden_weight.dtype).unbind(1)
        return [rectified(each, rectification) for each, rectification in zip(signed, rectify, strict=True)]
    gradients = [hidden_gradient(hidden_weight, active, score_gradient) for score_gradient in score_gradients]
    return [
        cam_from_gradient(features, gradient, method, rectification).to(hidden_weight.dtype)
        for gradient, rectification in zip(gradients, rectify, strict=True)
    ]


def hidden_gradient(hidden_weight: Tensor, active: Tensor, score_gradient: Tensor) -> Tensor:
    """Return ``d score / d features (B, C, h, w)``; the arguments are those of :func:`closed_form_cam`."""
    return ((active * score_gradient) @ hidden_weight.flatten(1)).view(-1, *hidden_weight.shape[1:])


def _channel_weights(gate: Tensor, score_gradient: Tensor, means: Tensor) -> Tensor:
    """Return Grad-CAM's channel weights ``(B, C)``, ``(gate * score_gradient) @ means``."""
    if score_gradient.dim() == 1:
        # A gradient shared by all samples is multiplied into the smaller factor.
        return gate @ (score_gradient[:, None] * means)
    return (gate * score_gradient) @ means


def value_score_gradient(value_weight: Tensor) -> Tensor:
    """Return ``d V / d hidden (U,)`` from the weight ``(1, U)`` of a linear value head."""
    if value_weight.dim() != 2 or value_weight.shape[0] != 1:
        raise ValueError(f"a value head's weight must be (1, U), got shape {tuple(value_weight.shape)}")
    return value_weight[0]


def q_score_gradient(q_weight: Tensor, actions: Tensor) -> Tensor:
    """Return ``d Q(s, a) / d hidden = W_a``, ``(B, U)``, from the weight ``W (A, U)`` of a linear head of Q-values.

    Args:
        q_weight: ``W (A, U)``; gradients flow through it.
        actions: ``a (B,)``, integers in ``0 .. A-1``.
    """
    if q_weight.dim() != 2 or actions.dim() != 1:
        raise ValueError(
            f"q_weight must be (A, U) and actions (B,), got {tuple(q_weight.shape)} and {tuple(actions.shape)}"
        )
    _check_whole(actions)
    return q_weight.index_select(0, actions)


def log_prob_score_gradient(policy_weight: Tensor, probabilities: Tensor, actions: Tensor) -> Tensor:
    """Return ``d log pi(a) / d hidden = (onehot(a) - pi) @ W``, ``(B, U)``, of a linear policy head.

    Args:
        policy_weight: ``W (A, U)``; gradients flow through it.
        probabilities: ``pi (B, A)``; gradients flow through them.
        actions: ``(B,)``, integers in ``0 .. A-1``.
    """
    if policy_weight.dim() != 2 or probabilities.dim() != 2 or policy_weight.shape[0] != probabilities.shape[1]:
        raise ValueError(
            "policy_weight must be (A, U) and probabilities (B, A) with the same number of actions, got "
            f"{tuple(policy_weight.shape)} and {tuple(probabilities.shape)}"
        )
    _check_whole(actions)
    if actions.shape != probabilities.shape[:1]:
        raise ValueError(f"actions must be ({probabilities.shape[0]},), got shape {tuple(actions.shape)}")
    # Like one_hot(), which would synchronize with the GPU to find the largest action.
    chosen = torch.arange(probabilities.shape[1], device=actions.device) == actions[:, None]
    return (chosen.to(probabilities.dtype) - probabilities) @ policy_weight


def _check_whole(actions: Tensor) -> None:
    if actions.is_floating_point() or actions.dtype == torch.bool:
        raise TypeError(f"actions must be integers, got {actions.dtype}; convert them with .long()")


def _check_shapes(features: Tensor, hidden_weight: Tensor, active: Tensor, score_gradient: Tensor) -> None:
    if features.dim() != 4:
        raise ValueError(f"features must be (B, C, h, w), got shape {tuple(features.shape)}")
    if hidden_weight.dim() != 4 or hidden_weight.shape[1:] != features.shape[1:]:
        raise ValueError(
            f"hidden_weight must be (U, {', '.join(map(str, features.shape[1:]))}), got shape "
            f"{tuple(hidden_weight.shape)}; view the linear layer's weight on the features' axes"
        )
    units = (features.shape[0], hidden_weight.shape[0])
    if active.dtype != torch.bool:
        raise TypeError(f"active must be boolean (pre-activation > 0), got {active.dtype}")
    if active.shape != units:
        raise ValueError(f"active must be (B, U) = {units}, got shape {tuple(active.shape)}")
    if score_gradient.shape not in (units, units[1:]):
        raise ValueError(
            f"score_gradient must be (B, U) = {units} or (U,) = {units[1:]}, got shape {tuple(score_gradient.shape)}"
        )
