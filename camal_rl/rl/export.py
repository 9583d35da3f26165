"""An agent as one file that acts without this package and without SB3: a ``torch.export`` program or ONNX.

The program is the network alone: no attention, no mask, nothing of CAMAL. Images ``uint8 (B, H, W, C)`` go in, as
environments give them; division by 255 is inside; out come the parameters of the action distribution and the value.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

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
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import is_image_space, preprocess_obs
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from camal_rl.agents.encoders import CamEncoder, is_shipped
from camal_rl.atomic import PARTIAL, explained, put_in_place
from camal_rl.extras import install_command
from camal_rl.runs.folders import check_writable
from camal_rl.training_modes import evaluating

ExportFormat = Literal["pt2", "onnx"]
Outputs = dict[str, Tensor]
Arrays = dict[str, npt.NDArray[np.float32]]
Runner = Callable[[npt.NDArray[np.uint8]], Arrays]
# ONNX's reference implementation, which reads the file again, adds in another order and in float32 only.
TOLERANCE: dict[ExportFormat, float] = {"pt2": 1e-5, "onnx": 1e-4}
_ONNX_PACKAGES = ("onnx", "onnxscript")
_BATCHES = (1, 5)
_WITH_LOGITS = (CategoricalDistribution, MultiCategoricalDistribution, BernoulliDistribution)


class ExportMismatch(RuntimeError):
    """The written program does not compute what the policy computes."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        image_shape: ``(H, W, C)`` of the images it takes.
        outputs: names of what it gives, in order.
        difference: largest difference from the policy's outputs on random frames; where outputs are larger than 1, as
            a part of the largest.
    """

    path: Path
    image_shape: tuple[int, int, int]
    outputs: tuple[str, ...]
    difference: float


class ActingNetwork(nn.Module):
    """The part of an actor-critic policy that acts, as a plain module.

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


def _features(encoder: nn.Module, images: Tensor) -> Tensor:
    if is_shipped(encoder):
        # The same layers without what training needs: no autocast, no memory formats.
        return cast(Tensor, encoder.linear(encoder.cnn(images).flatten(1)))  # type: ignore[operator]
    return cast(Tensor, encoder(images))


