"""Converts the arguments of a policy to JSON and back, with names and import paths in place of classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, TypeVar, cast

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import nn

from camal_rl.agents import AttentivePolicy, CamPolicy, CamQPolicy
from camal_rl.agents.arithmetic import settled_precision
from camal_rl.agents.cam_encoder import Precision
from camal_rl.agents.encoders import ENCODERS, encoder_class, encoder_name, is_shipped
from camal_rl.agents.map_settings import MapSettings
from camal_rl.registry import load_object
from camal_rl.runs.checks import explain, shown
from camal_rl.state_tree import pack, unpack

_ACTIVATIONS = {name: getattr(nn, name) for name in torch.nn.modules.activation.__all__}
_Widths = Annotated[list[Annotated[int, Field(ge=1, le=10**9)]], Field(max_length=100)]
_LONGEST = 10_000
"""Characters of JSON that the arguments of an encoder or policy of the user's own may take."""
_ELSEWHERE = {"observation_space", "action_space", "lr_schedule", "optimizer_class", "optimizer_kwargs"}


AnyArguments = TypeVar("AnyArguments", bound="_Arguments")


class _Arguments:
    """The common arguments of every kind of policy, see :class:`PolicyArguments`."""

    encoder: str
    features_extractor_kwargs: dict[str, Any]
    activation_fn: str
    maps: dict[str, Any]
    net_arch: Any
    more: dict[str, Any]

    @classmethod
    def of(cls: type[AnyArguments], data: Any) -> AnyArguments:
        """Return the arguments in plain data.

        Raises:
            ValueError: a key is missing or unknown, or a value is of another kind.
        """
        if not isinstance(data, dict):
            raise ValueError(f"arguments must be a mapping of keys to values, got {shown(data)}")
        unknown = sorted(data.keys() - {each.name for each in fields(cast(Any, cls))})
        if unknown:
            raise ValueError(f"arguments has an unknown key {shown(unknown[0])}")
        try:
            found = TypeAdapter(cls).validate_json(json.dumps(data), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(explain(first, ".".join(map(str, ("arguments", *first["loc"]))))) from error
        for name in ("features_extractor_kwargs", "more"):
            _check_length(getattr(found, name), f"arguments.{name}")
        if isinstance(found.net_arch, dict) and not found.net_arch.keys() <= {"pi", "vf"}:
            raise ValueError(f"arguments.net_arch must be widths, of pi and vf, got {shown(found.net_arch)}")
        return found

    @staticmethod
    def of_class(policy: Any, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that only this kind of policy has; ``data`` is what SB3 says that it is made with."""
        raise NotImplementedError

    def as_dict(self) -> dict[str, Any]:
        """Return the arguments as files hold them."""
        return {name: value for name, value in asdict(cast(Any, self)).items() if (name, value) != ("masking", None)}

    def as_kwargs(self, kind: type[AttentivePolicy]) -> dict[str, Any]:
        """Return the arguments as a policy class takes them; classes that they name are imported.

        Raises:
            ValueError: something that they name is not there, or is none; or arguments that are of another class.
        """
        if self.more and kind in _SHIPPED_POLICIES.values():
            raise ValueError(f"arguments.more must be empty for {kind.__name__}, got {shown(self.more)}")
        kwargs = self.as_dict()
        more = unpack({}, kwargs.pop("more"))
        kwargs["features_extractor_kwargs"] = unpack({}, kwargs["features_extractor_kwargs"])
        kwargs["activation_fn"] = _activation(self.activation_fn)
        kwargs["encoder"] = self.encoder if self.encoder in ENCODERS else encoder_class(self.encoder)
        kwargs["maps"] = MapSettings.of(self.maps, kind.attention_targets)
        return {**kwargs, **more}

    def finish(self, policy: Any) -> None:
        """Bring a policy with its weights into the state in which it was saved."""


@dataclass(frozen=True)
class PolicyArguments(_Arguments):
    """The arguments of :class:`camal_rl.agents.CamPolicy` as plain data.

    Attributes:
        encoder: name of a built-in encoder, or import path of a user's encoder.
        features_extractor_kwargs: its arguments.
        precision: precision of the encoder, with ``auto`` resolved.
        cam_layer: dotted name of the CAM layer, if it is not the encoder's default.
        maps: the policy's default maps.
        net_arch: widths of the layers between encoder and heads.
        activation_fn: name of their activation in ``torch.nn``, or import path.
        ortho_init: whether the weights were initialized orthogonally.
        share_features_extractor: whether policy and value share the encoder.
        normalize_images: whether images are divided by 255.
        use_sde: whether noise depends on the state.
        log_std_init: initial logarithm of the standard deviation of continuous actions.
        full_std: option of state-dependent noise.
        use_expln: option of state-dependent noise.
        squash_output: option of state-dependent noise.
        more: further arguments of a user's policy class.
        masking: how the policy's input images are masked; ``None``, and omitted from files, if they are not.
    """

    encoder: str
    features_extractor_kwargs: dict[str, Any]
    precision: Precision
    cam_layer: str | None
    maps: dict[str, Any]
    net_arch: _Widths | dict[str, _Widths]
    activation_fn: str
    ortho_init: bool
    share_features_extractor: bool
    normalize_images: bool
    use_sde: bool
    log_std_init: Annotated[float, Field(allow_inf_nan=False)]
    full_std: bool
    use_expln: bool
    squash_output: bool
    more: dict[str, Any]
    masking: str | None = None

    @staticmethod
    def of_class(policy: Any, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return what an actor-critic policy has of its own."""
        own = ("ortho_init", "share_features_extractor", "use_sde")
        return {
            **{name: getattr(policy, name) for name in own},
            **{name: bool(data[name]) for name in ("full_std", "use_expln", "squash_output")},
            "log_std_init": float(policy.log_std_init),
        }

    def as_kwargs(self, kind: type[AttentivePolicy]) -> dict[str, Any]:
        """Return the arguments as a policy class takes them, see :class:`_Arguments`."""
        # Weights follow from the file; orthogonal ones would take most of the time.
        return {**super().as_kwargs(kind), "ortho_init": False}

    def finish(self, policy: Any) -> None:
        """Bring a policy with its weights into the state in which it was saved."""
        policy.ortho_init = self.ortho_init
        if policy.use_sde:
            policy.reset_noise()


@dataclass(frozen=True)
class QPolicyArguments(_Arguments):
    """The arguments of :class:`camal_rl.agents.CamQPolicy` as plain data.

    Attributes:
        exploration: the probability of a random action if sampled actions are requested.

    The others are those of :class:`PolicyArguments`.
    """

    encoder: str
    features_extractor_kwargs: dict[str, Any]
    precision: Precision
    cam_layer: str | None
    maps: dict[str, Any]
    net_arch: _Widths
    activation_fn: str
    normalize_images: bool
    exploration: Annotated[float, Field(ge=0, le=1)]
    more: dict[str, Any]
    masking: str | None = None

    @staticmethod
    def of_class(policy: Any, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the policy of a Q-network has of its own."""
        return {"exploration": policy.exploration}


_SHIPPED_POLICIES: dict[str, type[AttentivePolicy]] = {"CamPolicy": CamPolicy, "CamQPolicy": CamQPolicy}
_ARGUMENTS: dict[type[AttentivePolicy], type[PolicyArguments] | type[QPolicyArguments]] = {
    CamPolicy: PolicyArguments,
    CamQPolicy: QPolicyArguments,
}


def arguments_type(kind: type[AttentivePolicy]) -> type[PolicyArguments] | type[QPolicyArguments]:
    """Return the class of a policy class's arguments."""
    return next(arguments for policy, arguments in _ARGUMENTS.items() if issubclass(kind, policy))


def arguments_of(policy: AttentivePolicy) -> PolicyArguments | QPolicyArguments:
    """Return the arguments of a policy.

    Raises:
        ValueError: an argument that JSON cannot hold, or a class that cannot be imported by its path.
    """
    data = policy._get_constructor_parameters()
    encoder = policy.features_extractor_class
    precision = settled_precision(encoder, policy.precision, policy.device)
    own = dict(policy.features_extractor_kwargs)
    if own.get("precision") == "auto":
        own["precision"] = precision
    shipped = all(is_shipped(each) for each in policy.feature_encoders())
    kind = arguments_type(type(policy))
    known = {each.name for each in fields(kind)} | _ELSEWHERE
    given: dict[str, Any] = {
        "encoder": encoder_name(encoder) if shipped else _path_or_name(encoder),
        "features_extractor_kwargs": _plain(own, "features_extractor_kwargs"),
        "precision": precision,
        "cam_layer": policy.cam_layer,
        "maps": policy.map_settings.as_dict(),
        "net_arch": _net_arch(data["net_arch"]),
        "activation_fn": _activation_name(data["activation_fn"]),
        "normalize_images": policy.normalize_images,
        "more": _plain({name: value for name, value in data.items() if name not in known}, "policy_kwargs"),
        "masking": policy.masking,
    }
    return kind(**given, **kind.of_class(policy, data))


def policy_path(policy: AttentivePolicy) -> str:
    """Return ``CamPolicy`` or ``CamQPolicy``, or the import path of a class derived from one of them."""
    kind = type(policy)
    return kind.__name__ if kind in _SHIPPED_POLICIES.values() else path_of(kind)


def policy_class(path: str) -> type[AttentivePolicy]:
    """Return the class that :func:`policy_path` names.

    Raises:
        ValueError: it is not there, or derived from neither.
    """
    found: Any = _SHIPPED_POLICIES[path] if path in _SHIPPED_POLICIES else load_object(path, "policy")
    if not isinstance(found, type) or not issubclass(found, tuple(_SHIPPED_POLICIES.values())):
        raise ValueError(f"policy must be CamPolicy or CamQPolicy, or a class derived from one, got {shown(path)}")
    return cast(type[AttentivePolicy], found)


def path_of(kind: type[Any]) -> str:
    """Return the path ``package.module:name`` of a class.

    Raises:
        ValueError: the class cannot be imported by it.
    """
    path = f"{kind.__module__}:{kind.__qualname__}"
    try:
        if load_object(path, "class") is kind:
            return path
    except ValueError:
        pass
    raise ValueError(
        f"{kind.__name__} cannot be imported as {path}, as the file of a policy needs it; define it at the top of a "
        "module"
    )


def _path_or_name(encoder: type[Any]) -> str:
    """Return the import path of an encoder, or the name of one that is registered and has no path."""
    try:
        return path_of(encoder)
    except ValueError:
        name = ENCODERS.name_of(encoder)
        if name is None:
            raise
        return name


def _net_arch(net_arch: Any) -> Any:
    if isinstance(net_arch, dict):
        return {name: [int(width) for width in widths] for name, widths in net_arch.items()}
    return [int(width) for width in net_arch]


def _activation_name(kind: type[nn.Module]) -> str:
    return kind.__name__ if _ACTIVATIONS.get(kind.__name__) is kind else path_of(kind)


def _activation(name: str) -> type[nn.Module]:
    found = load_object(name, "activation") if ":" in name else _ACTIVATIONS.get(name)
    if not isinstance(found, type) or not issubclass(found, nn.Module):
        raise ValueError(f"arguments.activation_fn must be an activation of torch.nn, or a path, got {shown(name)}")
    return found


def _plain(values: dict[str, Any], what: str) -> dict[str, Any]:
    """Return arguments as JSON holds them."""
    try:
        tensors, data = pack(values)
    except TypeError as error:
        raise ValueError(f"{what} cannot be written into a file of a policy: {error}") from error
    if tensors:
        raise ValueError(f"{what} of a policy must be plain data, got an array or tensor at {next(iter(tensors))}")
    _check_length(data, what)
    return cast(dict[str, Any], data)


def _check_length(data: Any, what: str) -> None:
    if len(json.dumps(data)) > _LONGEST:
        raise ValueError(f"{what} of a policy must be at most {_LONGEST} characters of JSON")
