"""A Gymnasium class of a user's own as an environment like those that ship: level sets, masks, vectorized."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium

from camal_rl.envs.family import EnvInfo, Exactness, Family
from camal_rl.envs.gym_adapter import SegmentedGymVecEnv, SpecLike, make_segmented_vec
from camal_rl.envs.levels import SeededLevels, check_level_range
from camal_rl.envs.option_checks import check_option_names, check_render_mode, class_names
from camal_rl.envs.segmentation import SegmentationSpec, as_spec

EpisodeScores = Callable[[Sequence[Mapping[str, Any]]], Mapping[str, float]]
LevelSets = Mapping[str, Mapping[str, Any]]

NUM_TRAIN_LEVELS = 200
_NUM_HELD_OUT_LEVELS = 1_000_000
_LEVELS = ("start_level", "num_levels")
_HANDLED = (*_LEVELS, "segmentation", "relevant", "render_mode", "subproc")
"""Options that every environment takes; a constructor that has an argument of that name is given it too."""


@dataclass(frozen=True)
class CustomEnv:
    """What makes a Gymnasium environment, and what one should know about it.

    Attributes:
        make: called with the options of a level set.
        spec: what the ids of label maps mean; ``None``: the environment that is made says it.
        level_sets: options by level set, ``train`` and ``held_out`` among them.
        info: how exact the masks are, and the license.
        episode_scores: as in :class:`~camal_rl.envs.Family`, without the name; may be missing.
    """

    make: Callable[..., gymnasium.Env[Any, Any]]
    spec: SegmentationSpec | None
    level_sets: LevelSets
    info: EnvInfo
    episode_scores: EpisodeScores | None = None

    @classmethod
    def of(
        cls,
        make: Any,
        spec: SpecLike | None = None,
        level_sets: LevelSets | None = None,
        license: str | None = None,
        exactness: Exactness | None = None,
        note: str | None = None,
    ) -> CustomEnv:
        """Return what a class is; what is not given here is what its attributes say.

        Raises:
            TypeError: it makes no environments, or level sets or a spec that are none.
            ValueError: a value out of range.
        """
        if not callable(make) or (isinstance(make, type) and not issubclass(make, gymnasium.Env)):
            raise TypeError(f"an environment is given as a class derived from gymnasium.Env, got {make!r}")
        spec = _attribute(make, "segmentation_spec") if spec is None else spec
        sets = _attribute(make, "level_sets") if level_sets is None else level_sets
        info = EnvInfo(
            exactness or _attribute(make, "exactness") or "unknown",
            license or _attribute(make, "license") or "unknown",
            note=note or _attribute(make, "note") or "",
        )
        scores = getattr(make, "episode_scores", None)
        return cls(make, None if spec is None else as_spec(spec), _whole_level_sets(sets or {}), info, scores)

    @property
    def __wrapped__(self) -> Callable[..., gymnasium.Env[Any, Any]]:
        """What is registered: a module that is run twice registers the same class twice."""
        return self.make

    def family(self, env_id: str) -> Family:
        """Return the family of this one environment."""
        scores = self.episode_scores
        return Family(
            env_names=lambda: (env_id,),
            segmentation_spec=lambda _: self.segmentation_spec(),
            info=lambda _: self.info,
            level_sets=lambda _: self.level_sets,
            make_vec=self.make_vec,
            episode_scores=None if scores is None else lambda _, infos: scores(infos),
        )

    def segmentation_spec(self) -> SegmentationSpec:
        """Return the classes; where only an environment says them, one is made and closed again."""
        if self.spec is not None:
            return self.spec
        venv = make_segmented_vec(_Maker(self.make, {}, {}), 1)
        venv.close()
        return venv.spec

    def make_vec(self, name: str, num_envs: int, seed: int, **options: Any) -> SegmentedGymVecEnv:
        """Make copies as one vectorized environment.

        Args:
            name: the environment's id, for messages.
            num_envs: number of copies.
            seed: copy ``i`` draws its levels with ``seed + i``.
            **options: arguments of the class; ``start_level`` and ``num_levels``; ``segmentation`` (``None`` switches
                masks off), ``relevant``, ``render_mode``; ``subproc``, one process for each copy.

        Raises:
            TypeError: an option that the class does not take.
            ValueError: a segmentation other than the class's own, where it has only one.
        """
        taken, takes_all = _arguments(self.make)
        if not takes_all:
            check_option_names(name, options, tuple(dict.fromkeys((*taken, *_HANDLED))))
        segmentation, subproc = options.get("segmentation", "default"), options.get("subproc", False)
        if segmentation not in ("default", None) and "segmentation" not in taken:
            raise ValueError(
                f"{name} has one kind of masks: segmentation is default or null, got {segmentation!r}; a class with "
                "more kinds has an argument segmentation"
            )
        if not isinstance(subproc, bool):
            raise TypeError(f"subproc is True or False, got {subproc!r}")
        check_render_mode(options.get("render_mode"))
        relevant = class_names(options.get("relevant"))
        arguments = {key: value for key, value in options.items() if key not in _HANDLED or key in taken}
        levels = {key: options[key] for key in _LEVELS if key in options}
        check_level_range(**{"start_level": 0, "num_levels": 0, **levels})
        maker = _Maker(self.make, arguments, {} if set(_LEVELS) <= set(taken) else levels)
        venv = make_segmented_vec(maker, num_envs, self.spec, seed, subproc, segmentation is not None)
        venv.spec = venv.spec.with_relevant(relevant)
        return venv


def custom_family(thing: Any, env_id: str) -> Family:
    """Return the family that a user's own thing is, or that of the one environment that it makes.

    Args:
        thing: a :class:`Family`, an :class:`CustomEnv`, or a class or function that makes a Gymnasium environment.
        env_id: its name.

    Raises:
        TypeError: something else.
    """
    if isinstance(thing, Family):
        return thing
    try:
        own = thing if isinstance(thing, CustomEnv) else CustomEnv.of(thing)
    except (TypeError, ValueError) as error:
        raise type(error)(f"environment {env_id!r}: {error}") from error
    return own.family(env_id)


class _Maker:
    """Makes one environment and, where it does not know of levels itself, plays drawn ones; a class, to be pickled."""

    def __init__(self, make: Callable[..., Any], arguments: Mapping[str, Any], levels: Mapping[str, int]) -> None:
        self._make, self._arguments, self._levels = make, dict(arguments), dict(levels)

    def __call__(self) -> gymnasium.Env[Any, Any]:
        env = self._make(**self._arguments)
        if not isinstance(env, gymnasium.Env):
            raise TypeError(f"{self._make!r} makes a Gymnasium environment, derived from gymnasium.Env, got {env!r}")
        return SeededLevels(env, **self._levels) if self._levels else env


def _attribute(make: object, name: str) -> Any:
    """Return a class's attribute; what only its objects have, as a property, is not there yet."""
    value = getattr(make, name, None)
    return None if isinstance(value, property) or callable(value) else value


