"""Saves the state of one Gymnasium environment with all of its wrappers as a tree, and restores it.

The state of a known wrapper consists of some of its attributes. An environment or wrapper of another package needs the
two methods ``get_state() -> tree`` and ``set_state(tree)``; a wrapper's methods cover that wrapper only.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import gymnasium
from gymnasium import spaces

from camal_rl.envs.saved_values import AttributeState, NotSavableError, frozen, frozen_where_possible, thawed

Env = gymnasium.Env[Any, Any]
Saved = dict[str, Any]
_OWN = "camal_rl."
_LIBRARIES = ("gymnasium.", "stable_baselines3.")
# The attributes that every gymnasium.Wrapper has.
_OF_EVERY_WRAPPER = frozenset(
    ("env", "_saved_kwargs", "_action_space", "_observation_space", "_metadata", "_cached_spec")
)


class Kept(NamedTuple):
    """The attributes that make up the state of a class, see :class:`AttributeState`."""

    episode: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()


_CHECKED = ("checked_reset", "checked_step", "checked_render", "checked_data_reuse")
_STICKY = ("last_action", "is_sticky_actions", "num_repeats", "repeats_taken")
_FINISHED = ("episode_returns", "episode_lengths", "episode_times", "total_steps")
_QUEUES = ("episode_count", "time_queue", "return_queue", "length_queue")
_WRAPPERS: Mapping[str, Kept] = {
    # Gymnasium
    "AtariPreprocessing": Kept(("obs_buffer", "lives", "game_over")),
    "Autoreset": Kept(("autoreset",)),
    "DelayObservation": Kept(("observation_queue",)),
    "FrameStackObservation": Kept(("obs_queue", "padding_value")),
    "MaxAndSkipObservation": Kept(("_obs_buffer",)),
    "NormalizeObservation": Kept((), ("obs_rms",)),
    "NormalizeReward": Kept(("discounted_reward",), ("return_rms",)),
    "OrderEnforcing": Kept(("_has_reset",)),
    "PassiveEnvChecker": Kept((), _CHECKED),
    "RecordEpisodeStatistics": Kept(("episode_returns", "episode_lengths"), _QUEUES),
    "RecordVideo": Kept((), ("step_id", "episode_id")),
    "StickyAction": Kept(_STICKY),
    "TimeAwareObservation": Kept(("timesteps",)),
    "TimeLimit": Kept(("_elapsed_steps",), (), ("_max_episode_steps",)),
    # Stable-Baselines3
    "EpisodicLifeEnv": Kept(("lives", "was_real_done")),
    "MaxAndSkipEnv": Kept(("_obs_buffer",)),
    "Monitor": Kept(("rewards", "needs_reset"), _FINISHED),
    "StickyActionEnv": Kept(("_sticky_action",)),
}
_STATELESS = frozenset(
    (
        *("AddRenderObservation", "AddWhiteNoise", "ArrayConversion", "ClipAction", "ClipReward", "DiscretizeAction"),
        *("DiscretizeObservation", "DtypeObservation", "FilterObservation", "FlattenObservation"),
        *("GrayscaleObservation", "HumanRendering", "NumpyToTorch", "ObstructView", "RenderCollection", "RepeatAction"),
        *("RescaleAction", "RescaleObservation", "ReshapeObservation", "ResizeObservation", "TransformAction"),
        *("TransformObservation", "TransformReward"),
        *("AtariWrapper", "ClipRewardEnv", "FireResetEnv", "NoopResetEnv", "WarpFrame"),
    )
)


def save_chain(env: Env) -> Saved:
    """Return the state of an environment with its wrappers.

    Returns:
        ``layers``, from the outermost wrapper to the environment itself; ``why_inexact``, ``None`` if the state is
        complete; ``restart_seed``, the seed with which an environment without a complete state starts new episodes.
    """
    layers, reasons = [], []
    for each in chain(env):
        layer: Saved = {"class": class_name(type(each)), "fixed": _fixed(each), "spaces": frozen_spaces(each)}
        try:
            layer["lasting"], layer["episode"] = _state(each)
        except NotSavableError as error:
            reasons.append(str(error))
        if not isinstance(each, gymnasium.Wrapper):
            layer["np_random"] = frozen(getattr(each, "_np_random", None))
        layers.append(layer)
    return {
        "layers": layers,
        "why_inexact": reasons[0] if reasons else None,
        "restart_seed": _restart_seed(layers) if reasons else None,
    }


def _restart_seed(layers: list[Saved]) -> int | None:
    """Return a seed for new episodes, derived from the saved state; ``None`` if the sampling of levels is saved."""
    lasting = [layer.get("lasting", {}) for layer in layers]
    if any("_draw" in each for each in lasting):
        return None
    known = [(layer.get("np_random"), each.get("total_steps")) for layer, each in zip(layers, lasting, strict=True)]
    return zlib.crc32(repr(known).encode()) & 0x7FFFFFFF


def check_chain(env: Env, saved: Mapping[str, Any]) -> None:
    """Raise a ``ValueError`` if a state belongs to another environment, or to one with other wrappers."""
    present = list(chain(env))
    check_same(
        "an environment and its wrappers are",
        [layer["class"] for layer in saved["layers"]],
        [class_name(type(each)) for each in present],
    )
    for layer, each in zip(saved["layers"], present, strict=True):
        for name, value in _fixed(each).items():
            check_same(f"{name.strip('_')} of {layer['class']} is", layer["fixed"].get(name), value)


def restore_chain(env: Env, saved: Mapping[str, Any], exact: bool) -> None:
    """Restore a state; if it is not exact, restore only what lasts across episodes.

    Raises:
        ValueError: the state belongs to another environment.
    """
    check_chain(env, saved)
    for each, layer in zip(chain(env), saved["layers"], strict=True):
        thaw_spaces(each, layer["spaces"])
        if "np_random" in layer:
            vars(each)["_np_random"] = thawed(layer["np_random"], getattr(each, "_np_random", None))
        _set_attributes(each, layer.get("lasting", {}))
        if exact:
            _set_state(each, layer["episode"])


def chain(env: Env) -> Iterator[Env]:
    """Yield the wrappers of an environment, outermost first, and then the environment."""
    while isinstance(env, gymnasium.Wrapper):
        yield env
        env = env.env
    yield env


def class_name(kind: type) -> str:
    """Return the name of a class with its top-level package but without submodules: ``package:Class``."""
    return f"{kind.__module__.partition('.')[0]}:{kind.__qualname__}"


def check_same(what: str, saved: Any, present: Any) -> None:
    """Raise a ``ValueError`` if a property differs between a saved state and the present environment."""
    if saved != present:
        raise ValueError(
            f"the saved state belongs to another environment: {what} {_shortened(saved)} in the saved state and "
            f"{_shortened(present)} here; make the environment as it was when it was saved"
        )


def _shortened(value: Any) -> str:
    told = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return told if len(told) <= 200 else f"{told[:200]}..."


def plain_base(kind: type) -> type:
    """Return the base class, of this package or a library, that defines all state of a class.

    A subclass that only adds new names is treated as its base. A class that defines ``__init__`` or overrides anything
    may hold state that its base does not know, so the class itself is returned.
    """
    names: set[str] = set()
    for base in kind.__mro__:
        if base.__module__.startswith((_OWN, *_LIBRARIES)):
            overridden = any(hasattr(base, name) for name in names if not name.startswith("__"))
            return kind if overridden or names & {"__init__", "__getattribute__", "__setattr__"} else base
        names |= vars(base).keys() - {"_abc_impl"}
    return kind


def offers_state(kind: type, library: type) -> bool:
    """Return whether a class has ``get_state`` and ``set_state`` that cover its own state.

    Methods that a class of another package inherits from this package do not count.
    """
    kind = plain_base(kind)
    owner = next((base for base in kind.__mro__ if "get_state" in vars(base)), None)
    if owner is None or not callable(getattr(kind, "set_state", None)) or issubclass(library, owner):
        return False
    return kind.__module__.startswith(_OWN) or not owner.__module__.startswith(_OWN)


def called_state(thing: Any) -> Any:
    """Return the result of an object's ``get_state()`` as a tree.

    Raises:
        NotSavableError: ``get_state()`` raised, or its result cannot be stored in a tree; the message is one line.
    """
    name = class_name(type(thing))
    try:
        given = thing.get_state()
    except Exception as error:
        told = " ".join(str(error).split())
        raise NotSavableError(f"get_state() of {name} raised {type(error).__name__}: {told}") from error
    try:
        return frozen(given)
    except NotSavableError as error:
        raise NotSavableError(f"get_state() of {name} returned something that cannot be saved: {error}") from error


def call_set_state(thing: Any, state: Any) -> None:
    """Pass a saved state to an object's ``set_state()``.

    Raises:
        ValueError: ``set_state()`` raised; the message is one line.
    """
    try:
        thing.set_state(frozen(state))
    except Exception as error:
        told = " ".join(str(error).split())
        raise ValueError(
            f"set_state() of {class_name(type(thing))} rejected the saved state: {type(error).__name__}: {told}"
        ) from error


def frozen_spaces(thing: Any) -> list[Any]:
    """Return the states of the generators of an environment's spaces; ``None`` for spaces that were never sampled."""
    found = []
    for name in ("action_space", "observation_space"):
        each = vars(thing).get(name) or vars(thing).get(f"_{name}")
        found.append([frozen(space._np_random) for space in _with_parts(each)])
    return found


