"""Saves and restores the state of a vectorized environment with all of its wrappers, SB3's and our own.

    saved = save_env(venv)          # between two steps
    restore_env(same_kind_of_venv, saved)

The saved state is a tree of numbers, strings, bytes and arrays, without pickle. If a part of the chain cannot save its
state, ``saved.exact`` is false and ``saved.why_inexact`` names that part. :func:`restore_env` then starts new episodes,
but still restores running means, generators of levels and counts of episodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs

from camal_rl.envs.saved_values import NotSavableError, WholeStateVecEnv, frozen, frozen_where_possible, thawed
from camal_rl.envs.saved_wrappers import (
    Kept,
    Saved,
    attributes,
    call_set_state,
    called_state,
    check_chain,
    check_same,
    class_name,
    frozen_spaces,
    kept,
    offers_state,
    restore_chain,
    save_chain,
    thaw_spaces,
)
from camal_rl.envs.worker_processes import WorkerVecEnv

FORMAT_VERSION = 1
_LAYERS: Mapping[str, Kept] = {
    "VecCheckNan": Kept(),
    "VecExtractDictObs": Kept(),
    "VecFrameStack": Kept(("stacked_obs",)),
    "VecMonitor": Kept(("episode_returns", "episode_lengths"), ("episode_count",)),
    "VecNormalize": Kept(("returns", "old_reward", "old_obs"), ("obs_rms", "ret_rms"), ("norm_obs", "norm_reward")),
    "VecTransposeImage": Kept(),
    "VecVideoRecorder": Kept((), ("step_id",)),
}


@dataclass(frozen=True)
class SavedEnv:
    """The state of a vectorized environment.

    Attributes:
        tree: numbers, strings, bytes, arrays, and lists and dictionaries of them.
        exact: whether a restored environment continues bit for bit; otherwise it starts new episodes.
        why_inexact: a short sentence that names what cannot be saved; ``None`` if the state is exact.
    """

    tree: Any
    exact: bool = True
    why_inexact: str | None = None


def save_env(venv: VecEnv) -> SavedEnv:
    """Return the state of an environment with all of its wrappers; call this between two steps.

    Raises:
        ValueError: a step is under way, or the environment is closed.
    """
    layers: list[Saved] = []
    reasons: list[str] = []
    for each in layers_of(venv):
        layer, reason = _save_layer(each)
        layers.append(layer)
        reasons += [] if reason is None else [reason]
    why = reasons[0] if reasons else None
    return SavedEnv({"version": FORMAT_VERSION, "layers": layers, "why_inexact": why}, why is None, why)


def saved_env(tree: Any) -> SavedEnv:
    """Make a :class:`SavedEnv` of its tree, for example after reading a checkpoint.

    Raises:
        ValueError: the tree is no state of an environment.
    """
    if not isinstance(tree, Mapping) or tree.get("version") != FORMAT_VERSION or "layers" not in tree:
        raise ValueError("expected the state of an environment, as save_env() of this version returns it")
    why = tree.get("why_inexact")
    return SavedEnv(tree, why is None, why)


def restore_env(venv: VecEnv, saved: SavedEnv) -> VecEnvObs | None:
    """Put an environment into a saved state.

    Args:
        venv: made like the saved environment, with the same options, number of copies and wrappers.
        saved: the result of :func:`save_env`.

    Returns:
        ``None`` after an exact restore: the next ``step`` returns what it would have returned, and the caller must have
        kept the current observations. Otherwise the first observations of new episodes.

    Raises:
        ValueError: the state belongs to another environment; the message is one line and says what differs.
    """
    known = saved_env(saved.tree)
    layers, found = known.tree["layers"], list(layers_of(venv))
    check_same(
        "the vectorized environment and its wrappers are",
        [layer["class"] for layer in layers],
        [class_name(type(each)) for each in found],
    )
    for each, layer in zip(found, layers, strict=True):
        for name, value in _fixed(each).items():
            check_same(f"{name.strip('_')} of {layer['class']} is", layer["fixed"].get(name), value)
        if "envs" in layer:
            check_envs(each, layer["envs"])
    for each, layer in reversed(list(zip(found, layers, strict=True))):
        _restore_layer(each, layer, known.exact)
    return None if known.exact else venv.reset()


def layers_of(venv: VecEnv) -> Iterator[VecEnv]:
    """Yield the wrappers of a vectorized environment, outermost first, and then the environment."""
    while isinstance(venv, VecEnvWrapper):
        yield venv
        venv = venv.venv
    yield venv


def saved_envs(venv: VecEnv) -> list[Saved]:
    """Return the states of the environments inside, see :func:`camal_rl.envs.saved_wrappers.save_chain`."""
    if isinstance(venv, DummyVecEnv):
        return [save_chain(env) for env in venv.envs]
    found: list[Saved] = venv.env_method("save_chain")
    return found


def check_envs(venv: VecEnv, saved: Sequence[Mapping[str, Any]]) -> None:
    """Raise a ``ValueError`` if the states belong to other environments than those inside."""
    if isinstance(venv, DummyVecEnv):
        for env, each in zip(venv.envs, saved, strict=True):
            check_chain(env, each)
    else:
        _told_by_workers(venv, "check_chain", [(each,) for each in saved])


def restore_envs(venv: VecEnv, saved: Sequence[Mapping[str, Any]], exact: bool) -> None:
    """Restore the states of the environments inside; if they are not exact, only what lasts across episodes."""
    if isinstance(venv, DummyVecEnv):
        for env, each in zip(venv.envs, saved, strict=True):
            restore_chain(env, each, exact)
    else:
        _told_by_workers(venv, "restore_chain", [(each, exact) for each in saved])


def _save_layer(venv: VecEnv) -> tuple[Saved, str | None]:
    """Return the state of one layer, and why it is not exact if it is not."""
    layer: Saved = {
        "class": class_name(type(venv)),
        "fixed": _fixed(venv),
        "seeds": frozen(list(venv._seeds)),
        "options": frozen_where_possible(venv._options),
        "reset_infos": frozen_where_possible(venv.reset_infos),
        "spaces": frozen_spaces(venv),
    }
    try:
        layer.update(_state(venv))
    except NotSavableError as error:
        return layer, str(error)
    inexact = [each["why_inexact"] for each in layer.get("envs", ()) if each["why_inexact"] is not None]
    return layer, inexact[0] if inexact else None


def _state(venv: VecEnv) -> Saved:
    """Return the part of a layer's state that depends on its class.

    Raises:
        NotSavableError: the class is unknown and has no ``get_state()`` and ``set_state()``.
    """
    known = kept(type(venv), _LAYERS)
    if isinstance(venv, WholeStateVecEnv):
        return {"whole": frozen(venv.whole_state())}
    if known is None and offers_state(type(venv), VecEnv):
        return {"given": called_state(venv)}
    if type(venv) in (DummyVecEnv, WorkerVecEnv):
        return {"envs": saved_envs(venv)}
    if known is None:
        why = "has no get_state() and set_state()"
        if type(venv) is SubprocVecEnv:
            why = "gives no access to the states in its processes; use make_segmented_vec(..., subproc=True) instead"
        raise NotSavableError(f"{class_name(type(venv))} {why}")
    return {"lasting": attributes(venv, known.lasting), "episode": attributes(venv, known.episode)}


def _fixed(venv: VecEnv) -> Saved:
    """Return what must be equal when the state is restored."""
    known = kept(type(venv), _LAYERS)
    fixed: Saved = {
        "num_envs": venv.num_envs,
        "observation_space": str(venv.observation_space),
        "action_space": str(venv.action_space),
    }
    if isinstance(venv, WholeStateVecEnv):
        return {**fixed, **venv.whole_state_options()}
    return {**fixed, **{name: repr(vars(venv).get(name)) for name in (known.fixed if known else ())}}


def _restore_layer(venv: VecEnv, layer: Mapping[str, Any], exact: bool) -> None:
    if isinstance(venv, WholeStateVecEnv) and "whole" in layer:
        venv.set_whole_state(frozen(layer["whole"]))
    if exact:
        _restore_exactly(venv, layer)
    if "envs" in layer:
        restore_envs(venv, layer["envs"], exact)
    _set_attributes(venv, layer.get("lasting", {}))
    venv._options = frozen(layer["options"])
    venv.reset_infos = frozen(layer["reset_infos"])
    seeds = [None] * venv.num_envs if exact else [each["restart_seed"] for each in layer.get("envs", ())]
    venv._seeds = [
        restart if seed is None else seed
        for seed, restart in zip(layer["seeds"], seeds or [None] * venv.num_envs, strict=True)
    ]
    thaw_spaces(venv, layer["spaces"])


def _restore_exactly(venv: VecEnv, layer: Mapping[str, Any]) -> None:
    if "given" in layer:
        call_set_state(venv, layer["given"])
    _set_attributes(venv, layer.get("episode", {}))


def _set_attributes(venv: VecEnv, saved: Mapping[str, Any]) -> None:
    for name, value in saved.items():
        vars(venv)[name] = thawed(value, vars(venv).get(name))


def _told_by_workers(venv: VecEnv, method: str, arguments: list[tuple[Any, ...]]) -> None:
    for index, each in enumerate(arguments):
        told = venv.env_method(method, *each, indices=index)[0]
        if told is not None:
            raise ValueError(told)
