"""Stores a trained policy as two files without code: weights in safetensors, everything else in JSON.

``model.safetensors`` contains the weights, ``model.json`` the arguments of the policy, and the size and checksum of the
weights. Reading them cannot run code; docs/model_files.md lists what is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.utils import get_device
from torch import Tensor

from camal_rl import __version__
from camal_rl.agents import AttentivePolicy
from camal_rl.agents.encoders import SHIPPED_ENCODERS
from camal_rl.atomic import replacing
from camal_rl.foreign_code import no_code_from
from camal_rl.rl.policy_arguments import arguments_of, arguments_type, policy_class, policy_path
from camal_rl.rl.space_json import space_from_json, space_to_json
from camal_rl.runs.checks import shown
from camal_rl.runs.folders import sha256_of, share_file
from camal_rl.runs.json_files import content_sum, finite, read_json, write_json

FORMAT = "camal_rl policy"
FORMAT_VERSION = 1
WEIGHTS, DESCRIPTION = ".safetensors", ".json"
POLICY_NAME = "model"
CHECKSUM = "checksum"
_LARGEST_DESCRIPTION = 2**23
_KEYS = (
    "format", "version", "camal_rl", "weights", "policy", "observation_space", "action_space", "arguments",
    "num_timesteps", "training", CHECKSUM,
)  # fmt: skip
_REMEDY = "restore it from a copy, or save the policy again"


@dataclass(frozen=True)
class PolicyFile:
    """A policy that has been read and checked.

    Attributes:
        policy: the policy, in evaluation mode.
        num_timesteps: number of environment steps of its training.
        training: plain data on its training, as far as the file contains it.
    """

    policy: AttentivePolicy
    num_timesteps: int
    training: Mapping[str, Any]


def save_policy(model: Any, folder: Path | str, name: str = POLICY_NAME) -> Path:
    """Write a policy as ``<name>.safetensors`` and ``<name>.json``, replacing earlier ones.

    Each file is written atomically. A kill between the two leaves a pair that is refused when loaded.

    Args:
        model: a :class:`camal_rl.agents.AttentivePolicy`, or an algorithm of Stable-Baselines3 that has one.
        folder: the folder; created if missing.
        name: file name without suffix.

    Returns:
        The JSON file.

    Raises:
        TypeError: the policy is of another kind.
        ValueError: an argument of the policy cannot be stored in JSON, or weights are not finite.
        WriteError: a file cannot be written.
    """
    policy = model if isinstance(model, AttentivePolicy) else getattr(model, "policy", model)
    if not isinstance(policy, AttentivePolicy):
        raise TypeError(
            f"a policy file holds a camal_rl.agents.CamPolicy, got a {type(policy).__name__} (that of DQN is a "
            "CamQPolicy); save the whole model with its own save()"
        )
    data = _description(policy, model)
    tensors = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in own_tensors(policy).items()}
    _check_finite(tensors, "the policy")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights, description = folder / f"{name}{WEIGHTS}", folder / f"{name}{DESCRIPTION}"
    _write_weights(weights, tensors)
    told = {"bytes": weights.stat().st_size, "sha256": sha256_of(weights)}
    whole = finite({**data, "weights": told})
    write_json(description, {**whole, CHECKSUM: checksum(whole)})
    return description


def load_policy(path: Path | str, device: torch.device | str = "auto", trust: bool = False) -> AttentivePolicy:
    """Load a policy that :func:`save_policy` wrote, in evaluation mode; no code in the files is executed.

    A policy whose ``masking`` is not ``None`` needs masks to act: wrap its environment in
    ``camal_rl.envs.MaskedVecEnv(env, policy.masking)``.

    Args:
        path: the folder of a run, of a checkpoint or of an exported policy; or one of the two files.
        device: its device; ``auto`` is the GPU if there is one.
        trust: allow importing an encoder or policy class from the folder itself.

    Raises:
        FileNotFoundError: there is no such policy.
        ValueError: a file is damaged or foreign, or names an encoder that cannot be imported; one line that names it.
    """
    return read_policy(Path(path), device, trust).policy


def read_policy(path: Path, device: torch.device | str = "auto", trust: bool = False) -> PolicyFile:
    """Load a policy like :func:`load_policy`, with the information on its training."""
    description, weights = policy_files(path)
    for file in (description, weights):
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: a policy is {description.name} and {weights.name}; {_REMEDY}")
    with no_code_from(None if trust else description.parent):
        try:
            return _read(description, weights, device)
        except ValueError:
            raise
        # A policy class or a user's encoder may fail in any way with the arguments of a foreign file.
        except Exception as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise ValueError(f"{description} does not describe a policy that can be made here ({told})") from error


def policy_files(path: Path) -> tuple[Path, Path]:
    """Return the description and the weights of the policy at a path, a folder or one of the two, which may be missing.

    Raises:
        FileNotFoundError: the path is neither a folder nor the name of such a file.
    """
    if path.is_dir():
        path = path / POLICY_NAME
        return path.with_name(f"{POLICY_NAME}{DESCRIPTION}"), path.with_name(f"{POLICY_NAME}{WEIGHTS}")
    if path.suffix not in (WEIGHTS, DESCRIPTION):
        raise FileNotFoundError(
            f"{path} is no folder that holds a policy, nor a file {POLICY_NAME}{DESCRIPTION} or {POLICY_NAME}{WEIGHTS}"
        )
    return path.with_suffix(DESCRIPTION), path.with_suffix(WEIGHTS)


def checksum(data: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a description says, whatever its own checksum in it is."""
    return content_sum({key: value for key, value in data.items() if key != CHECKSUM})


