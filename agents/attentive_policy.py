"""The base of all policies with class activation maps: encoder, forward pass that keeps features, and maps."""

from __future__ import annotations

import functools
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, cast

import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor

from camal_rl.agents.action_evaluation import AttentionEvaluation
from camal_rl.agents.cam_encoder import CamEncoder, Precision, check_images
from camal_rl.agents.closed_form_check import closed_form_agrees
from camal_rl.agents.config import AttentionTarget
from camal_rl.agents.encoded_images import EncodedImages, cam_layout, encode_captured, encode_linear_relu
from camal_rl.agents.encoder_fit import fitting_extractor
from camal_rl.agents.encoders import encoder_class, encoder_kwargs, encoder_name, is_shipped
from camal_rl.agents.initialization import INITIALIZATIONS, Initialization, initialize_glorot
from camal_rl.agents.map_settings import MapSettings, check_targets
from camal_rl.agents.observations import Actions, Images, action_batch, image_batch
from camal_rl.attention import CamMethod, Rectification, class_activation_map, normalize_cam, zero_maps
from camal_rl.closed_form import closed_form_cams
from camal_rl.layer_capture import FeatureLayout
from camal_rl.training_modes import evaluating, recording_gradients

_Rectifications = Rectification | Mapping[AttentionTarget, Rectification]


