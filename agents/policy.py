"""The actor-critic policy whose encoder gives value and policy attention maps."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.config import ATTENTION_TARGETS, AttentionTarget
from camal_rl.agents.encoded_images import EncodedImages, cam_layout, encode_captured, encode_linear_relu
from camal_rl.agents.encoder_fit import fitting_extractor
from camal_rl.agents.encoders import (
    CamEncoder,
    Precision,
    check_images,
    encoder_class,
    encoder_kwargs,
    encoder_name,
    is_shipped,
)
from camal_rl.agents.map_settings import MapSettings, check_targets
from camal_rl.agents.observations import Actions, Images, action_batch, image_batch
from camal_rl.attention import CamMethod, Rectification, class_activation_map, normalize_cam, zero_maps
from camal_rl.closed_form import closed_form_cams, hidden_gradient, log_prob_score_gradient, value_score_gradient
from camal_rl.layer_capture import FeatureLayout
from camal_rl.training_modes import evaluating, recording_gradients

CLOSED_FORM_TOLERANCE = 1e-4
"""Largest difference of the closed form from autograd, relative to the largest gradient, that counts as rounding."""

_Rectifications = Rectification | Mapping[AttentionTarget, Rectification]


class CamPolicy(ActorCriticCnnPolicy):
    """SB3's CNN policy with class activation maps of its value and of its policy.

    Everything of ``ActorCriticCnnPolicy`` stays: with ``encoder="nature"`` the parameters, their names and their
    initial values are those of ``CnnPolicy``. The heads are linear unless ``net_arch`` says otherwise.

    Args:
        observation_space: image space.
        action_space: any action space of SB3's PPO; policy maps have a closed form for ``Discrete``.
        lr_schedule: learning rate by remaining progress.
        encoder: name of an encoder, such as ``nature``, ``impala``, ``compact``; path or class of one of your own.
        precision: ``float32``, ``bfloat16`` (autocast in the encoder) or ``auto``: bfloat16 where it is fast.
        cam_layer: dotted name of the CAM layer inside the encoder; by default ``cnn`` in a :class:`CamEncoder` and the
            last ``Conv2d`` in an encoder of another class. Its output is a feature map, channels first or last, or
            tokens (:func:`camal_rl.feature_layout.layout_of`).
        maps: which maps :meth:`attention` gives where nothing is said: ``targets``, ``method``,
            ``value_rectification``, ``policy_rectification`` (:class:`camal_rl.agents.map_settings.MapSettings`).
            They are saved with the policy; :class:`camal_rl.agents.CAMALPPO` sets those that it trains on.
        masking: how the images are masked that it acts on (:class:`camal_rl.envs.MaskedVecEnv`); a note for files.
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
        maps: MapSettings | Mapping[str, Any] | None = None,
        masking: str | None = None,
        **kwargs: Any,
    ) -> None:
        if "features_extractor_class" in kwargs:
            raise ValueError(
                "CamPolicy takes its features extractor as `encoder`, a name or a class: write "
                'policy_kwargs={"encoder": MyEncoder} in place of "features_extractor_class"'
            )
        self.encoder, self.precision, self.cam_layer, self.masking = encoder, precision, cam_layer, masking
        self.map_settings = maps if isinstance(maps, MapSettings) else MapSettings.of(maps)
        self._verified: dict[AttentionTarget, bool] = {}
        extractor = encoder_class(encoder)
        if issubclass(extractor, CamEncoder):
            check_images(observation_space, normalized=not kwargs.get("normalize_images", True))
        own = kwargs.pop("features_extractor_kwargs", None) or {}
        kwargs["features_extractor_kwargs"] = {**encoder_kwargs(extractor, precision), **own}
        if kwargs.get("net_arch") is None:
            kwargs["net_arch"] = []
        super().__init__(observation_space, action_space, lr_schedule, features_extractor_class=extractor, **kwargs)

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """Make the encoder, and see that it takes the images.

        Raises:
            ValueError: the images are too small for it.
        """
        return fitting_extractor(self.features_extractor_class, self.observation_space, self.features_extractor_kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        del data["features_extractor_class"]
        data.update(encoder=self.encoder, precision=self.precision, cam_layer=self.cam_layer)
        data["maps"] = self.map_settings.as_dict()
        return data if self.masking is None else {**data, "masking": self.masking}

    def _extractors(self) -> dict[AttentionTarget, BaseFeaturesExtractor]:
        if self.share_features_extractor:
            return dict.fromkeys(ATTENTION_TARGETS, self.features_extractor)
        return {"value": self.vf_features_extractor, "policy": self.pi_features_extractor}

    @functools.cached_property
    def cam_grid(self) -> tuple[int, int]:
        """Height and width ``(h, w)`` of the attention maps."""
        with evaluating(self), torch.no_grad():
            features = self._encode(self._probe(), self._extractors()["value"]).cam_features
        assert features is not None
        h, w = features.shape[2:]
        if min(h, w) < 1:
            name, shape = encoder_name(self.features_extractor_class), self.observation_space.shape
            raise ValueError(f"the CAM grid of encoder {name!r} is {h}x{w} on observations of shape {shape}")
        return int(h), int(w)

    @functools.cached_property
    def has_maps(self) -> bool:
        """Whether the encoder has a CAM layer; without one there are no attention maps, and training has weight 0."""
        try:
            return min(self.cam_grid) > 0
        except ValueError:
            return False

    @functools.cached_property
    def _layout(self) -> FeatureLayout:
        # Value and policy encoders are of one kind.
        return cam_layout(self._extractors()["value"], self.cam_layer, self._probe())

    def _probe(self) -> Tensor:
        """Return one image ``(1, C, H, W)`` of noise, as encoders take it."""
        shape = cast(tuple[int, ...], self.observation_space.shape)
        noise = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
        return noise.to(self.device, next(self.parameters()).dtype)

    def _encode(self, images: Tensor, extractor: BaseFeaturesExtractor, frames: int | None = None) -> EncodedImages:
        if self._is_linear_relu(extractor):
            by_autograd = not self._only_closed_forms
            own = cast(CamEncoder, extractor)
            return encode_linear_relu(images, own, frames, by_autograd)
        return EncodedImages(extractor(images)) if frames == 0 else encode_captured(images, extractor, self._layout)

    def _is_linear_relu(self, extractor: BaseFeaturesExtractor) -> bool:
        """Say whether an encoder is CAM layer -> Flatten -> Linear -> ReLU."""
        return isinstance(extractor, CamEncoder) and extractor.is_linear_relu and self.cam_layer in (None, "cnn")

    def _images(self, observations: Tensor, extractor: BaseFeaturesExtractor) -> Tensor:
        """Return what an encoder takes: SB3's floats, or uint8 images as they are where it can convert them itself."""
        if self._is_linear_relu(extractor) and self.normalize_images and observations.dtype == torch.uint8:
            return observations
        return cast(Tensor, preprocess_obs(observations, self.observation_space, self.normalize_images))

    def _encode_all(self, observations: Tensor, frames: int | None = None) -> dict[AttentionTarget, EncodedImages]:
        def encoded(extractor: BaseFeaturesExtractor) -> EncodedImages:
            return self._encode(self._images(observations, extractor), extractor, frames)

        extractors = self._extractors()
        if self.share_features_extractor:
            return dict.fromkeys(ATTENTION_TARGETS, encoded(extractors["value"]))
        return {target: encoded(each) for target, each in extractors.items()}

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return actions, values ``(B, 1)`` and log-probabilities ``(B,)``, as SB3's policy does, from uint8 images."""
        distribution, values = self._heads(self._encode_all(obs, frames=0))
        actions = distribution.get_actions(deterministic=deterministic)
        log_prob = distribution.log_prob(actions)
        return actions.reshape((-1, *cast(tuple[int, ...], self.action_space.shape))), values, log_prob

    def _heads(self, encoded: Mapping[AttentionTarget, EncodedImages]) -> tuple[Distribution, Tensor]:
        """Return the distribution of actions and the values ``(B, 1)``."""
        latent_pi = self.mlp_extractor.forward_actor(encoded["policy"].features)
        latent_vf = self.mlp_extractor.forward_critic(encoded["value"].features)
        return self._get_action_dist_from_latent(latent_pi), self.value_net(latent_vf)

    def evaluate_for_attention(
        self, observations: Tensor, actions: Tensor | None = None, num_attention_frames: int | None = None
    ) -> ActionEvaluation:
        """Evaluate actions as ``evaluate_actions`` does, and keep what attention maps are made of.

        Args:
            observations: ``(B, C, H, W)`` uint8 images.
            actions: the actions taken; ``None`` means the actions that the policy prefers.
            num_attention_frames: how many images, from the first on, attention maps will be made of; by default all.
                With 0 no maps can be made, and an encoder of any kind will do.
        """
        encoded = self._encode_all(observations, num_attention_frames)
        distribution, values = self._heads(encoded)
        chosen = distribution.get_actions(deterministic=True) if actions is None else actions
        log_prob = distribution.log_prob(chosen)
        entropy = distribution.entropy()
        # The policy has one distribution object, which the next observations change.
        own = copy.copy(distribution)
        return ActionEvaluation(chosen, values.flatten(), log_prob, entropy, own, encoded, num_attention_frames)

    def attention_maps(
        self,
        evaluation: ActionEvaluation,
        targets: Iterable[AttentionTarget] | None = None,
        method: CamMethod | None = None,
        rectification: _Rectifications | None = None,
        create_graph: bool = False,
    ) -> dict[AttentionTarget, Tensor]:
        """Return the non-negative, not yet normalized map ``(B, h, w)`` of each target, for the images looked at.

        The score is ``V(s)`` for ``value`` and :func:`camal_rl.agents.policy_score.policy_score` for ``policy``. The
        closed form serves where it applies, autograd otherwise; the two agree (``tests/agents/test_policy.py``).
        Targets, method and rectification are by default those of ``map_settings``.
        """
        wanted = check_targets(self.map_settings.targets if targets is None else targets)
        method = method or self.map_settings.method
        rectify = self.map_settings.rectification(rectification)
        closed = [target for target in wanted if self._uses_closed_form(target, evaluation)]
        # Targets that share an encoder share the pass over its features.
        groups = [closed] if self.share_features_extractor else [[target] for target in closed]
        maps: dict[AttentionTarget, Tensor] = {}
        for group in filter(None, groups):
            maps.update(self._closed_form_maps(group, evaluation, method, [rectify[target] for target in group]))
        for target in wanted:
            if target not in maps:
                features = evaluation.cam_features(target)
                score = evaluation.score(target)[: len(features)]
                every = class_activation_map(features, score, method, create_graph, rectify[target])
                maps[target] = every[evaluation.attention_frames]
        return {target: maps[target] for target in wanted}

    def has_closed_form(self, target: AttentionTarget) -> bool:
        """Say whether the network after the CAM layer is Flatten -> Linear -> ReLU -> Linear for this target."""
        if not self._is_linear_relu(self._extractors()[target]) or not self._verified.get(target, True):
            return False
        if target == "value":
            return len(self.mlp_extractor.value_net) == 0 and type(self.value_net) is nn.Linear
        linear = len(self.mlp_extractor.policy_net) == 0 and type(self.action_net) is nn.Linear
        return linear and type(self.action_dist) is CategoricalDistribution

    @property
    def _only_closed_forms(self) -> bool:
        """Whether no map needs automatic differentiation."""
        return self._is_ours and all(self.has_closed_form(target) for target in ATTENTION_TARGETS)

    @property
    def _is_ours(self) -> bool:
        """Whether policy and encoder are classes of this package, whose tests hold the closed form."""
        return type(self) is CamPolicy and is_shipped(self._extractors()["value"])

    def _uses_closed_form(self, target: AttentionTarget, evaluation: ActionEvaluation) -> bool:
        """Say whether the closed form applies; of a subclass of a user the first batch says it, against autograd."""
        if not self.has_closed_form(target):
            return False
        if not self._is_ours and target not in self._verified:
            self._verified[target] = self._agrees(target, evaluation)
        return self.has_closed_form(target)

    def _agrees(self, target: AttentionTarget, evaluation: ActionEvaluation) -> bool:
        """Say whether the closed form's gradient at the CAM layer is that of autograd."""
        features, some = evaluation.cam_features(target), evaluation.attention_frames
        score = evaluation.score(target)
        if not (features.requires_grad and score.requires_grad):
            return False
        (gradient,) = torch.autograd.grad(score.sum(), features, retain_graph=True, allow_unused=True)
        if gradient is None:
            return False
        extractor = cast(CamEncoder, self._extractors()[target])
        active = cast(Tensor, evaluation.encoded[target].hidden)[some] > 0
        weight = extractor.hidden_weight(features).detach()
        closed = hidden_gradient(weight, active, self._score_gradient(target, evaluation).detach())
        allowed = max(CLOSED_FORM_TOLERANCE, 16 * torch.finfo(gradient.dtype).eps) * float(gradient.abs().max())
        return float((gradient[some].float() - closed.float()).abs().max()) <= allowed

    def _score_gradient(self, target: AttentionTarget, evaluation: ActionEvaluation) -> Tensor:
        """Return ``d score / d hidden`` of a linear head, ``(U,)`` or ``(B, U)``."""
        if target == "value":
            return value_score_gradient(self.value_net.weight)
        probabilities = cast(CategoricalDistribution, evaluation.distribution).distribution.probs
        head, some = cast(nn.Linear, self.action_net), evaluation.attention_frames
        return log_prob_score_gradient(head.weight, probabilities[some], evaluation.actions[some].long())

    def _closed_form_maps(
        self,
        targets: list[AttentionTarget],
        evaluation: ActionEvaluation,
        method: CamMethod,
        rectify: list[Rectification],
    ) -> dict[AttentionTarget, Tensor]:
        encoded = evaluation.encoded[targets[0]]
        features = evaluation.mapped_features(targets[0])
        weight = cast(CamEncoder, self._extractors()[targets[0]]).hidden_weight(features)
        active = cast(Tensor, encoded.hidden)[evaluation.attention_frames] > 0
        with torch.autocast(features.device.type, features.dtype, enabled=features.dtype == torch.bfloat16):
            gradients = [self._score_gradient(target, evaluation) for target in targets]
            cams = closed_form_cams(features, weight, active, gradients, method, rectify)
        return dict(zip(targets, cams, strict=True))

    def attention(
        self,
        observations: Images,
        actions: Actions | None = None,
        method: CamMethod | None = None,
        rectification: _Rectifications | None = None,
        targets: Iterable[AttentionTarget] | None = None,
    ) -> dict[AttentionTarget, Tensor]:
        """Return the attention maps of images, ``{"value": (B, h, w), "policy": (B, h, w)}`` in [0, 1].

        What is not given is the model's own (``map_settings``): what it was trained with.

        Args:
            observations: ``uint8 (B, H, W, C)`` as environments give them, or channels first ``(B, C, H, W)``; one
                image (B is 1) or a list of images will do, as in ``predict``.
            actions: actions ``(B,)``, or ``(B, A)`` for spaces of several numbers, that the policy maps explain; by
                default those that the policy prefers. Maps of continuous actions do not depend on them
                (:func:`camal_rl.agents.policy_score.policy_score`).
            method: gradcam, hirescam, layercam, gradcam++ or normgrad.
            rectification: ``relu`` or ``absolute``, for all targets or by target, see
                :class:`camal_rl.agents.CamalConfig`.
            targets: ``value``, ``policy`` or both.

        Raises:
            TypeError, ValueError: images, actions or settings that do not fit; the message says what was expected.

        Nothing is left behind, also after an exception: no gradient, no hook, no changed training mode.
        """
        with evaluating(self), recording_gradients():
            images = image_batch(observations, self.observation_space).to(self.device)
            explained = None
            if actions is not None:
                explained = action_batch(actions, self.action_space, len(images), self.device)
            evaluation = self.evaluate_for_attention(images, explained)
            maps = self.attention_maps(evaluation, targets, method, rectification)
        for target, cam in maps.items():
            if bool(zero_maps(cam.detach()).all()):
                warnings.warn(
                    f"the {target} map of each of {len(cam)} images is zero everywhere: its score has no gradient (a "
                    "policy that is certain of its action), or rectification 'relu' left out what there was",
                    stacklevel=2,
                )
        return {target: normalize_cam(cam.detach()) for target, cam in maps.items()}