def _arguments(make: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    """Return the names of a constructor's arguments, and whether it takes any others."""
    parameters = inspect.signature(make).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    takes_all = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
    return tuple(each.name for each in parameters if each.kind in kinds), takes_all


def _whole_level_sets(given: Any) -> LevelSets:
    """Return level sets with ``train`` and ``held_out`` among them, and levels for each: held-out ones are others."""
    if not isinstance(given, Mapping) or not all(isinstance(each, Mapping) for each in given.values()):
        raise TypeError(f"level_sets are options of the environment by level set, {{name: {{...}}}}, got {given!r}")
    sets: dict[str, Mapping[str, Any]] = {"train": {}, "held_out": {}, **given}
    train = {"start_level": 0, "num_levels": NUM_TRAIN_LEVELS, **sets["train"]}
    own = {key: train[key] for key in _LEVELS}
    held_out = {"start_level": check_level_range(**own).stop, "num_levels": _NUM_HELD_OUT_LEVELS}
    whole = {
        str(name): {**(held_out if str(name).startswith("held_out") else own), **options}
        for name, options in sets.items()
    }
    for name, options in whole.items():
        try:
            check_level_range(*(options[key] for key in _LEVELS))
        except ValueError as error:
            raise ValueError(
                f"level set {name!r}: {error}; give train a num_levels above 0, or {name} its own"
            ) from error
    return whole