class AttentivePolicy(BasePolicy):
    """A mixin for SB3 image policies that adds class activation maps; list it before SB3's class in the bases.

    A derived class defines its ``attention_targets``, and their scores and heads.

    Args:
        observation_space: image space.
        action_space: any action space of SB3's policy.
        lr_schedule: learning rate by remaining progress.
        encoder: ``nature``, ``impala``, ``compact``, ``patch``, another registered name, or a class or its path.
        precision: ``float32``, ``bfloat16`` (autocast in the encoder) or ``auto``: bfloat16 where it is fast.
        cam_layer: dotted name of the CAM layer inside the encoder; by default ``cnn`` in a :class:`CamEncoder` and the
            last ``Conv2d`` in an encoder of another class. Its output is a feature map, channels first or last, or
            tokens (:func:`camal_rl.feature_layout.layout_of`).
        maps: the default maps of :meth:`attention`: ``targets``, ``method``, ``value_rectification``,
            ``policy_rectification`` (:class:`camal_rl.agents.map_settings.MapSettings`). They are saved with the
            policy; a CAMAL algorithm sets them to those of training.
        masking: how its input images are masked (:class:`camal_rl.envs.MaskedVecEnv`); only recorded in files.
        initialization: of the encoder's convolutions and linear layers. ``stock`` is SB3's (orthogonal in PPO,
            PyTorch's own in DQN); ``glorot`` draws from a uniform distribution with variance 2 / (fan in + fan out) and
            sets biases to 0 (Glorot and Bengio 2010, eq. 16), as TensorFlow does.
        **kwargs: further arguments of SB3's policy.
    """

    attention_targets: ClassVar[tuple[AttentionTarget, ...]]
    """Names of the outputs that its attention maps explain."""

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
        initialization: Initialization = "stock",
        **kwargs: Any,
    ) -> None:
        if initialization not in INITIALIZATIONS:
            raise ValueError(f"initialization must be one of {', '.join(INITIALIZATIONS)}, got {initialization!r}")
        self._initialization = initialization
        if "features_extractor_class" in kwargs:
            raise ValueError(
                f"{type(self).__name__} takes its features extractor as `encoder`, a name or a class: write "
                'policy_kwargs={"encoder": MyEncoder} in place of "features_extractor_class"'
            )
        self.encoder, self.precision, self.cam_layer, self.masking = encoder, precision, cam_layer, masking
        self.map_settings = MapSettings.of(maps, self.attention_targets)
        self._verified: dict[AttentionTarget, bool] = {}
        extractor = encoder_class(encoder)
        if issubclass(extractor, CamEncoder):
            check_images(observation_space, normalized=not kwargs.get("normalize_images", True))
        own = kwargs.pop("features_extractor_kwargs", None) or {}
        kwargs["features_extractor_kwargs"] = {**encoder_kwargs(extractor, precision), **own}
        if kwargs.get("net_arch") is None:
            kwargs["net_arch"] = []
        # SB3's class, the next one in the order of bases, takes the learning rate.
        more: dict[str, Any] = {"lr_schedule": lr_schedule, **kwargs}
        super().__init__(observation_space, action_space, features_extractor_class=extractor, **more)

    def _build(self, lr_schedule: Schedule) -> None:
        """Create the network like SB3, and initialize the encoders."""
        super()._build(lr_schedule)  # type: ignore[misc]
        if self._initialization == "glorot":
            for extractor in self.feature_encoders():
                initialize_glorot(extractor)

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """Create the encoder, and check that it accepts the images.

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

    def act(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[npt.NDArray[Any], Any]:
        """Return preferred or sampled actions for evaluations; the arguments are those of ``predict``."""
        return self.predict(observation, state, episode_start, deterministic)

    # Members that derived classes define -----------------------------------------------------------------------------

    @abstractmethod
    def _extractors(self) -> dict[AttentionTarget, BaseFeaturesExtractor]:
        """Return the encoder behind each attention target."""

    @property
    @abstractmethod
    def _is_shipped(self) -> bool:
        """Whether the policy's class is one of this package and not derived from one."""

    @abstractmethod
    def _has_linear_head(self, target: AttentionTarget) -> bool:
        """Return whether a target's score is linear in the encoder's features with a known gradient."""

    @abstractmethod
    def _score_gradient(self, target: AttentionTarget, evaluation: Any) -> Tensor:
        """Return ``d score / d hidden`` of a linear head, ``(U,)`` or ``(B, U)``."""

    @abstractmethod
    def evaluate_for_attention(
        self, observations: Tensor, actions: Tensor | None = None, num_attention_frames: int | None = None
    ) -> Any:
        """Evaluate images as in training, and keep everything needed for attention maps.

        Args:
            observations: ``(B, C, H, W)`` uint8 images.
            actions: the actions that maps explain; ``None`` means the preferred actions.
            num_attention_frames: number of first images for which attention maps will be computed; by default all. With
                0 there are no maps, and any encoder can be used.

        Returns:
            An :class:`camal_rl.agents.action_evaluation.AttentionEvaluation`.
        """

    def feature_encoders(self) -> tuple[BaseFeaturesExtractor, ...]:
        """Return the encoders, each once."""
        return tuple(dict.fromkeys(self._extractors().values()))

    # Encoder -------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def cam_grid(self) -> tuple[int, int]:
        """Height and width ``(h, w)`` of the attention maps."""
        with evaluating(self), torch.no_grad():
            features = self._encode(self._probe(), self._first_extractor).cam_features
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

    @property
    def _first_extractor(self) -> BaseFeaturesExtractor:
        return next(iter(self._extractors().values()))

    @functools.cached_property
    def _layout(self) -> FeatureLayout:
        # The encoders of a policy are of one kind.
        return cam_layout(self._first_extractor, self.cam_layer, self._probe())

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
        return isinstance(extractor, CamEncoder) and extractor.is_linear_relu and self.cam_layer in (None, "cnn")

    def _images(self, observations: Tensor, extractor: BaseFeaturesExtractor) -> Tensor:
        """Return the input of an encoder: SB3's floats, or uint8 images if the encoder converts them itself."""
        if self._is_linear_relu(extractor) and self.normalize_images and observations.dtype == torch.uint8:
            return observations
        return cast(Tensor, preprocess_obs(observations, self.observation_space, self.normalize_images))

    def _encode_all(self, observations: Tensor, frames: int | None = None) -> dict[AttentionTarget, EncodedImages]:
        def encoded(extractor: BaseFeaturesExtractor) -> EncodedImages:
            return self._encode(self._images(observations, extractor), extractor, frames)

        # Targets with one encoder share the pass through it.
        passes: dict[int, EncodedImages] = {}
        for extractor in self._extractors().values():
            if id(extractor) not in passes:
                passes[id(extractor)] = encoded(extractor)
        return {target: passes[id(extractor)] for target, extractor in self._extractors().items()}

    # Maps ----------------------------------------------------------------------------------------------------------

    def attention_maps(
        self,
        evaluation: AttentionEvaluation,
        targets: Iterable[AttentionTarget] | None = None,
        method: CamMethod | None = None,
        rectification: _Rectifications | None = None,
        create_graph: bool = False,
    ) -> dict[AttentionTarget, Tensor]:
        """Return the non-negative, unnormalized map ``(B, h, w)`` of each target, for the attention frames.

        Maps have the precision of the scores, float32 also where the encoder computes in bfloat16.

        The scores are those of the evaluation. Maps use the closed form where it applies, and autograd otherwise; the
        two agree (``tests/agents/test_policy.py``). Targets, method and rectification are by default those of
        ``map_settings``.

        Raises:
            ValueError: a target that the policy does not have, an unknown method or rectification.
        """
        known = self.attention_targets
        wanted = check_targets(self.map_settings.targets if targets is None else targets, known)
        method = method or self.map_settings.method
        if rectification is not None and not isinstance(rectification, str):
            rectification = {target: rectification[target] for target in check_targets(rectification, known)}
        rectify = self.map_settings.rectification(rectification)
        closed = [target for target in wanted if self._uses_closed_form(target, evaluation)]
        # Targets that share an encoder share the pass over its features.
        groups: dict[int, list[AttentionTarget]] = {}
        for target in closed:
            groups.setdefault(id(evaluation.encoded[target]), []).append(target)
        maps: dict[AttentionTarget, Tensor] = {}
        for group in groups.values():
            maps.update(self._closed_form_maps(group, evaluation, method, [rectify[target] for target in group]))
        for target in wanted:
            if target not in maps:
                features = evaluation.cam_features(target)
                score = evaluation.score(target)[: len(features)]
                every = class_activation_map(features, score, method, create_graph, rectify[target])
                maps[target] = every[evaluation.attention_frames].to(score.dtype)
        return {target: maps[target] for target in wanted}

    def has_closed_form(self, target: AttentionTarget) -> bool:
        """Return whether the network after the CAM layer is Flatten -> Linear -> ReLU -> Linear for this target."""
        if not self._is_linear_relu(self._extractors()[target]) or not self._verified.get(target, True):
            return False
        return self._has_linear_head(target)

    @property
    def _only_closed_forms(self) -> bool:
        """Whether no map needs automatic differentiation."""
        return self._is_ours and all(self.has_closed_form(target) for target in self.attention_targets)

    @property
    def _is_ours(self) -> bool:
        """Whether policy and encoder are classes of this package, whose tests verify the closed form."""
        return self._is_shipped and is_shipped(self._first_extractor)

    def _uses_closed_form(self, target: AttentionTarget, evaluation: AttentionEvaluation) -> bool:
        """Return whether the closed form applies; for a user's subclass the first batch is compared with autograd."""
        if not self.has_closed_form(target):
            return False
        if not self._is_ours and target not in self._verified:
            encoder = cast(CamEncoder, self._extractors()[target])
            gradient = self._score_gradient(target, evaluation)
            self._verified[target] = closed_form_agrees(evaluation, target, encoder, gradient)
        return self.has_closed_form(target)

    def _closed_form_maps(
        self,
        targets: list[AttentionTarget],
        evaluation: AttentionEvaluation,
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
        """Return the attention maps of images, ``(B, h, w)`` in [0, 1] for each of ``attention_targets``.

        Omitted settings are the model's own (``map_settings``), with which it was trained.

        Args:
            observations: ``uint8 (B, H, W, C)`` as environments return them, or channels first ``(B, C, H, W)``; one
                image (B is 1) or a list of images is accepted too, as in ``predict``.
            actions: actions ``(B,)``, or ``(B, A)`` for spaces of several numbers, that maps of ``policy`` and ``q``
                explain; by default the preferred actions. Maps of continuous actions do not depend on them
                (:func:`camal_rl.agents.policy_score.policy_score`).
            method: gradcam, hirescam, layercam, gradcam++ or normgrad.
            rectification: ``relu`` or ``absolute``, for all targets or by target, see
                :class:`camal_rl.agents.CamalConfig`.
            targets: some of ``attention_targets``.

        Raises:
            TypeError, ValueError: images, actions or settings are invalid; the message says what was expected.

        Hooks are removed, and training modes and ``.grad`` do not change, even after an exception.
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
                    f"the {target} map of each of {len(cam)} images is zero everywhere: the score has no gradient (the "
                    "policy is certain of its action), or rectification 'relu' removed all contributions",
                    stacklevel=2,
                )
        return {target: normalize_cam(cam.detach()) for target, cam in maps.items()}
