"""Attribution maps of a policy's value or action, by any method, independent of the training of the policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast, get_args

import torch
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn

from camal_rl.agents.attentive_policy import AttentivePolicy
from camal_rl.agents.config import AttentionTarget
from camal_rl.agents.heads import (
    has_discrete_actions,
    has_gaussian_actions,
    heads,
    policy_probabilities,
    policy_values,
    preferred_actions,
)
from camal_rl.agents.map_settings import MapSettings, check_targets
from camal_rl.agents.observations import Images, image_batch
from camal_rl.attention import (
    CAM_METHODS,
    CamMethod,
    Rectification,
    check_cam_options,
    class_activation_map,
    normalize_cam,
    upsample_cam,
)
from camal_rl.feature_layout import LayerTrace, NotAFeatureMapError, find_layout, trace_layers
from camal_rl.layer_capture import FeatureLayout, captured, single
from camal_rl.saliency.attribution import CAPTUM_METHODS, CaptumMethod, Score, captum_map
from camal_rl.saliency.guided_backprop import guided_backprop_map
from camal_rl.saliency.perturbation_maps import perturbation_map, window_for
from camal_rl.training_modes import evaluating, recording_gradients

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

__all__ = [
    "EXPLAIN_METHODS",
    "ExplainMethod",
    "explain",
    "policy_probabilities",
    "policy_scores",
    "policy_values",
    "preferred_actions",
]


def policy_scores(policy: BasePolicy) -> dict[AttentionTarget, Score]:
    """Return the scores ``(images (n, C, H, W), actions) -> (n,)`` that maps of a policy explain, by target.

    ``value`` is V(s) and ignores the actions. ``policy`` is :func:`camal_rl.agents.policy_score.policy_score`: for
    discrete actions, log pi(a|s) of the given actions. A Q-network has only ``q``, Q(s, a) of the given actions.
    :func:`explain` uses the actions that the policy prefers on the unperturbed images, so that they stay fixed while
    images change. Images are on the scale of the observation space (0 .. 255), uint8 or floating point; gradients flow.
    """
    return {target: head.score for target, head in heads(policy).items()}


def explain(
    policy: BasePolicy,
    images: Images,
    method: ExplainMethod | None = None,
    target: AttentionTarget | None = None,
    layer: str = LAST_LAYER,
    rectify: Rectification | None = None,
    chunk_size: int = 64,
) -> Tensor:
    """Return maps ``(N, H, W)`` in [0, 1] of the pixels behind a policy's value, its preferred action or the Q-value.

    * gradcam, hirescam, layercam, gradcam++, normgrad: :func:`camal_rl.attention.class_activation_map` at ``layer``,
      enlarged to the image.
    * integrated_gradients, occlusion: :func:`camal_rl.saliency.attribution.captum_map` against the image's mean color.
    * guided_backprop: :func:`camal_rl.saliency.guided_backprop.guided_backprop_map`.
    * perturbation: :func:`camal_rl.saliency.perturbation_maps.perturbation_map` of
      ``KL(pi(x) || pi(x'))``, ``|V - V'|`` or ``|Q(a) - Q'(a)|``.

    The scores are those of :func:`policy_scores`. The window of occlusion and perturbation has an eighth of the image's
    smaller side and moves by half of its own. Each map is divided by its maximum. An all-zero map stays zero, and a map
    with NaN becomes NaN everywhere (:func:`camal_rl.attention.zero_maps` and ``nonfinite_maps`` detect them).

    Hooks are removed, and training modes and ``.grad`` do not change, even after an exception.

    Args:
        policy: a policy with attention maps, or any actor-critic or DQN policy of SB3 for images.
        images: ``(N, H, W, C)`` as environments give them, or channels first ``(N, C, H, W)``; uint8 or floats on
            the observation space's scale. One image or a list of images is accepted too.
        method: one of :data:`EXPLAIN_METHODS`; by default that of the training maps of a policy with attention maps,
            and ``gradcam`` for any other policy.
        target: ``value`` or ``policy`` (the default) of an actor-critic policy, ``q`` of a Q-network.
        layer: for class activation maps: dotted name of a module inside the features extractor, e.g. ``cnn.0``, or
            ``last``: the CAM layer of a policy with attention maps; for any other policy the last convolution, or the
            last of the modules that directly follow it with the same output shape (normalization, activation).
        rectify: for class activation maps, see :func:`camal_rl.attention.cam_from_gradient`; by default that of the
            training maps of a policy with attention maps, and for any other policy that of
            :class:`camal_rl.agents.CamalConfig`.
        chunk_size: largest number of images given to the policy at once; does not change the result.

    Returns:
        ``(N, H, W)`` in [0, 1], detached, on the policy's device.

    Raises:
        ImportError: Captum is not installed (integrated_gradients, occlusion).
        TypeError, ValueError: the method, target or layer is unknown, the images are invalid, or an option does not
            apply.
    """
    settings = policy.map_settings if isinstance(policy, AttentivePolicy) else MapSettings()
    method = method or settings.method
    known = tuple(heads(policy))
    target = known[-1] if target is None else target
    check_targets((target,), known)
    _check_options(policy, method, target, layer, rectify, chunk_size)
    rectify = rectify or settings.rectification()[target]
    maps = []
    with evaluating(policy), recording_gradients():
        batch = image_batch(images, policy.observation_space)
        for part in batch.split(chunk_size):
            part = part.to(policy.device)
            if method in CAM_METHODS:
                cam = _cam(policy, part, cast(CamMethod, method), target, layer, rectify)
                pixels = upsample_cam(cam.float(), (part.shape[2], part.shape[3]))
            else:
                pixels = _pixel_map(policy, part, method, target, chunk_size)
            maps.append(normalize_cam(pixels.detach()))
    return torch.cat(maps)


def _pixel_map(policy: BasePolicy, images: Tensor, method: str, target: AttentionTarget, chunk_size: int) -> Tensor:
    head = heads(policy)[target]
    window, stride = window_for(images)
    if method == "perturbation":
        # In floating point the mean color is not rounded, so uint8 images and floats have the same map.
        return perturbation_map(images.float(), head.output, head.change, window, stride, chunk_size=chunk_size)
    score, context = head.score, [preferred_actions(policy, images)]
    if method in CAPTUM_METHODS:
        return captum_map(
            cast(CaptumMethod, method), score, images, context, window=window, stride=stride, chunk_size=chunk_size
        )
    return guided_backprop_map(score, images, context, chunk_size)


def _cam(
    policy: BasePolicy,
    images: Tensor,
    method: CamMethod,
    target: AttentionTarget,
    layer: str,
    rectify: Rectification,
) -> Tensor:
    """Return the class activation maps ``(n, h, w)`` at a layer of the target's features extractor."""
    if isinstance(policy, AttentivePolicy) and layer == LAST_LAYER:
        return policy.attention(images, None, method, rectify, (target,))[target]
    actions = preferred_actions(policy, images)
    extractor, score = heads(policy)[target].extractor, heads(policy)[target].score
    with recording_gradients():
        layout = _layout(extractor, lambda real: score(real, actions[: len(real)]), images[:2].float(), layer)
        with captured(extractor.get_submodule(layout.layer), layout) as found:
            scores = score(images.float(), actions)
        return class_activation_map(single(found, layout.layer), scores, method, rectify=rectify)


def _layout(extractor: nn.Module, run: Callable[[Tensor], Tensor], images: Tensor, layer: str) -> FeatureLayout:
    """Return the name of a layer, or of the last one, and the layout of its output as a feature map, by a trial run."""
    if layer != LAST_LAYER and (not layer or layer not in dict(extractor.named_modules())):
        raise ValueError(f"no layer {layer!r} in {type(extractor).__name__}; its layers: {_layer_names(extractor)}")
    trace = trace_layers(extractor, images, run)
    try:
        return find_layout(trace, _last_grid(trace, extractor) if layer == LAST_LAYER else layer)
    except NotAFeatureMapError as error:
        raise ValueError(
            f"layer {layer!r} must give a feature map (B, C, h, w), got {error.got}; name a convolution of "
            f"{type(extractor).__name__}: {_layer_names(extractor)}"
        ) from error


def _last_grid(trace: LayerTrace, extractor: nn.Module) -> str:
    """Return the layer with the last output on the last convolution's grid, before anything changes its shape."""
    innermost = [each for each in trace.calls if not [*each.module.children()] and each.output is not None]
    convolutions = [index for index, each in enumerate(innermost) if isinstance(each.module, nn.Conv2d)]
    if not convolutions:
        raise NotAFeatureMapError(LAST_LAYER, f"no convolution in {type(extractor).__name__}")
    chosen = innermost[convolutions[-1]]
    shape = chosen.output.shape if chosen.output is not None else None
    for each in innermost[convolutions[-1] + 1 :]:
        if each.output is None or each.output.shape != shape:
            break
        if sum(other.name == each.name for other in trace.calls) == 1:
            chosen = each
    return chosen.name


def _layer_names(extractor: nn.Module) -> str:
    return ", ".join(name for name, _ in extractor.named_modules() if name) or "none"


def _check_options(
    policy: BasePolicy, method: str, target: str, layer: str, rectify: str | None, chunk_size: int
) -> None:
    if method not in EXPLAIN_METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(EXPLAIN_METHODS)}")
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")
    if method in CAM_METHODS:
        check_cam_options(method, rectify or "relu")
    elif layer != LAST_LAYER or rectify is not None:
        raise ValueError(f"{method} has no options layer and rectify; they are for {', '.join(CAM_METHODS)}")
    if (
        method == "perturbation"
        and target == "policy"
        and not (has_discrete_actions(policy) or has_gaussian_actions(policy))
    ):
        raise ValueError(
            f"perturbation maps of the policy need Discrete or continuous actions, got {policy.action_space}; "
            "use occlusion"
        )
