"""Maps of what drives a policy's value or action, by methods that need not be those it was trained with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from camal_rl.agents.config import ATTENTION_TARGETS, AttentionTarget
from camal_rl.agents.policy import CamPolicy
from camal_rl.attention import (
    CAM_METHODS,
    CamMethod,
    Rectification,
    check_cam_options,
    class_activation_map,
    normalize_cam,
    upsample_cam,
)
from camal_rl.attribution import CAPTUM_METHODS, CaptumMethod, Score, captum_map
from camal_rl.guided_backprop import guided_backprop_map
from camal_rl.metrics import policy_divergence
from camal_rl.module_modes import evaluating
from camal_rl.perturbation_maps import perturbation_map

ExplainMethod = Literal[
    "gradcam",
    "hirescam",
    "layercam",
    "gradcam++",
    "normgrad",
    "integrated_gradients",
    "occlusion",
    "guided_backprop",
    "perturbation",
]
EXPLAIN_METHODS: tuple[ExplainMethod, ...] = get_args(ExplainMethod)

LAST_LAYER = "last"


def policy_scores(policy: ActorCriticPolicy) -> dict[AttentionTarget, Score]:
    """Return the two scores ``(images (n, C, H, W), actions) -> (n,)`` that maps of a policy explain.

    ``value`` is V(s) and ignores the actions; ``policy`` is log pi(a|s) of the given actions: those that the policy
    prefers on the unperturbed images (:func:`preferred_actions`), so that they stay fixed while images change.
    Images are on the scale of the observation space (0 .. 255), uint8 or floating point; gradients flow.
    """

    def value(images: Tensor, actions: Tensor | None = None) -> Tensor:
        return policy_values(policy, images).flatten()

    def log_probability(images: Tensor, actions: Tensor) -> Tensor:
        return policy.get_distribution(images).log_prob(actions)

    return {"value": value, "policy": log_probability}


def preferred_actions(policy: ActorCriticPolicy, images: Tensor) -> Tensor:
    """Return the most probable actions of images ``(n, C, H, W)``, as the policy's distribution knows them."""
    with torch.no_grad():
        return policy.get_distribution(images).get_actions(deterministic=True)


def explain(
    policy: ActorCriticPolicy,
    images: Tensor | np.ndarray[Any, Any],
    method: ExplainMethod,
    target: AttentionTarget = "policy",
    layer: str = LAST_LAYER,
    rectify: Rectification = "relu",
    chunk_size: int = 64,
) -> Tensor:
    """Return maps ``(N, H, W)`` in [0, 1] of what drives a policy's value or its preferred action.

    * gradcam, hirescam, layercam, gradcam++, normgrad: :func:`camal_rl.attention.class_activation_map` at ``layer``,
      enlarged to the image.
    * integrated_gradients, occlusion: :func:`camal_rl.attribution.captum_map` against the image's mean colour.
    * guided_backprop: :func:`camal_rl.guided_backprop.guided_backprop_map`.
    * perturbation: :func:`camal_rl.perturbation_maps.perturbation_map` of ``KL(pi(x) || pi(x'))`` or ``|V - V'|``.

    The scores are those of :func:`policy_scores`. Windows (occlusion, perturbation) have an eighth of the image's
    smaller side and move by half of theirs. Each map is divided by its maximum; an all-zero map stays zero, a NaN
    makes its map NaN (:func:`camal_rl.attention.zero_maps` and ``nonfinite_maps`` report them).

    Nothing is left behind, also after an exception: no hook, no gradient, no changed training mode.

    Args:
        policy: a :class:`camal_rl.agents.CamPolicy` or any actor-critic policy of SB3 on images.
        images: ``(N, H, W, C)`` as environments give them, or channels first ``(N, C, H, W)``; uint8 or floats on
            the observation space's scale.
        method: one of :data:`EXPLAIN_METHODS`.
        target: ``value`` or ``policy``.
        layer: for class activation maps: dotted name of a module inside the features extractor, e.g. ``cnn.0``, or
            ``last``: a CamPolicy's own CAM layer; elsewhere the output of the last convolution that runs, after the
            modules that follow it on the same grid (normalisation, activation).
        rectify: for class activation maps, see :func:`camal_rl.attention.cam_from_gradient`.
        chunk_size: largest number of images given to the policy at once; does not change the result.

    Returns:
        ``(N, H, W)`` in [0, 1], detached, on the policy's device.

    Raises:
        ImportError: Captum is not installed (integrated_gradients, occlusion).
        ValueError: unknown method, target, layer or image shape, or an option that does not apply.
    """
    batch = _channels_first(policy, images)
    _check_options(policy, batch, method, target, layer, rectify, chunk_size)
    maps = []
    with evaluating(policy):
        for part in batch.split(chunk_size):
            part = part.to(policy.device)
            if method in CAM_METHODS:
                cam = _cam(policy, part, cast(CamMethod, method), target, layer, rectify)
                pixels = upsample_cam(cam.float(), (part.shape[2], part.shape[3]))
            else:
                pixels = _pixel_map(policy, part, method, target, chunk_size)
            maps.append(normalize_cam(pixels))
    return torch.cat(maps)


