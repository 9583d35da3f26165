"""DrAC: policy and value agree on an image and on an augmented copy of it (Raileanu et al. 2021, arXiv 2006.12862)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Literal, cast, get_args

import torch
from stable_baselines3.common.distributions import Distribution, kl_divergence
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from torch.nn import functional

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.rollout_buffer import CamalRolloutSamples
from camal_rl.agents.sample_evaluation import evaluate_samples
from camal_rl.agents.terms import AuxiliaryTerm, TermLoss
from camal_rl.camal_config import MAX_WEIGHT

Augmentation = Literal["crop", "color_jitter"]

CROP_PADDING = 12 / 64
"""The share of a side by which :func:`random_crop` moves an image at most, each way: 12 pixels of 64."""

# A factor in [1 - x, 1 + x], and a hue turned by up to x full turns, each way.
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.4, 0.5

TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


@dataclass(frozen=True)
class DrACConfig:
    """Settings of DrAC.

    Attributes:
        weight: coefficient of the term, at least 0; 0.1 is the paper's ``alpha_r``.
        augmentation: ``crop``, each image moved by up to 12 pixels of 64 (:func:`random_crop`); ``color_jitter``,
            random brightness, contrast, saturation and hue (:func:`color_jitter`).
    """

    weight: float = 0.1
    augmentation: Augmentation = "crop"

    def __post_init__(self) -> None:
        """Check every setting; a ValueError or TypeError names it, what was expected and what came."""
        if not isinstance(self.weight, Real) or isinstance(self.weight, bool):
            raise TypeError(f"drac.weight must be a number, got {self.weight!r}")
        if not 0 <= self.weight < math.inf:
            raise ValueError(f"drac.weight must be a finite number of at least 0, got {self.weight}")
        if self.weight > MAX_WEIGHT:
            raise ValueError(f"drac.weight must be at most {MAX_WEIGHT:.0e}, got {self.weight}")
        known = get_args(Augmentation)
        if self.augmentation not in known:
            raise ValueError(f"drac.augmentation must be one of {', '.join(known)}, got {self.augmentation!r}")


class DrACTerm(AuxiliaryTerm):
    """``KL(pi(.|s) || pi(.|f(s))) + (V(s) - V(f(s)))^2``, means over the minibatch (sec. 3 of the paper).

    ``f`` augments each image on its own. ``pi(.|s)`` and ``V(s)`` are constants: gradients flow through the augmented
    images only.
    """

    name: ClassVar[str] = "drac"
    config_type: ClassVar[type[Any]] = DrACConfig
    config: DrACConfig

    def __init__(self, config: DrACConfig | None = None, seed: int = 0) -> None:
        super().__init__(DrACConfig() if config is None else config, seed)
        self._generator = torch.Generator().manual_seed(seed)
        self._policy: ActorCriticPolicy | None = None

    def setup(self, policy: ActorCriticPolicy, env: VecEnv | None) -> None:
        """Check that observations are images, and keep the policy, which is asked about augmented ones."""
        shape = policy.observation_space.shape
        if shape is None or len(shape) != 3:
            raise ValueError(
                f"DrAC augments images, and the observations are {policy.observation_space}; leave drac out or "
                "give it weight 0"
            )
        self._policy = policy

    def loss(self, minibatch: CamalRolloutSamples, evaluation: ActionEvaluation, progress: float) -> TermLoss:
        """Return the disagreement between the minibatch's images and their augmented copies."""
        if self._policy is None:
            raise RuntimeError("setup() comes before loss()")
        images = AUGMENTATIONS[self.config.augmentation](minibatch.observations, self._generator)
        samples = minibatch._replace(observations=images)
        augmented = evaluate_samples(cast(CamPolicy, self._policy), samples, num_attention_frames=0)
        divergence = policy_divergence(evaluation.distribution, augmented.distribution)
        error = functional.mse_loss(augmented.value, evaluation.value.detach())
        return TermLoss(divergence + error, {"policy": divergence, "value": error})


def policy_divergence(target: Distribution, augmented: Distribution) -> Tensor:
    """Return ``KL(target || augmented)``, the sum over an action's dimensions, the mean over observations.

    Args:
        target: a constant: no gradient flows through it.
        augmented: what the policy says of augmented images; gradients flow through it.
    """
    divergence = kl_divergence(_detached(target), augmented)
    return divergence.flatten(1).sum(dim=1).mean() if divergence.dim() > 1 else divergence.mean()


