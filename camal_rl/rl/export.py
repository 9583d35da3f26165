"""Exports an agent as one file that runs without this package and SB3: a ``torch.export`` program or ONNX.

The program is only the network, without attention maps, masks or CAMAL. The input is images ``uint8 (B, H, W, C)`` as
environments return them; the division by 255 is included. The outputs are the parameters of the action distribution and
the value; for a Q-network, the Q-values.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    MultiCategoricalDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.preprocessing import is_image_space, preprocess_obs
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from camal_rl.agents import AttentivePolicy
from camal_rl.agents.cam_encoder import CamEncoder
from camal_rl.agents.encoders import is_shipped
from camal_rl.rl.policy_file import load_policy, save_policy
from camal_rl.runs.program_file import (
    Arrays,
    Exported,
    ExportFormat,
    ExportMismatch,
    Runner,
    check_target,
    write_program,
)
from camal_rl.training_modes import evaluating

__all__ = ["ExportFormat", "ExportMismatch", "Exported", "acting_program", "check_export", "export_policy"]

Outputs = dict[str, Tensor]
_BATCHES = (1, 5)
_WITH_LOGITS = (CategoricalDistribution, MultiCategoricalDistribution, BernoulliDistribution)


class ActingNetwork(nn.Module):
    """The acting part of an actor-critic policy as a plain module.

    ``forward`` takes images ``uint8 (B, H, W, C)`` and returns ``value (B, 1)`` with ``logits (B, A)``, or with
    ``mean (B, A)`` and ``log_std (A,)`` for continuous actions.
    """

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__()
        self.observation_space, self.normalize_images = policy.observation_space, policy.normalize_images
        encoders = [policy.pi_features_extractor, policy.vf_features_extractor]
        self.encoders = nn.ModuleList(encoders[:1] if policy.share_features_extractor else encoders)
        self.mlp_extractor, self.action_net, self.value_net = policy.mlp_extractor, policy.action_net, policy.value_net
        self.log_std = policy.log_std if isinstance(policy.action_dist, DiagGaussianDistribution) else None

    def forward(self, images: Tensor) -> Outputs:
        """Return the outputs by name."""
        channels_first = preprocess_obs(images.permute(0, 3, 1, 2), self.observation_space, self.normalize_images)
        features = [_features(encoder, cast(Tensor, channels_first)) for encoder in self.encoders]
        actions = self.action_net(self.mlp_extractor.forward_actor(features[0]))
        value = self.value_net(self.mlp_extractor.forward_critic(features[-1]))
        if self.log_std is None:
            return {"logits": actions, "value": value}
        return {"log_std": self.log_std, "mean": actions, "value": value}


class QActingNetwork(nn.Module):
    """The acting part of a DQN policy as a plain module.

    ``forward`` takes images ``uint8 (B, H, W, C)`` and returns ``q (B, A)``, whose largest entry is the greedy action.
    """

    def __init__(self, policy: DQNPolicy) -> None:
        super().__init__()
        self.observation_space, self.normalize_images = policy.observation_space, policy.normalize_images
        self.encoder, self.head = policy.q_net.features_extractor, policy.q_net.q_net

    def forward(self, images: Tensor) -> Outputs:
        """Return the outputs by name."""
        channels_first = preprocess_obs(images.permute(0, 3, 1, 2), self.observation_space, self.normalize_images)
        return {"q": self.head(_features(self.encoder, cast(Tensor, channels_first)))}


def _network(policy: BasePolicy) -> nn.Module:
    return QActingNetwork(policy) if isinstance(policy, DQNPolicy) else ActingNetwork(cast(ActorCriticPolicy, policy))


def _features(encoder: nn.Module, images: Tensor) -> Tensor:
    if is_shipped(encoder):
        # The same layers without autocast and memory formats, which only training needs.
        return cast(Tensor, encoder.linear(encoder.cnn(images).flatten(1)))  # type: ignore[operator]
    return cast(Tensor, encoder(images))


def check_export(policy: BasePolicy, out: Path, file_format: str) -> ExportFormat:
    """Check that an export is possible before anything is written, and return its format.

    Raises:
        ValueError: the format is unknown, the file name belongs to another format, or the policy has no exportable
            network.
        FileExistsError: the file exists.
        OSError: the file cannot be written.
        ImportError: packages for ONNX are missing.
    """
    kind = check_target(out, file_format)
    if kind == "safetensors":
        if not isinstance(policy, AttentivePolicy):
            raise ValueError(
                f"safetensors requires a camal_rl.agents.CamPolicy, got a {type(policy).__name__} "
                "(that of DQN is a CamQPolicy)"
            )
        return kind
    _check_policy(policy)
    return kind


def _check_policy(policy: BasePolicy) -> None:
    if not isinstance(policy, ActorCriticPolicy | DQNPolicy):
        raise ValueError(f"only an actor-critic or DQN policy can be exported, got {type(policy).__name__}")
    if not is_image_space(policy.observation_space):
        raise ValueError(f"only policies for uint8 images can be exported, got {policy.observation_space}")
    known = (*_WITH_LOGITS, DiagGaussianDistribution)
    if isinstance(policy, ActorCriticPolicy) and type(policy.action_dist) not in known:
        raise ValueError(f"actions drawn from a {type(policy.action_dist).__name__} cannot be exported")
    if policy.device.type != "cpu":
        raise ValueError(f"move the policy to the CPU first, with policy.cpu(); it is on {policy.device}")


def export_policy(policy: BasePolicy, out: Path, file_format: ExportFormat = "pt2") -> Exported:
    """Write the acting part of a policy, read the file again and compare it with the policy.

    Args:
        policy: any actor-critic or DQN policy of SB3 for images, on the CPU; not modified. ``safetensors`` needs a
            policy with attention maps.
        out: the file, which must not exist; it appears only after passing the comparison.
        file_format: ``pt2`` (``torch.export``), ``onnx``, or ``safetensors``, beside which a JSON file is written
            (:mod:`camal_rl.rl.policy_file`).

    Raises:
        ExportMismatch: an output differs from the policy's by more than the format's ``TOLERANCE``.
        WriteError: the file cannot be written.
    """
    check_export(policy, out, file_format)
    if file_format == "safetensors":
        return export_agent(policy, out)
    program = acting_program(policy)
    names = output_names(policy)
    difference = write_program(program, out, file_format, names, lambda run: _difference(policy, run))
    return Exported(out, _image_shape(policy), names, difference, _note(policy))


def export_agent(model: Any, out: Path) -> Exported:
    """Write a policy, or a model's policy, as safetensors and JSON, and verify both files.

    Raises:
        ExportMismatch: the files do not give the written policy.
        WriteError: a file cannot be written.
    """
    policy = model if isinstance(model, AttentivePolicy) else model.policy
    save_policy(model, out.parent, out.stem)
    again = load_policy(out, "cpu", trust=True).state_dict()
    if not all(torch.equal(value.cpu(), again[name]) for name, value in policy.state_dict().items()):
        raise ExportMismatch(f"{out} does not contain the weights of the policy")
    return Exported(out, _image_shape(policy), output_names(policy), 0.0, _note(policy))


def _image_shape(policy: BasePolicy) -> tuple[int, int, int]:
    channels, height, width = cast(tuple[int, int, int], policy.observation_space.shape)
    return height, width, channels


def _note(policy: BasePolicy) -> str:
    """Return the required preprocessing of images before a policy's network."""
    masking = getattr(policy, "masking", None)
    if masking is None:
        return ""
    return f"it expects images masked by {masking}: the network needs masks to act (camal_rl.envs.MaskedVecEnv)"