def check_export(policy: ActorCriticPolicy, out: Path, file_format: str) -> ExportFormat:
    """Return the format; what cannot be exported is refused, before anything is written.

    Raises:
        ValueError: unknown format, a file name of another format, or a policy without an exportable network.
        FileExistsError: there is such a file.
        OSError: it cannot be written.
        ImportError: packages for ONNX are missing.
    """
    if file_format not in get_args(ExportFormat):
        raise ValueError(f"the format must be one of {', '.join(get_args(ExportFormat))}, got {file_format!r}")
    if out.suffix != f".{file_format}":
        raise ValueError(
            f"the name of a {file_format} file ends in .{file_format}, got {out}; or give another --format"
        )
    if out.exists():
        raise FileExistsError(f"{out} exists; give another --out or remove it")
    check_writable(out)
    missing = [name for name in _ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if file_format == "onnx" and missing:
        raise ImportError(f"ONNX needs {' and '.join(missing)}; install with: {install_command('onnx')}")
    _check_policy(policy)
    return cast(ExportFormat, file_format)


def _check_policy(policy: ActorCriticPolicy) -> None:
    if not isinstance(policy, ActorCriticPolicy):
        raise ValueError(f"only an actor-critic policy can be exported, got {type(policy).__name__}")
    if not is_image_space(policy.observation_space):
        raise ValueError(f"only policies for uint8 images can be exported, got {policy.observation_space}")
    if type(policy.action_dist) not in (*_WITH_LOGITS, DiagGaussianDistribution):
        raise ValueError(f"actions drawn from a {type(policy.action_dist).__name__} cannot be exported")
    if policy.device.type != "cpu":
        raise ValueError(f"move the policy to the CPU first, with policy.cpu(); it is on {policy.device}")


def export_policy(policy: ActorCriticPolicy, out: Path, file_format: ExportFormat = "pt2") -> Exported:
    """Write what a policy needs to act, read the file again and compare it with the policy.

    Args:
        policy: any SB3 actor-critic policy for images, on the CPU; it stays as it is.
        out: the file, which must not exist; it appears only when it has passed the comparison.
        file_format: ``pt2`` (``torch.export``) or ``onnx``.

    Raises:
        ExportMismatch: an output differs from the policy's by more than the format's ``TOLERANCE``.
        WriteError: the file cannot be written.
    """
    check_export(policy, out, file_format)
    program = acting_program(policy)
    with explained(out), _temporary_folder(out) as folder:
        written = folder / out.name
        if file_format == "onnx":
            _save_onnx(program, written, output_names(policy))
        else:
            # Through memory: torch's own writer ends the process where the disk is full.
            buffer = io.BytesIO()
            torch.export.save(program, buffer)
            written.write_bytes(buffer.getvalue())
        difference = _difference(policy, written)
        if not difference <= TOLERANCE[file_format]:
            raise ExportMismatch(
                f"the program differs from the policy by {difference:.2g}, more than {TOLERANCE[file_format]:g}; "
                "nothing was written"
            )
        put_in_place(written, out)
    channels, height, width = cast(tuple[int, int, int], policy.observation_space.shape)
    return Exported(out, (height, width, channels), output_names(policy), difference)


@contextmanager
def _temporary_folder(out: Path) -> Iterator[Path]:
    """Yield a folder beside a file, which is made where it is missing."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=PARTIAL, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def output_names(policy: ActorCriticPolicy) -> tuple[str, ...]:
    """Return the names of the program's outputs, in order."""
    gaussian = isinstance(policy.action_dist, DiagGaussianDistribution)
    return ("log_std", "mean", "value") if gaussian else ("logits", "value")


def acting_program(policy: ActorCriticPolicy) -> ExportedProgram:
    """Return the graph of a policy's :class:`ActingNetwork` in float32, with a dynamic batch dimension."""
    # With gradients the pooling of IMPALA is one operation; without, it is several that are fast in eager mode.
    with _acting(policy), torch.enable_grad():
        images = torch.from_numpy(_random_frames(policy, 2))
        shapes = {"images": {0: Dim("batch", min=1)}}
        network: nn.Module = copy.deepcopy(ActingNetwork(policy)).requires_grad_(False)
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        program = torch.export.export(network, (images,), dynamic_shapes=shapes)
    for node in program.graph.nodes:
        # Paths of this machine do not belong into the file.
        node.meta.pop("stack_trace", None)
    return program


@contextmanager
def _acting(policy: ActorCriticPolicy) -> Iterator[None]:
    """Let a policy evaluate in float32 inside the block."""
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


def _random_frames(policy: ActorCriticPolicy, count: int) -> npt.NDArray[np.uint8]:
    channels, height, width = cast(tuple[int, int, int], policy.observation_space.shape)
    return np.random.default_rng(count).integers(0, 256, (count, height, width, channels), np.uint8)


def _save_onnx(program: ExportedProgram, path: Path, outputs: tuple[str, ...]) -> None:
    with _quiet():
        torch.onnx.export(
            program,
            f=path,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=["images"],
            output_names=outputs,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop warnings inside the block: the ONNX exporter's are of its own internals."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _difference(policy: ActorCriticPolicy, path: Path) -> float:
    """Return how far the written program's outputs are from what the policy's own methods return."""
    run = _onnx_runner(path) if path.suffix == ".onnx" else _pt2_runner(path)
    largest = 0.0
    for count in _BATCHES:
        frames = _random_frames(policy, count)
        got = _comparable(policy, run(frames))
        with _acting(policy), torch.no_grad():
            images = policy.obs_to_tensor(frames)[0]
            expected = [*_parameters(policy.get_distribution(images)), policy.predict_values(images)]
        for ours, theirs in zip(got, expected, strict=True):
            if ours.shape != theirs.shape:
                raise ExportMismatch(f"an output has shape {tuple(ours.shape)}, the policy's {tuple(theirs.shape)}")
            scale = max(1.0, float(theirs.abs().max()))
            largest = max(largest, float((ours - theirs).abs().max()) / scale)
    return largest


def _comparable(policy: ActorCriticPolicy, outputs: Arrays) -> list[Tensor]:
    """Return the parameters of the distribution that SB3 makes of a program's outputs, and the value."""
    *actions, value = (torch.tensor(outputs[name]) for name in output_names(policy))
    if isinstance(policy.action_dist, DiagGaussianDistribution):
        log_std, mean = actions
        return [*_parameters(policy.action_dist.proba_distribution(mean, log_std)), value]
    return [*_parameters(policy.action_dist.proba_distribution(action_logits=actions[0])), value]


def _parameters(action_dist: Distribution) -> list[Tensor]:
    """Return what determines a distribution; SB3 normalizes logits, so those of two programs are comparable."""
    inner: Any = action_dist.distribution
    if isinstance(action_dist, DiagGaussianDistribution):
        return [inner.mean, inner.stddev]
    return [part.logits for part in (inner if isinstance(inner, list) else [inner])]


def _pt2_runner(path: Path) -> Runner:
    network = torch.export.load(path).module()

    def run(frames: npt.NDArray[np.uint8]) -> Arrays:
        with torch.no_grad():
            return {name: tensor.numpy() for name, tensor in network(torch.from_numpy(frames)).items()}

    return run


def _onnx_runner(path: Path) -> Runner:
    evaluator = importlib.import_module("onnx.reference").ReferenceEvaluator(str(path))

    def run(frames: npt.NDArray[np.uint8]) -> Arrays:
        return dict(zip(evaluator.output_names, evaluator.run(None, {"images": frames}), strict=True))

    return run