def thaw_spaces(thing: Any, saved: list[Any]) -> None:
    """Restore the generators of an environment's spaces."""
    for name, states in zip(("action_space", "observation_space"), saved, strict=True):
        each = vars(thing).get(name) or vars(thing).get(f"_{name}")
        for space, state in zip(_with_parts(each), states, strict=False):
            space._np_random = thawed(state, space._np_random)


def _with_parts(space: Any) -> list[Any]:
    if not isinstance(space, spaces.Space):
        return []
    parts: Any = getattr(space, "spaces", ())
    parts = parts.values() if isinstance(parts, Mapping) else parts
    return [space, *(found for part in parts for found in _with_parts(part))]


def kept(kind: type, known: Mapping[str, Kept]) -> Kept | None:
    """Return the saved attributes of a known class; ``None`` for any other class."""
    kind = plain_base(kind)
    if issubclass(kind, AttributeState) and kind.__module__.startswith(_OWN):
        return Kept(kind.state_attributes, kind.lasting_attributes, kind.fixed_attributes)
    if not kind.__module__.startswith(_LIBRARIES):
        return None
    return known.get(kind.__name__)


def attributes(thing: Any, names: tuple[str, ...]) -> Saved:
    """Return attributes of an object as a tree."""
    return {name: frozen(vars(thing)[name]) for name in names if name in vars(thing)}


