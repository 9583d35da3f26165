"""The actor-critic policy whose encoder gives value and policy attention maps."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from camal_rl.agents.config import ATTENTION_TARGETS, AttentionTarget, CamalConfig
from camal_rl.agents.encoders import CamEncoder, Precision, encoder_class, encoder_kwargs
from camal_rl.attention import CamMethod, Rectification, class_activation_map, normalize_cam
from camal_rl.closed_form import closed_form_cams, log_prob_score_gradient, value_score_gradient
from camal_rl.module_modes import evaluating
from camal_rl.shared_features import SharedFeatures

DEFAULT_RECTIFICATION: Mapping[AttentionTarget, Rectification] = CamalConfig().rectification


@dataclass(frozen=True)
class EncodedImages:
    """One pass through one encoder.

    Attributes:
        cam_features: the CAM layer's output ``(B, C, h, w)``.
        hidden: pre-activation of the first linear layer ``(B, U)``; ``None`` for an encoder that is not a CamEncoder.
        features: what the heads see, ``(B, features_dim)``.
        shared: the same CAM features, shared with the maps of some images; with a CamEncoder only.
    """

    cam_features: Tensor
    hidden: Tensor | None
    features: Tensor
    shared: SharedFeatures | None = None


@dataclass(frozen=True)
class ActionEvaluation:
    """What PPO needs of a minibatch, and what attention needs besides.

    ``value``, ``log_prob`` are ``(B,)``; ``entropy`` is ``(B,)`` or ``None`` where it has no closed form; ``encoded``
    holds the pass behind each attention target (the same object where the encoder is shared). Maps are made of the
    first ``looked_at`` images, of all where that is ``None``.
    """

    actions: Tensor
    value: Tensor
    log_prob: Tensor
    entropy: Tensor | None
    distribution: Distribution
    encoded: Mapping[AttentionTarget, EncodedImages]
    looked_at: int | None = None


class CamPolicy(ActorCriticCnnPolicy):
    """SB3's CNN policy with class activation maps of its value and of its policy.

    Everything of ``ActorCriticCnnPolicy`` stays: with ``encoder="nature"`` the parameters, their names and their
    initial values are those of ``CnnPolicy``. The heads are linear unless ``net_arch`` says otherwise.

    Args:
        observation_space: image space.
        action_space: any action space of SB3's PPO; policy maps have a closed form for ``Discrete``.
        lr_schedule: learning rate by remaining progress.
        encoder: ``nature``, ``impala``, ``compact``, or a features extractor class of your own.
        precision: ``float32``, ``bfloat16`` (autocast in the encoder) or ``auto``: bfloat16 where it is fast.
        cam_layer: dotted name of the CAM layer inside an encoder of your own; by default its last ``Conv2d``.
        **kwargs: further arguments of ``ActorCriticCnnPolicy``.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        encoder: str | type[BaseFeaturesExtractor] = "nature",
        precision: Precision = "float32",
        cam_layer: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.encoder, self.precision, self.cam_layer = encoder, precision, cam_layer
        extractor = encoder_class(encoder)
        own = kwargs.pop("features_extractor_kwargs", None) or {}
        kwargs["features_extractor_kwargs"] = {**encoder_kwargs(extractor, precision), **own}
        if kwargs.get("net_arch") is None:
            kwargs["net_arch"] = []
        super().__init__(observation_space, action_space, lr_schedule, features_extractor_class=extractor, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        # After the orthogonal initialisation, which cannot view weights in another memory format.
        for extractor in self._extractors().values():
            if isinstance(extractor, CamEncoder) and extractor.channels_last:
                extractor.cnn.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        del data["features_extractor_class"]
        data.update(encoder=self.encoder, precision=self.precision, cam_layer=self.cam_layer)
        return data

    def _extractors(self) -> dict[AttentionTarget, BaseFeaturesExtractor]:
        if self.share_features_extractor:
            return dict.fromkeys(ATTENTION_TARGETS, self.features_extractor)
        return {"value": self.vf_features_extractor, "policy": self.pi_features_extractor}

    @functools.cached_property
    def cam_grid(self) -> tuple[int, int]:
        """Height and width ``(h, w)`` of the attention maps."""
        shape = cast(tuple[int, ...], self.observation_space.shape)
        with evaluating(self), torch.no_grad():
            image = torch.zeros(1, *shape, device=self.device, dtype=self.value_net.weight.dtype)
            h, w = self._encode(image, self._extractors()["value"]).cam_features.shape[-2:]
        return int(h), int(w)

    def _encode(self, images: Tensor, extractor: BaseFeaturesExtractor, looked_at: int | None = None) -> EncodedImages:
        if isinstance(extractor, CamEncoder):
            cam_features, shared = extractor.cam_features(images), None
            if looked_at is not None:
                shared = SharedFeatures(cam_features, looked_at, len(ATTENTION_TARGETS))
                cam_features = shared.every
            hidden = extractor.hidden(cam_features)
            return EncodedImages(cam_features, hidden, torch.relu(hidden), shared)
        with _output_of(self._cam_module(extractor)) as outputs:
            features = extractor(images)
        if not outputs or outputs[-1].dim() != 4:
            got = f"an output of shape {tuple(outputs[-1].shape)}" if outputs else "no output: it did not run"
            raise ValueError(f"the CAM layer must give a feature map (B, C, h, w), got {got}; set `cam_layer`")
        return EncodedImages(outputs[-1], None, features)

    def _cam_module(self, extractor: nn.Module) -> nn.Module:
        modules = dict(extractor.named_modules())
        convolutions = [name for name, module in modules.items() if isinstance(module, nn.Conv2d)]
        name = self.cam_layer if self.cam_layer is not None else (convolutions or [""])[-1]
        if name not in modules or not name:
            known = ", ".join(candidate for candidate in modules if candidate) or "none"
            raise ValueError(f"no CAM layer {name!r} in {type(extractor).__name__}; its layers are: {known}")
        return modules[name]

    def _images(self, observations: Tensor, extractor: BaseFeaturesExtractor) -> Tensor:
        """Return what an encoder takes: SB3's floats, or uint8 images as they are where it can convert them itself."""
        if isinstance(extractor, CamEncoder) and self.normalize_images and observations.dtype == torch.uint8:
            return observations
        return cast(Tensor, preprocess_obs(observations, self.observation_space, self.normalize_images))

    def _encode_all(self, observations: Tensor, looked_at: int | None = None) -> dict[AttentionTarget, EncodedImages]:
        def encoded(extractor: BaseFeaturesExtractor) -> EncodedImages:
            return self._encode(self._images(observations, extractor), extractor, looked_at)

        extractors = self._extractors()
        if self.share_features_extractor:
            return dict.fromkeys(ATTENTION_TARGETS, encoded(extractors["value"]))
        return {target: encoded(each) for target, each in extractors.items()}

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return actions, values ``(B, 1)`` and log-probabilities ``(B,)``, as SB3's policy does, from uint8 images."""
        distribution, values = self._heads(self._encode_all(obs))
        actions = distribution.get_actions(deterministic=deterministic)
        log_prob = distribution.log_prob(actions)
        return actions.reshape((-1, *cast(tuple[int, ...], self.action_space.shape))), values, log_prob

    def _heads(self, encoded: Mapping[AttentionTarget, EncodedImages]) -> tuple[Distribution, Tensor]:
        """Return the distribution of actions and the values ``(B, 1)``."""
        latent_pi = self.mlp_extractor.forward_actor(encoded["policy"].features)
        latent_vf = self.mlp_extractor.forward_critic(encoded["value"].features)
        return self._get_action_dist_from_latent(latent_pi), self.value_net(latent_vf)

    def evaluate_for_attention(
        self, observations: Tensor, actions: Tensor | None = None, looked_at: int | None = None
    ) -> ActionEvaluation:
        """Evaluate actions as ``evaluate_actions`` does, and keep what attention maps are made of.

        Args:
            observations: ``(B, C, H, W)`` uint8 images.
            actions: the actions taken; ``None`` means the actions that the policy prefers.
            looked_at: how many images, from the first on, attention maps will be made of; by default all.
        """
        encoded = self._encode_all(observations, looked_at)
        distribution, values = self._heads(encoded)
        chosen = distribution.get_actions(deterministic=True) if actions is None else actions
        log_prob = distribution.log_prob(chosen)
        entropy = distribution.entropy()
        return ActionEvaluation(chosen, values.flatten(), log_prob, entropy, distribution, encoded, looked_at)

    def attention_maps(
        self,
        evaluation: ActionEvaluation,
        targets: Iterable[AttentionTarget] = ATTENTION_TARGETS,
        method: CamMethod = "gradcam",
        rectification: Mapping[AttentionTarget, Rectification] = DEFAULT_RECTIFICATION,
        create_graph: bool = False,
    ) -> dict[AttentionTarget, Tensor]:
        """Return the non-negative, not yet normalised map ``(B, h, w)`` of each target, for the images looked at.

        The score is ``V(s)`` for ``value`` and ``log pi(a|s)`` for ``policy``. The closed form serves where it
        applies, autograd otherwise; the two agree (``tests/agents/test_policy.py``).
        """
        wanted = list(targets)
        closed = [target for target in wanted if self.has_closed_form(target)]
        # Targets that share an encoder share the pass over its features.
        groups = [closed] if self.share_features_extractor else [[target] for target in closed]
        maps: dict[AttentionTarget, Tensor] = {}
        for group in filter(None, groups):
            maps.update(self._closed_form_maps(group, evaluation, method, [rectification[target] for target in group]))
        for target in wanted:
            if target not in maps:
                score = evaluation.value if target == "value" else evaluation.log_prob
                features = evaluation.encoded[target].cam_features
                every = class_activation_map(features, score, method, create_graph, rectification[target])
                maps[target] = every[: evaluation.looked_at]
        return {target: maps[target] for target in wanted}

    def has_closed_form(self, target: AttentionTarget) -> bool:
        """Say whether the network after the CAM layer is Flatten -> Linear -> ReLU -> Linear for this target."""
        if not isinstance(self._extractors()[target], CamEncoder):
            return False
        branch = self.mlp_extractor.value_net if target == "value" else self.mlp_extractor.policy_net
        return len(branch) == 0 and (target == "value" or isinstance(self.action_dist, CategoricalDistribution))

    def _score_gradient(self, target: AttentionTarget, evaluation: ActionEvaluation) -> Tensor:
        """Return ``d score / d hidden`` of a linear head, ``(U,)`` or ``(B, U)``."""
        if target == "value":
            return value_score_gradient(self.value_net.weight)
        probabilities = cast(CategoricalDistribution, evaluation.distribution).distribution.probs
        head, some = cast(nn.Linear, self.action_net), slice(evaluation.looked_at)
        return log_prob_score_gradient(head.weight, probabilities[some], evaluation.actions[some].long())

    def _closed_form_maps(
        self,
        targets: list[AttentionTarget],
        evaluation: ActionEvaluation,
        method: CamMethod,
        rectify: list[Rectification],
    ) -> dict[AttentionTarget, Tensor]:
        encoded = evaluation.encoded[targets[0]]
        shared = encoded.shared
        features, sums = (encoded.cam_features, None) if shared is None else (shared.some, shared.channel_sums)
        weight = cast(CamEncoder, self._extractors()[targets[0]]).hidden_weight(features)
        active = cast(Tensor, encoded.hidden)[: evaluation.looked_at] > 0
        with torch.autocast(features.device.type, features.dtype, enabled=features.dtype == torch.bfloat16):
            gradients = [self._score_gradient(target, evaluation) for target in targets]
            cams = closed_form_cams(features, weight, active, gradients, method, rectify, sums)
        return dict(zip(targets, cams, strict=True))

    def attention(
        self,
        observations: Tensor | np.ndarray[Any, Any],
        actions: Tensor | None = None,
        method: CamMethod = "gradcam",
        rectification: Mapping[AttentionTarget, Rectification] = DEFAULT_RECTIFICATION,
    ) -> dict[AttentionTarget, Tensor]:
        """Return the attention maps of images, ``{"value": (B, h, w), "policy": (B, h, w)}`` in [0, 1].

        Args:
            observations: ``uint8 (B, H, W, C)`` as environments give them, or channels first ``(B, C, H, W)``.
            actions: actions ``(B,)`` that the policy maps explain; by default those that the policy prefers.
            method: gradcam, hirescam, layercam, gradcam++ or normgrad.
            rectification: ``relu`` or ``absolute`` for each target, see :class:`camal_rl.agents.CamalConfig`.

        Nothing is left behind: no gradient, no hook, no changed training mode.
        """
        with evaluating(self), torch.enable_grad():
            evaluation = self.evaluate_for_attention(self._as_batch(observations), actions)
            maps = self.attention_maps(evaluation, method=method, rectification=rectification)
        return {target: normalize_cam(cam.detach()) for target, cam in maps.items()}

    def _as_batch(self, observations: Tensor | np.ndarray[Any, Any]) -> Tensor:
        images = (
            torch.as_tensor(np.ascontiguousarray(observations))
            if isinstance(observations, np.ndarray)
            else observations
        )
        shape = cast(tuple[int, ...], self.observation_space.shape)
        if images.dim() == 4 and tuple(images.shape[1:]) == (*shape[1:], shape[0]):
            images = images.permute(0, 3, 1, 2)
        if images.dim() != 4 or tuple(images.shape[1:]) != shape:
            raise ValueError(f"expected images of shape (B, {', '.join(map(str, shape))}), got {tuple(images.shape)}")
        return images.to(self.device)


@contextmanager
def _output_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect a module's outputs inside the block; the hook is gone afterwards, also after an exception."""
    outputs: list[Tensor] = []
    handle = module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()
