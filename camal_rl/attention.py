"""Differentiable class activation maps: gradients flow to the features and the weights, so a loss can train them."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

CamMethod = Literal["gradcam", "hirescam", "layercam", "gradcam++", "normgrad"]
Rectification = Literal["relu", "absolute"]
CAM_METHODS: tuple[str, ...] = get_args(CamMethod)
RECTIFICATIONS: tuple[str, ...] = get_args(Rectification)

ZERO_PEAK = 1e-12
"""A map whose maximum is at most this counts as zero."""


def class_activation_map(
    features: Tensor,
    score: Tensor,
    method: CamMethod = "gradcam",
    create_graph: bool = False,
    rectify: Rectification = "relu",
) -> Tensor:
    """Return the class activation map of ``score`` at ``features``, by automatic differentiation.

    The gradient is that of ``score.sum()``, which equals the gradient of each sample's own score if no layer mixes
    samples (batch normalization in training mode does). ``.grad`` fields and training modes do not change. The graph is
    kept, so that several scores (value, policy) can share one forward pass.

    Args:
        features: output ``(B, C, h, w)`` of the CAM layer, part of the graph of ``score``.
        score: ``(B,)``, one number per sample, e.g. a value or the logarithm of an action's probability.
        method: one of :data:`CAM_METHODS`; :func:`cam_from_gradient` lists the formulas.
        create_graph: ``True`` gives a map through which a loss can be trained (gradients flow through the
            features and through the gradient of the score); ``False`` a detached one.
        rectify: ``"relu"`` or ``"absolute"``, see :func:`cam_from_gradient`.

    Returns:
        ``(B, h, w)``, non-negative, not normalized.

    Raises:
        TypeError: ``features`` or ``score`` is not floating point.
        ValueError: wrong shapes, unknown method, or a score that does not depend on the features.
    """
    _check_features(features)
    if not score.is_floating_point():
        raise TypeError(f"score must be floating point, got {score.dtype}")
    if score.shape != features.shape[:1]:
        raise ValueError(
            f"score must have one number per sample, shape ({features.shape[0]},), got {tuple(score.shape)}; "
            "select one output per sample first"
        )
    gradient = None
    if features.requires_grad and score.requires_grad:
        (gradient,) = torch.autograd.grad(
            score.sum(), features, create_graph=create_graph, retain_graph=True, allow_unused=True
        )
    if gradient is None:
        raise ValueError(
            "score does not depend on features in the autograd graph; compute the score from exactly this tensor, "
            "with gradients enabled and with features that require them (torch.compile and some settings of "
            "DistributedDataParallel detach the two outputs of one module: docs/own_loop.md)"
        )
    return cam_from_gradient(features if create_graph else features.detach(), gradient, method, rectify)


def cam_from_gradient(
    features: Tensor, gradient: Tensor, method: CamMethod = "gradcam", rectify: Rectification = "relu"
) -> Tensor:
    r"""Combine features ``A`` and the gradient ``G = d score / d A`` into a map.

    With ``i`` a position and ``c`` a channel, before the final rectification:

    * gradcam: ``sum_c mean_i(G_c) A_ci`` (Selvaraju et al. 2017, arXiv 1610.02391, eq. 1 and 2);
    * hirescam: ``sum_c G_ci A_ci`` (Draelos and Carin 2020, arXiv 2011.08891);
    * layercam: ``sum_c relu(G_ci) A_ci`` (Jiang et al. 2021, doi 10.1109/TIP.2021.3089943);
    * gradcam++: ``sum_c w_c A_ci`` with ``w_c = sum_i a_ci relu(G_ci)`` and
      ``a_ci = G_ci^2 / (2 G_ci^2 + (sum_j A_cj) G_ci^3)``, 0 where the denominator is 0 (Chattopadhay et al.
      2018, arXiv 1710.11063, eq. 10 and 19, with powers of the gradient for the higher derivatives);
    * normgrad: ``|G_:i| |A_:i|`` with Euclidean norms over the channels: the variant with a virtual 1x1
      convolution of NormGrad (Rebuffi et al. 2020, arXiv 2004.02866). The convolution is the identity. Position ``i``
      contributes the outer product ``G_:i A_:i^T`` to its weight's gradient, and the map is the Frobenius norm of that
      product.

    ``rectify="relu"`` keeps contributions that raise the score. ``rectify="absolute"`` takes the magnitude of the sum
    over channels; it is for scores whose sign does not matter for attention (values). LayerCAM and Grad-CAM++ also
    rectify single gradients; their absolute variant replaces ``G`` by ``|G|``. In every method the absolute map of
    ``-score`` equals that of ``score``. NormGrad has no sign to rectify: both variants are the same map. Its derivative
    at a norm of 0 is 0.

    Args:
        features: ``(B, C, h, w)``.
        gradient: ``(B, C, h, w)``.
        method: one of :data:`CAM_METHODS`.
        rectify: ``"relu"`` or ``"absolute"``.

    Returns:
        ``(B, h, w)``, non-negative; gradients flow through both arguments.
    """
    _check_features(features)
    if gradient.shape != features.shape:
        raise ValueError(f"gradient must have the features' shape {tuple(features.shape)}, got {gradient.shape}")
    check_cam_options(method, rectify)
    if method == "gradcam":
        weights = gradient.mean(dim=(2, 3))
        return rectified(weighted_channel_sums(features, weights.unsqueeze(1))[:, 0], rectify)
    if method == "hirescam":
        return rectified((gradient * features).sum(dim=1), rectify)
    if method == "normgrad":
        return torch.linalg.vector_norm(gradient, dim=1) * torch.linalg.vector_norm(features, dim=1)
    slope = gradient.abs() if rectify == "absolute" else gradient
    if method == "layercam":
        return rectified((slope.relu() * features).sum(dim=1), rectify)
    weights = _gradcam_plus_plus_weights(features, slope)
    return rectified(weighted_channel_sums(features, weights.unsqueeze(1))[:, 0], rectify)


def weighted_channel_sums(features: Tensor, weights: Tensor) -> Tensor:
    """Return the signed maps ``(B, K, h, w)`` of K sets of channel weights ``(B, K, C)`` on ``features (B, C, h, w)``.

    The product is taken in the features' precision and returned in that of the weights.
    """
    batch, _, height, width = features.shape
    signed = torch.bmm(weights.to(features.dtype), features.flatten(2))
    return signed.view(batch, -1, height, width).to(weights.dtype)


def normalize_cam(cam: Tensor, eps: float = ZERO_PEAK) -> Tensor:
    """Divide each map by its own maximum.

    Gradients flow through the map and its maximum (shared evenly among tied maxima). A map whose maximum is
    at most ``eps`` is returned as it is: an all-zero map stays zero, with finite gradients;
    :func:`zero_maps` reports it. Non-finite values are kept: a NaN makes its whole map NaN, an infinity makes its own
    cell NaN; :func:`nonfinite_maps` reports both.

    Args:
        cam: ``(B, h, w)``, or with further axes before these, non-negative.
        eps: largest maximum that counts as zero.

    Returns:
        The same shape, in [0, 1].
    """
    _check_map(cam)
    peak = cam.amax(dim=(-2, -1), keepdim=True)
    return cam / peak.masked_fill(peak <= eps, 1)


def zero_maps(cam: Tensor, eps: float = ZERO_PEAK) -> Tensor:
    """Return ``bool (..., B)``: which maps ``(..., B, h, w)`` are zero everywhere and thus undefined."""
    _check_map(cam)
    return cam.amax(dim=(-2, -1)) <= eps


def nonfinite_maps(cam: Tensor) -> Tensor:
    """Return ``bool (..., B)``: which maps ``(..., B, h, w)`` contain a NaN or an infinite value."""
    _check_map(cam)
    return ~cam.isfinite().all(dim=-1).all(dim=-1)


def upsample_cam(cam: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample maps ``(..., B, h, w)`` to ``size`` ``(H, W)``: bilinear, pixel centers aligned as in OpenCV."""
    _check_map(cam)
    image = cam.flatten(0, -3).unsqueeze(1)
    enlarged = functional.interpolate(image, size=size, mode="bilinear", align_corners=False)
    return enlarged.view(*cam.shape[:-2], *size)


