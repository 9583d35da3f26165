"""Class activation maps of any layer of any image classifier, for training or evaluation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from camal_rl.attention import cam_from_gradient, class_activation_map
from camal_rl.feature_layout import feature_map_layers, find_layout, trace_layers
from camal_rl.layer_capture import captured, shape_words, single
from camal_rl.spelling import did_you_mean
from camal_rl.supervised.config import CamalConfig, Score
from camal_rl.supervised.logits import logits_of
from camal_rl.supervised.pooled_linear import find_pooled_head, pooled_score_gradient
from camal_rl.training_modes import evaluating, recording_gradients

CLOSED_FORM_TOLERANCE = 1e-4
"""Largest difference between the closed form and autograd, relative to the largest gradient, that counts as rounding.

Under autocast the gradient comes in the features' lower precision; there sixteen of its rounding steps are allowed.
"""
_NO_EFFECT = (
    "the score does not depend on layer {layer!r}: its gradient there is {what}; choose a layer that the prediction is "
    "computed from (in a ViT with a class token not the last block: nothing reads its patch tokens)"
)


class CamClassifier:
    """A classifier and the layer from whose output its maps are computed.

    The layer's output is a feature map, ``(B, C, h, w)`` or ``(B, h, w, C)``, or tokens ``(B, P + h w, C)`` whose first
    P belong to no patch; a tuple whose first entry is one of these is accepted too. Hooks live only inside
    :meth:`capture`.

    Args:
        model: returns logits ``(B, K)``, or an object with ``logits``, for images ``(B, 3, H, W)`` in [0, 1].
        images: a few images ``(B, 3, H, W)``, to detect shapes; training modes, statistics and ``.grad`` do not change.
        layer: the layer's name as in ``model.named_modules()``; ``None`` takes ``model.cam_layer``.
        token_grid: ``(h, w)`` of the patch tokens; ``None`` takes ``model.token_grid``, or else the grid of the patch
            embedding (:func:`camal_rl.feature_layout.layout_of`).
        prefix_tokens: number of tokens before the patches; ``None`` takes ``model.prefix_tokens``, or else all
            remaining tokens.
        strict: refuse a gradient that is zero on all of the images. A model that is only evaluated may have such images
            (iFAM with an empty mask): their maps are zero, and metrics count them.
        camal: defines the default maps; ``None`` takes ``model.camal``, the settings with which
            :class:`camal_rl.supervised.trainer.Trainer` trained the model, or else the defaults.

    Raises:
        ValueError: the layer is unknown (the message lists the possible layers), its output is neither of these, the
            grid does not fit, or the score does not depend on the layer.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        layer: str | None = None,
        token_grid: tuple[int, int] | None = None,
        prefix_tokens: int | None = None,
        strict: bool = True,
        camal: CamalConfig | None = None,
    ) -> None:
        self.model = model
        self.camal = camal or getattr(model, "camal", None) or CamalConfig()
        self.layer = self._layer_name(layer, images)
        grid = token_grid if token_grid is not None else getattr(model, "token_grid", None)
        prefix = prefix_tokens if prefix_tokens is not None else getattr(model, "prefix_tokens", None)
        self._layout = find_layout(trace_layers(model, images), self.layer, grid, prefix)
        self._closed_form: bool | None = None
        self._head: nn.Linear | None = None
        self.grid = self._probe(images, strict)

    @property
    def closed_form(self) -> bool | None:
        """Whether maps in training use the closed form; ``None`` before the first batch."""
        return self._closed_form

    def restore_closed_form(self, decided: bool | None) -> None:
        """Restore :attr:`closed_form` from before an interruption of training."""
        self._closed_form = decided

    def of(self, network: nn.Module) -> CamClassifier:
        """Return the maps, of the same layer, of another network with the same modules, such as a copy."""
        other = copy.copy(self)
        other.model, other._closed_form, other._head = network, None, None
        return other

    @contextmanager
    def capture(self) -> Iterator[list[Tensor]]:
        """Collect the layer's output ``(B, C, h, w)`` in every forward pass inside; hooks are removed afterwards."""
        with captured(self.model.get_submodule(self.layer), self._layout) as found:
            yield found

    def forward(self, images: Tensor, model: Callable[[Tensor], Any] | None = None) -> tuple[Tensor, Tensor]:
        """Return logits ``(B, K)`` and features ``(B, C, h, w)``; pass the wrapped ``model`` if it is wrapped."""
        with self.capture() as found:
            logits = logits_of((model or self.model)(images))
        return logits, self.one(found)

    def one(self, found: list[Tensor]) -> Tensor:
        """Return the features of the only forward pass of a :meth:`capture`."""
        return single(found, self.layer)

    def training_map(self, features: Tensor, logits: Tensor, labels: Tensor, camal: CamalConfig) -> Tensor:
        """Return the maps ``(B, h, w)``, not normalized, through which a loss can be trained.

        If the network above the layer is a global average pooling and a linear layer, the gradient has the closed form
        of :mod:`camal_rl.supervised.pooled_linear`; this is decided on the first batch by comparison with autograd.
        """
        classes = map_classes(logits, labels, camal)
        if self._closed_form is None:
            self._closed_form = self._agrees(features, logits, classes, camal.score)
        if self._closed_form:
            assert self._head is not None
            slope = pooled_score_gradient(self._head.weight, logits, classes, camal.score, self.grid)
            gradient = slope[:, :, None, None].expand_as(features)
            return cam_from_gradient(features, gradient, camal.method, camal.rectification).float()
        score = class_score(logits, classes, camal.score)
        return class_activation_map(features, score, camal.method, True, camal.rectification).float()

    def maps(self, images: Tensor, labels: Tensor, camal: CamalConfig | None = None) -> tuple[Tensor, Tensor]:
        """Return detached maps ``(B, h, w)``, not normalized, and logits, in evaluation mode and full precision.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1], B at least 1.
            labels: ``int64 (B,)``, the true classes.
            camal: defines the maps; by default those of training.
        """
        _check_batch(images, labels)
        camal = camal or self.camal
        with evaluating(self.model), recording_gradients():
            logits, features = self.forward(images.clone() if images.is_inference() else images)
            score = class_score(logits, map_classes(logits, labels, camal), camal.score)
            cam = class_activation_map(features, score, camal.method, False, camal.rectification)
        return cam.detach().float(), logits.detach()

    def _layer_name(self, layer: str | None, images: Tensor) -> str:
        name = layer if layer is not None else getattr(self.model, "cam_layer", None)
        if name is not None and name and name in dict(self.model.named_modules()):
            return str(name)
        candidates = feature_map_layers(self.model, images)
        listed = ", ".join(f"{key} {shape_words(shape)}" for key, shape in candidates.items()) or "none"
        if name is None:
            raise ValueError(
                "give the name of the CAM layer, since the model has no cam_layer; layers whose output is a map: "
                f"{listed}"
            )
        hint = did_you_mean(name, candidates)
        raise ValueError(f"unknown CAM layer {name!r}; {hint}layers whose output is a map: {listed}")

    def _probe(self, images: Tensor, strict: bool) -> tuple[int, int]:
        """Return the grid ``(h, w)``, after a check that the score depends on the layer."""
        with evaluating(self.model), recording_gradients():
            logits, features = self.forward(images.clone() if images.is_inference() else images)
            gradient = None
            if logits.requires_grad:
                score = logits.gather(1, logits.argmax(dim=1, keepdim=True)).sum()
                (gradient,) = torch.autograd.grad(score, features, allow_unused=True)
        if gradient is None:
            raise ValueError(_NO_EFFECT.format(layer=self.layer, what="none at all"))
        if strict and not bool(gradient.count_nonzero()):
            raise ValueError(_NO_EFFECT.format(layer=self.layer, what="zero everywhere"))
        self._head = find_pooled_head(self.model, features.shape[1], logits.shape[1])
        return features.shape[2], features.shape[3]

    def _agrees(self, features: Tensor, logits: Tensor, classes: Tensor, score: Score) -> bool:
        """Return whether the closed form's gradient equals that of autograd on this training batch."""
        if self._head is None:
            return False
        slope = pooled_score_gradient(self._head.weight, logits, classes, score, self.grid).detach()
        total = class_score(logits, classes, score).sum()
        (gradient,) = torch.autograd.grad(total, features, retain_graph=True)
        steps = 16 * torch.finfo(gradient.dtype).eps
        allowed = max(CLOSED_FORM_TOLERANCE, steps) * float(gradient.abs().max())
        return float((gradient.float() - slope[:, :, None, None].float()).abs().max()) <= allowed