def own_tensors(policy: AttentivePolicy) -> dict[str, Tensor]:
    """Return a policy's parameters and buffers by name, those that it has under several names once.

    Raises:
        ValueError: its state holds something else than tensors.
    """
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in policy.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} in the state of the policy must be a tensor, got {shown(value)}")
        if id(value) not in seen:
            seen.add(id(value))
            found[name] = value
    return found


def _description(policy: AttentivePolicy, model: Any) -> dict[str, Any]:
    """Return what the JSON file says of a policy, without its weights."""
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "camal_rl": __version__,
        "policy": policy_path(policy),
        "observation_space": space_to_json(policy.observation_space),
        "action_space": space_to_json(policy.action_space),
        "arguments": arguments_of(policy).as_dict(),
        "num_timesteps": int(getattr(model, "num_timesteps", 0)),
        "training": _training_of(model),
    }


def _training_of(model: Any) -> dict[str, Any]:
    """Return which algorithm and which settings of CAMAL trained a model, nothing for a policy alone."""
    if isinstance(model, AttentivePolicy):
        return {}
    told = getattr(model, "training", None)
    if isinstance(told, Mapping):  # of a policy that was read from such a file
        return dict(told)
    camal = getattr(model, "camal", None)
    settings = {} if camal is None else {"camal": {**asdict(camal), "targets": list(camal.targets)}}
    return {"algorithm": type(model).__name__, **settings}