def output_names(policy: BasePolicy) -> tuple[str, ...]:
    """Return the names of the program's outputs, in order."""
    if not isinstance(policy, ActorCriticPolicy):
        return ("q",)
    gaussian = isinstance(policy.action_dist, DiagGaussianDistribution)
    return ("log_std", "mean", "value") if gaussian else ("logits", "value")


def acting_program(policy: BasePolicy) -> ExportedProgram:
    """Return the graph of the acting part of a policy, in float32, with a dynamic batch dimension."""
    # With gradients the pooling of IMPALA is one operation; without, it is several that are fast in eager mode.
    with _acting(policy), torch.enable_grad():
        images = torch.from_numpy(_random_frames(policy, 2))
        shapes = {"images": {0: Dim("batch", min=1)}}
        network: nn.Module = copy.deepcopy(_network(policy)).requires_grad_(False)
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        program = torch.export.export(network, (images,), dynamic_shapes=shapes)
    return program


@contextmanager
def _acting(policy: BasePolicy) -> Iterator[None]:
    """Make a policy evaluate in float32 inside the block."""
    encoders = [module for module in policy.modules() if isinstance(module, CamEncoder)]
    precisions = [encoder.precision for encoder in encoders]
    try:
        for encoder in encoders:
            encoder.precision = "float32"
        with evaluating(policy):
            yield
    finally:
        for encoder, precision in zip(encoders, precisions, strict=True):
            encoder.precision = precision