def remember_maps(model: nn.Module, camal: CamalConfig, layer: str | None) -> None:
    """Store in a model the definition of its training maps, the default for later maps."""
    attributes: Any = model
    attributes.camal = camal
    if layer is not None:
        attributes.cam_layer = layer


def _check_batch(images: Tensor, labels: Tensor) -> None:
    if images.dim() != 4 or len(images) == 0:
        raise ValueError(f"expected one or more images (B, 3, H, W), got a batch of shape {tuple(images.shape)}")
    if labels.shape != images.shape[:1] or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(
            f"expected whole numbers of shape ({len(images)},) as labels, one for each image, got {labels.dtype} of "
            f"shape {tuple(labels.shape)}"
        )


def map_classes(logits: Tensor, labels: Tensor, camal: CamalConfig) -> Tensor:
    """Return the classes ``(B,)`` of the maps: the labels, or the predicted classes."""
    return labels if camal.target == "true" else logits.detach().argmax(dim=1)


def class_score(logits: Tensor, classes: Tensor, score: Score) -> Tensor:
    """Return the score ``(B,)`` of the classes ``(B,)``: their logits, or the log of their softmax."""
    values = logits if score == "logit" else logits.log_softmax(dim=1)
    return values.gather(1, classes.unsqueeze(1)).squeeze(1)