def check_cam_options(method: str, rectify: str) -> None:
    """Raise a ValueError for an unknown method or rectification."""
    if method not in CAM_METHODS:
        raise ValueError(f"unknown CAM method {method!r}; choose one of {', '.join(CAM_METHODS)}")
    if rectify not in RECTIFICATIONS:
        raise ValueError(f"unknown rectification {rectify!r}; choose one of {', '.join(RECTIFICATIONS)}")


def _gradcam_plus_plus_weights(features: Tensor, slope: Tensor) -> Tensor:
    """Return the channel weights ``(B, C)`` of Grad-CAM++."""
    square = slope.square()
    denominator = 2 * square + features.sum(dim=(2, 3), keepdim=True) * slope * square
    defined = denominator != 0
    # The inner torch.where keeps the backward pass free of 0 * inf = NaN.
    share = torch.where(defined, square / torch.where(defined, denominator, 1.0), 0.0)
    return (share * slope.relu()).sum(dim=(2, 3))


def rectified(signed: Tensor, rectify: Rectification) -> Tensor:
    """Return the non-negative map of a signed one: its positive part (``relu``) or its magnitude (``absolute``)."""
    return signed.abs() if rectify == "absolute" else signed.relu()


def _check_features(features: Tensor) -> None:
    if features.dim() != 4:
        raise ValueError(f"features must be (B, C, h, w), got shape {tuple(features.shape)}")
    if not features.is_floating_point():
        raise TypeError(f"features must be floating point, got {features.dtype}")


def _check_map(cam: Tensor) -> None:
    if cam.dim() < 3 or 0 in cam.shape[-2:]:
        raise ValueError(f"maps must be (B, h, w) with at least one cell, got shape {tuple(cam.shape)}")
    if not cam.is_floating_point():
        raise TypeError(f"maps must be floating point, got {cam.dtype}")