def _set_attributes(thing: Any, saved: Mapping[str, Any]) -> None:
    for name, value in saved.items():
        vars(thing)[name] = thawed(value, vars(thing).get(name))


def _known(env: Env) -> Kept | None:
    kind = plain_base(type(env))
    if kind.__name__ in _STATELESS and kind.__module__.startswith(_LIBRARIES):
        return Kept()
    if isinstance(env, gymnasium.Wrapper) and vars(env).keys() <= _OF_EVERY_WRAPPER:
        return Kept()
    return kept(kind, _WRAPPERS)


def _fixed(env: Env) -> Saved:
    known = _known(env)
    return {} if known is None else {name: repr(vars(env).get(name)) for name in known.fixed}


def _state(env: Env) -> tuple[Saved, Any]:
    """Return the state that lasts across episodes, and the state of the episode.

    Raises:
        NotSavableError: the class is unknown and has no ``get_state()`` and ``set_state()``.
    """
    known, name = _known(env), class_name(type(env))
    base: type = gymnasium.Wrapper if isinstance(env, gymnasium.Wrapper) else gymnasium.Env
    if offers_state(type(env), base):
        return ({} if known is None else attributes(env, known.lasting)), {"given": called_state(env)}
    if known is None or not isinstance(env, gymnasium.Wrapper):
        raise NotSavableError(f"{name} has no get_state() and set_state()")
    return attributes(env, known.lasting), {**attributes(env, known.episode), **_reset_info(env)}


def _reset_info(env: Env) -> Saved:
    """Return the savable part of the reset info that SB3's Monitor adds to its report of the episode."""
    info = vars(env).get("current_reset_info")
    return {} if info is None else {"current_reset_info": frozen_where_possible([info])[0]}


def _set_state(env: Env, saved: Mapping[str, Any]) -> None:
    if "given" in saved:
        call_set_state(env, saved["given"])
    else:
        _set_attributes(env, saved)
