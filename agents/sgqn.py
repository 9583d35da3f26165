"""SGQN for PPO: policy and value should depend only on salient pixels (Bertoin et al. 2022, arXiv 2209.09203)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn
from torch.nn import functional

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.augmentations import random_crop
from camal_rl.agents.consistency import check_images, consistency_loss
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.rollout_buffer import CamalRolloutSamples
from camal_rl.agents.sample_evaluation import evaluate_samples, image_gradients
from camal_rl.agents.terms import AuxiliaryTerm, TermLoss
from camal_rl.argument_checks import check_number
from camal_rl.camal_config import MAX_WEIGHT
from camal_rl.random_states import random_states_kept
from camal_rl.training_modes import evaluating

DECODER_STRIDE = 4
"""The decoder's map has a quarter of the image's height and width."""


@dataclass(frozen=True)
class SGQNConfig:
    """Settings of SGQN.

    Attributes:
        weight: coefficient of the term, at least 0.
        quantile: in [0, 1]; a pixel is salient where its saliency is at least this quantile of its frame's. The
            authors' code has .9 by default, and .98 for cartpole.
        attribution_weight: weight of the decoder's cross-entropy relative to the consistency, at least 0.
        frame_fraction: share in (0, 1] of each minibatch that the term uses, which reduces its cost in proportion.
    """

    weight: float = 0.1
    quantile: float = 0.9
    attribution_weight: float = 1.0
    frame_fraction: float = 1.0

    def __post_init__(self) -> None:
        """Check every setting; a ValueError or TypeError gives its name, the expected and the given value."""
        check_number("sgqn.weight", self.weight, 0, MAX_WEIGHT)
        check_number("sgqn.quantile", self.quantile, 0, 1)
        check_number("sgqn.attribution_weight", self.attribution_weight, 0, MAX_WEIGHT)
        check_number("sgqn.frame_fraction", self.frame_fraction)
        if not 0 < self.frame_fraction <= 1:
            raise ValueError(f"sgqn.frame_fraction must be in (0, 1], got {self.frame_fraction}")


class SGQNTerm(AuxiliaryTerm):
    """Consistency under the mask of salient pixels, and a decoder that predicts this mask.

    ``KL(pi(.|s) || pi(.|s * M)) + (V(s) - V(s * M))^2 + attribution_weight * BCE(D(f(t(s))), t(M))``, means over
    frames, where ``M`` is :func:`salient_pixels` of :func:`saliency_maps`, ``f`` the encoder, ``D`` the decoder
    (:class:`AttributionDecoder`, the term's module) and ``t`` moves image and mask alike (``random_crop``). Outputs at
    ``s`` and the mask are constants: gradients flow through the masked and the moved images.
    """

    name: ClassVar[str] = "sgqn"
    config_type: ClassVar[type[Any]] = SGQNConfig
    config: SGQNConfig

    def __init__(self, config: SGQNConfig | None = None, seed: int = 0) -> None:
        super().__init__(SGQNConfig() if config is None else config, seed)
        self._generator = torch.Generator().manual_seed(seed)
        self._policy: ActorCriticPolicy | None = None

    def setup(self, policy: ActorCriticPolicy, env: VecEnv | None) -> None:
        """Check that observations are images, store the policy, and create the decoder."""
        check_images(policy, self.name, "SGQN masks")
        self._policy = policy
        channels, height, width = cast(tuple[int, ...], policy.observation_space.shape)
        with random_states_kept():
            torch.manual_seed(self.seed)
            frames = channels // channels_per_frame(channels)
            self.module = AttributionDecoder(policy.features_dim, frames, (height, width))

    def loss(self, minibatch: CamalRolloutSamples, evaluation: ActionEvaluation, progress: float) -> TermLoss:
        """Return the inconsistency under the mask plus the decoder's error, on the minibatch's first frames."""
        if self._policy is None or self.module is None:
            raise RuntimeError("call setup() before loss()")
        policy, count = cast(CamPolicy, self._policy), len(minibatch.observations)
        chosen = minibatch.first(math.ceil(self.config.frame_fraction * count))
        images = chosen.observations
        original, saliency = saliency_maps(policy, chosen)
        mask = salient_pixels(saliency, self.config.quantile)

        consistency = consistency_loss(policy, chosen, original, masked_images(images, mask))

        stacked = random_crop(torch.cat([images, mask.to(images.dtype)], dim=1), self._generator)
        moved, moved_mask = stacked.split([images.shape[1], mask.shape[1]], dim=1)
        features = evaluate_samples(policy, chosen._replace(observations=moved), 0).encoded["value"].features
        attribution = functional.binary_cross_entropy_with_logits(self.module(features), moved_mask.float())

        total = consistency.total + self.config.attribution_weight * attribution
        return TermLoss(total, {**consistency.parts, "attribution": attribution})


class AttributionDecoder(nn.Module):
    """Predicts the mask of salient pixels from the encoder's features.

    Every cell of a map with a quarter of the image's height and width gives the logits of its 4 x 4 pixels
    (sub-pixel convolution, Shi et al. 2016, arXiv 1609.05158).

    Args:
        features_dim: number of the encoder's features.
        frames: number of masks per image, one for each frame of a stack.
        size: height and width of the image.
    """

    def __init__(self, features_dim: int, frames: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.grid = (math.ceil(size[0] / DECODER_STRIDE), math.ceil(size[1] / DECODER_STRIDE))
        self.linear = nn.Linear(features_dim, 16 * self.grid[0] * self.grid[1])
        self.middle = nn.Conv2d(16, 32, 3, padding=1)
        self.last = nn.Conv2d(32, frames * DECODER_STRIDE**2, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits ``(B, frames, H, W)`` for features ``(B, F)``."""
        maps = torch.relu(self.linear(features)).unflatten(1, (16, *self.grid))
        logits = functional.pixel_shuffle(self.last(torch.relu(self.middle(maps))), DECODER_STRIDE)
        return logits[:, :, : self.size[0], : self.size[1]]


def saliency_maps(policy: CamPolicy, samples: CamalRolloutSamples) -> tuple[ActionEvaluation, Tensor]:
    """Return the policy's evaluation of images, and the saliency of each pixel.

    The saliency of a pixel is the largest ``|d score / d channel|`` of its frame's channels. Scores are ``V(s)`` and
    the policy's score of the action taken (:func:`camal_rl.agents.policy_score.policy_score`); the map of each is
    divided by its frame's maximum, and the two are added. ``.grad`` does not change.

    Args:
        policy: the policy, which runs in evaluation mode.
        samples: ``B`` samples.

    Returns:
        The evaluation, and the maps ``(B, frames, H, W)`` in [0, 2], detached; zero if no score has a gradient.
    """
    with evaluating(policy):
        evaluation, gradients = image_gradients(policy, samples)
    total = torch.zeros((), device=samples.observations.device)
    for gradient in gradients.values():
        total = total + per_frame(gradient)
    return evaluation, total


def per_frame(gradient: Tensor) -> Tensor:
    """Return the largest magnitude of each frame's channels, divided by the frame's maximum.

    Args:
        gradient: ``(B, C, H, W)``; if C is a multiple of 3, the frames are RGB, otherwise gray.

    Returns:
        ``(B, frames, H, W)`` in [0, 1]; a frame of zeros stays zero.
    """
    channels = channels_per_frame(gradient.shape[1])
    magnitude = gradient.detach().abs().unflatten(1, (-1, channels)).amax(dim=2)
    largest = magnitude.amax(dim=(2, 3), keepdim=True)
    return torch.where(largest > 0, magnitude / largest, 0.0)


def channels_per_frame(channels: int) -> int:
    """Return the channels of one frame: 3 (RGB) if the number of channels is a multiple of 3, else 1 (gray)."""
    return 3 if channels % 3 == 0 else 1


def salient_pixels(saliency: Tensor, quantile: float) -> Tensor:
    """Return the pixels whose saliency is above 0 and at least a quantile of their frame's saliency.

    Args:
        saliency: ``(B, frames, H, W)``, at least 0.
        quantile: in [0, 1], with linear interpolation; 1 keeps only the maximum.

    Returns:
        bool ``(B, frames, H, W)``; all False for a frame without saliency.
    """
    threshold = torch.quantile(saliency.flatten(2), quantile, dim=2)[..., None, None]
    return (saliency >= threshold) & (saliency > 0)


def masked_images(images: Tensor, mask: Tensor) -> Tensor:
    """Return images ``(B, C, H, W)`` that are black where their frame's mask ``(B, frames, H, W)`` is false."""
    return images * mask.repeat_interleave(images.shape[1] // mask.shape[1], dim=1).to(images.dtype)