def _detached(distribution: Distribution) -> Distribution:
    """Return a copy of a distribution through whose parameters no gradient flows."""
    constant = copy.copy(distribution)
    inner: Any = distribution.distribution
    constant.distribution = [_constant(each) for each in inner] if isinstance(inner, list) else _constant(inner)
    return constant


def _constant(distribution: Any) -> Any:
    names = ("loc", "scale") if hasattr(distribution, "loc") else ("logits",)
    return type(distribution)(**{name: getattr(distribution, name).detach() for name in names})


def random_crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Cut each image at a random place out of its copy with a border, which repeats the outermost pixels.

    Args:
        images: ``(B, C, H, W)``.
        generator: on the CPU; source of the offsets, whole pixels up to :data:`CROP_PADDING` of a side, each way.

    Returns:
        ``(B, C, H, W)`` of the same type.
    """
    batch, _, height, width = images.shape
    rows, columns = (_offsets(batch, side, generator).to(images.device) for side in (height, width))
    return translate(images, rows, columns)


def translate(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return images whose pixel ``(y, x)`` is that of ``(y + rows, x + columns)``, or of the border nearest to it.

    Args:
        images: ``(B, C, H, W)``.
        rows: whole numbers ``(B,)``.
        columns: whole numbers ``(B,)``.
    """
    batch, _, height, width = images.shape
    y = (torch.arange(height, device=images.device) + rows[:, None]).clamp_(0, height - 1)
    x = (torch.arange(width, device=images.device) + columns[:, None]).clamp_(0, width - 1)
    index = torch.arange(batch, device=images.device)[:, None, None]
    # Channels last, where simulators have them.
    return images.permute(0, 2, 3, 1)[index, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)


def _offsets(batch: int, side: int, generator: torch.Generator) -> Tensor:
    reach = max(1, round(CROP_PADDING * side))
    return torch.randint(-reach, reach + 1, (batch,), generator=generator)


def color_jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue of each image at random, by factors around 1 and a turn around 0.

    Args:
        images: as :func:`adjust_colors` takes them.
        generator: on the CPU; source of the factors.
    """
    batch, device = len(images), images.device
    brightness, contrast, saturation, hue = (2 * torch.rand(4, batch, generator=generator) - 1).to(device)
    return adjust_colors(
        images, 1 + BRIGHTNESS * brightness, 1 + CONTRAST * contrast, 1 + SATURATION * saturation, HUE * hue
    )


def adjust_colors(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Return images with other colors; all frames of a stack change alike.

    Saturation and hue scale and turn the chroma in the YIQ space, where both are linear. Contrast scales the distance
    from the image's mean, and brightness everything.

    Args:
        images: ``uint8 (B, C, H, W)``, or floats in [0, 1]. Where C is a multiple of 3 it holds RGB frames; otherwise
            gray ones, whose hue and saturation stay.
        brightness: factors ``(B,)``, 1 changes nothing.
        contrast: factors ``(B,)``, 1 changes nothing.
        saturation: factors ``(B,)``, 1 changes nothing, 0 gives gray.
        hue: full turns ``(B,)``, 0 changes nothing.

    Returns:
        ``(B, C, H, W)`` of the same type and range.
    """
    whole = not images.is_floating_point()
    real = images.float()
    if images.shape[1] % 3 == 0:
        frames = real.unflatten(1, (-1, 3))
        real = torch.einsum("bij,bfjhw->bfihw", _chroma_matrix(saturation, hue), frames).flatten(1, 2)
    mean = real.mean(dim=(1, 2, 3), keepdim=True)
    changed = ((real - mean) * contrast.view(-1, 1, 1, 1) + mean) * brightness.view(-1, 1, 1, 1)
    changed = changed.clamp_(0, 255 if whole else 1)
    return (changed.round_() if whole else changed).to(images.dtype)


def _chroma_matrix(saturation: Tensor, hue: Tensor) -> Tensor:
    """Return ``(B, 3, 3)``: RGB to YIQ, chroma scaled and turned, and back."""
    to_yiq = torch.tensor(TO_YIQ, device=hue.device)
    angle = 2 * torch.pi * hue
    turn = torch.zeros(len(hue), 3, 3, device=hue.device)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * angle.cos()
    turn[:, 2, 1] = saturation * angle.sin()
    turn[:, 1, 2] = -turn[:, 2, 1]
    return torch.linalg.inv(to_yiq) @ turn @ to_yiq


AUGMENTATIONS: Mapping[Augmentation, Callable[[Tensor, torch.Generator], Tensor]] = {
    "crop": random_crop,
    "color_jitter": color_jitter,
}