def _pixel_map(
    policy: ActorCriticPolicy, images: Tensor, method: str, target: AttentionTarget, chunk_size: int
) -> Tensor:
    window = max(1, min(images.shape[2:]) // 8)
    stride = max(1, window // 2)
    if method == "perturbation":
        output, change = (
            (policy_values, _value_shift) if target == "value" else (policy_probabilities, policy_divergence)
        )
        # In floating point the mean colour is not rounded: the same map for uint8 images and for floats.
        return perturbation_map(
            images.float(), lambda batch: output(policy, batch), change, window, stride, chunk_size=chunk_size
        )
    score, context = policy_scores(policy)[target], [preferred_actions(policy, images)]
    if method in CAPTUM_METHODS:
        return captum_map(
            cast(CaptumMethod, method), score, images, context, window=window, stride=stride, chunk_size=chunk_size
        )
    return guided_backprop_map(score, images, context, chunk_size)


def _cam(
    policy: ActorCriticPolicy,
    images: Tensor,
    method: CamMethod,
    target: AttentionTarget,
    layer: str,
    rectify: Rectification,
) -> Tensor:
    """Return the class activation maps ``(n, h, w)`` at a layer of the target's features extractor."""
    if isinstance(policy, CamPolicy) and layer == LAST_LAYER:
        return policy.attention(images, method=method, rectification=dict.fromkeys(ATTENTION_TARGETS, rectify))[target]
    actions = preferred_actions(policy, images)
    extractor = policy.vf_features_extractor if target == "value" else policy.pi_features_extractor
    # Images that require gradients put the layer into the graph even if its parameters are frozen.
    real = images.float().requires_grad_()
    with torch.enable_grad(), _outputs_inside(extractor, layer) as outputs:
        score = policy_scores(policy)[target](real, actions)
    features = _last_grid(outputs) if layer == LAST_LAYER else outputs[-1][1] if outputs else None
    if features is None or features.dim() != 4:
        got = "no output" if features is None else f"an output of shape {tuple(features.shape)}"
        raise ValueError(
            f"layer {layer!r} must give a feature map (B, C, h, w), got {got}; name a convolution of "
            f"{type(extractor).__name__}: {_layer_names(extractor)}"
        )
    with torch.enable_grad():
        return class_activation_map(features, score, method, rectify=rectify)


def _last_grid(outputs: list[tuple[nn.Module, Tensor]]) -> Tensor | None:
    """Return the last output on the grid of the last convolution, before anything changes its shape."""
    convolutions = [index for index, (module, _) in enumerate(outputs) if isinstance(module, nn.Conv2d)]
    if not convolutions:
        return None
    features = outputs[convolutions[-1]][1]
    for _, output in outputs[convolutions[-1] + 1 :]:
        if output.shape != features.shape:
            break
        features = output
    return features


@contextmanager
def _outputs_inside(extractor: nn.Module, layer: str) -> Iterator[list[tuple[nn.Module, Tensor]]]:
    """Collect the outputs of a layer, or of all innermost layers, in the order they run; hooks go with the block."""
    modules = dict(extractor.named_modules())
    chosen = [module for module in modules.values() if not [*module.children()]]
    if layer != LAST_LAYER:
        if layer not in modules or not layer:
            raise ValueError(f"no layer {layer!r} in {type(extractor).__name__}; its layers: {_layer_names(extractor)}")
        chosen = [modules[layer]]
    outputs: list[tuple[nn.Module, Tensor]] = []

    def keep(module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            outputs.append((module, output))

    handles = [module.register_forward_hook(keep) for module in chosen]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def policy_values(policy: ActorCriticPolicy, images: Tensor) -> Tensor:
    """Return ``V(s)`` of images ``(n, C, H, W)`` on the policy's device, ``(n, 1)``."""
    return policy.predict_values(images)


def policy_probabilities(policy: ActorCriticPolicy, images: Tensor) -> Tensor:
    """Return the action probabilities of images ``(n, C, H, W)`` on the policy's device, ``(n, A)``."""
    return cast(CategoricalDistribution, policy.get_distribution(images)).distribution.probs


def _value_shift(reference: Tensor, perturbed: Tensor) -> Tensor:
    """Return ``|V - V'|``, ``(F, N)``; without the spread over frames of ``value_change``, one image is enough."""
    return (reference - perturbed).abs().squeeze(2)


def _layer_names(extractor: nn.Module) -> str:
    return ", ".join(name for name, _ in extractor.named_modules() if name) or "none"


def _channels_first(policy: ActorCriticPolicy, images: Tensor | np.ndarray[Any, Any]) -> Tensor:
    batch = torch.as_tensor(np.ascontiguousarray(images)) if isinstance(images, np.ndarray) else images
    shape = tuple(policy.observation_space.shape or ())
    if len(shape) == 3 and batch.dim() == 4 and tuple(batch.shape[1:]) == (*shape[1:], shape[0]) != shape:
        batch = batch.permute(0, 3, 1, 2)
    if len(shape) != 3 or tuple(batch.shape[1:]) != shape or len(batch) == 0:
        raise ValueError(f"expected one or more images of shape {shape}, got a batch of shape {tuple(images.shape)}")
    return batch


def _check_options(
    policy: ActorCriticPolicy, batch: Tensor, method: str, target: str, layer: str, rectify: str, chunk_size: int
) -> None:
    if method not in EXPLAIN_METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(EXPLAIN_METHODS)}")
    if target not in ATTENTION_TARGETS:
        raise ValueError(f"unknown target {target!r}; choose one of {', '.join(ATTENTION_TARGETS)}")
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")
    if method in CAM_METHODS:
        check_cam_options(method, rectify)
    elif layer != LAST_LAYER or rectify != "relu":
        raise ValueError(f"{method} knows neither layer nor rectify; they are for {', '.join(CAM_METHODS)}")
    discrete = isinstance(policy.action_dist, CategoricalDistribution)
    if method == "perturbation" and target == "policy" and not discrete:
        raise ValueError(
            f"perturbation maps of the policy need discrete actions, got {policy.action_space}; use occlusion"
        )