def _write_weights(path: Path, tensors: dict[str, Tensor]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with replacing(path) as partial:
        try:
            save_file(tensors, str(partial))
        except SafetensorError as error:
            raise OSError(str(error)) from error
        share_file(partial)


def _read(description: Path, weights: Path, device: torch.device | str) -> PolicyFile:
    data = _read_description(description)
    tensors = _read_weights(weights, data["weights"], description)
    try:
        spaces = [space_from_json(data[key], key) for key in ("observation_space", "action_space")]
        kind = policy_class(data["policy"])
        arguments = arguments_type(kind).of(data["arguments"])
        kwargs = arguments.as_kwargs(kind)
    except ValueError as error:
        raise ValueError(f"{description} does not describe a policy: {error}") from error
    with torch.random.fork_rng([]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        empty = _without_numbers(kind, spaces, kwargs, description)
        if empty is not None:
            # Before memory is taken for what a foreign file describes.
            _check_same(own_tensors(empty), tensors, weights)
        policy = _built(kind, spaces, kwargs, description)
        _take_over(policy, tensors, weights)
        policy = policy.to(get_device(device))
        arguments.finish(policy)
    policy.set_training_mode(False)
    return PolicyFile(policy, data["num_timesteps"], data["training"])


def _read_description(file: Path) -> dict[str, Any]:
    if file.stat().st_size > _LARGEST_DESCRIPTION:
        raise ValueError(f"{file} does not describe a policy: it has more than {_LARGEST_DESCRIPTION} bytes")
    data = read_json(file)
    if data.get("format") != FORMAT or data.get("version") != FORMAT_VERSION:
        raise ValueError(
            f"{file} does not describe a policy that this version reads: format {shown(data.get('format'))}, version "
            f"{shown(data.get('version'))}, expected {FORMAT!r}, {FORMAT_VERSION}"
        )
    if set(data) != set(_KEYS):
        wrong = sorted(set(data) ^ set(_KEYS))
        raise ValueError(f"{file} does not describe a policy: the key {shown(wrong[0])} is missing or unknown")
    if data[CHECKSUM] != checksum(data):
        raise ValueError(f"{file} is damaged: what it says does not have its own checksum; {_REMEDY}")
    weights = data["weights"]
    if not isinstance(weights, dict) or set(weights) != {"bytes", "sha256"}:
        raise ValueError(f"{file} does not describe a policy: weights must have bytes and sha256, got {shown(weights)}")
    for key, kind in (("num_timesteps", int), ("training", dict), ("camal_rl", str), ("policy", str)):
        if type(data[key]) is not kind:
            raise ValueError(f"{file} does not describe a policy: {key} must be of {kind}, got {shown(data[key])}")
    return data


def _read_weights(file: Path, told: Mapping[str, Any], description: Path) -> dict[str, Tensor]:
    """Return the tensors of a file whose size and checksum are those that its description tells."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    # One reading, so that what is checked is what is loaded.
    content = file.read_bytes() if file.stat().st_size == told["bytes"] else b""
    if not content or hashlib.sha256(content).hexdigest() != told["sha256"]:
        raise ValueError(f"{file} does not belong to {description}: its size or SHA-256 is another one; {_REMEDY}")
    try:
        tensors: dict[str, Tensor] = load(content)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError, MemoryError) as error:
        raise ValueError(
            f"{file} cannot be read as weights ({' '.join(str(error).split())[:200]}); {_REMEDY}"
        ) from error
    _check_finite(tensors, str(file))
    return tensors


def _check_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    bad = next((name for name, each in tensors.items() if not bool(each.isfinite().all())), None)
    if bad is not None:
        raise ValueError(f"{what} holds weights that are not finite, {bad} among them")


def _without_numbers(
    kind: type[AttentivePolicy], spaces: Sequence[Any], kwargs: Mapping[str, Any], description: Path
) -> AttentivePolicy | None:
    """Return a policy whose weights have shapes alone; ``None`` where an encoder of the user's own needs numbers."""
    # Weights are of one type whatever the arithmetic, and there is no autocast on this device.
    plain = {name: "float32" if name == "precision" else value for name, value in kwargs.items()}
    own = kwargs["features_extractor_kwargs"]
    plain["features_extractor_kwargs"] = {**own, **({"precision": "float32"} if "precision" in own else {})}
    try:
        with torch.device("meta"), _unchecked_distributions():
            return _built(kind, spaces, plain, description)
    except Exception:
        if kwargs["encoder"] in SHIPPED_ENCODERS:
            raise
        return None


@contextlib.contextmanager
def _unchecked_distributions() -> Iterator[None]:
    """Let torch's distributions take parameters without numbers inside the block."""
    before = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        torch.distributions.Distribution.set_default_validate_args(before)


def _built(
    kind: type[AttentivePolicy], spaces: Sequence[Any], kwargs: Mapping[str, Any], description: Path
) -> AttentivePolicy:
    try:
        return kind(spaces[0], spaces[1], _no_rate, **kwargs)
    except (ValueError, AssertionError) as error:
        told = " ".join(str(error).split())[:300]
        raise ValueError(f"{description} does not describe a policy that can be made: {told}") from error


def _no_rate(_: float) -> float:
    """Return the learning rate of a policy that is not trained further."""
    return 0.0


def _take_over(policy: AttentivePolicy, tensors: Mapping[str, Tensor], file: Path) -> None:
    own = own_tensors(policy)
    _check_same(own, tensors, file)
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(tensors[name])


def _check_same(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], file: Path) -> None:
    """Raise a ValueError unless names, shapes and types of the weights are those of the policy."""
    different = sorted(own.keys() ^ tensors.keys())
    if different:
        which = "lacks" if different[0] in own else "holds, beside those of the policy,"
        raise ValueError(f"{file} does not hold the weights of its policy: it {which} {shown(different[0])}")
    for name, value in own.items():
        ours, theirs = ((tuple(each.shape), each.dtype) for each in (value, tensors[name]))
        if ours != theirs:
            raise ValueError(
                f"{file} does not hold the weights of its policy: {name} is {theirs[1]} {list(theirs[0])}, the policy "
                f"has {ours[1]} {list(ours[0])}"
            )