def _random_frames(policy: BasePolicy, count: int) -> npt.NDArray[np.uint8]:
    channels, height, width = cast(tuple[int, int, int], policy.observation_space.shape)
    return np.random.default_rng(count).integers(0, 256, (count, height, width, channels), np.uint8)


def _difference(policy: BasePolicy, run: Runner) -> float:
    """Return the difference between the outputs of the written program and of the policy's own methods."""
    largest = 0.0
    for count in _BATCHES:
        frames = _random_frames(policy, count)
        got = _comparable(policy, run(frames))
        with _acting(policy), torch.no_grad():
            images = policy.obs_to_tensor(frames)[0]
            expected = _expected(policy, cast(Tensor, images))
        for ours, theirs in zip(got, expected, strict=True):
            if ours.shape != theirs.shape:
                raise ExportMismatch(
                    f"an output has shape {tuple(ours.shape)}, but the policy's has {tuple(theirs.shape)}"
                )
            scale = max(1.0, float(theirs.abs().max()))
            largest = max(largest, float((ours - theirs).abs().max()) / scale)
    return largest


def _expected(policy: BasePolicy, images: Tensor) -> list[Tensor]:
    """Return the outputs of the policy's own methods, in the order of :func:`_comparable`."""
    if not isinstance(policy, ActorCriticPolicy):
        return [cast(DQNPolicy, policy).q_net(images)]
    return [*_parameters(policy.get_distribution(images)), policy.predict_values(images)]


def _comparable(policy: BasePolicy, outputs: Arrays) -> list[Tensor]:
    """Return the parameters of SB3's distribution for a program's outputs, and the value; or Q-values."""
    if not isinstance(policy, ActorCriticPolicy):
        return [torch.tensor(outputs["q"])]
    *actions, value = (torch.tensor(outputs[name]) for name in output_names(policy))
    if isinstance(policy.action_dist, DiagGaussianDistribution):
        log_std, mean = actions
        return [*_parameters(policy.action_dist.proba_distribution(mean, log_std)), value]
    return [*_parameters(policy.action_dist.proba_distribution(action_logits=actions[0])), value]


def _parameters(action_dist: Distribution) -> list[Tensor]:
    """Return the parameters of a distribution; SB3 normalizes logits, so they are comparable between programs."""
    inner: Any = action_dist.distribution
    if isinstance(action_dist, DiagGaussianDistribution):
        return [inner.mean, inner.stddev]
    return [part.logits for part in (inner if isinstance(inner, list) else [inner])]
