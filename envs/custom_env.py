"""Makes a user's Gymnasium class available like a built-in environment: level sets, masks, vectorization."""

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
"""Options that every environment accepts. A constructor with an argument of the same name also receives it."""


@dataclass(frozen=True)
class CustomEnv:
    """A class or function that makes a Gymnasium environment, and the facts about that environment.

    Attributes:
        make: called with the options of a level set.
        spec: what the ids of label maps mean; ``None`` takes it from the environment that is made.
        level_sets: options by level set, including ``train`` and ``held_out``.
        info: how exact the masks are, and the license.
        episode_scores: as in :class:`~camal_rl.envs.Family`, but without the name; ``None`` if there are none.
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
        """Describe a class; arguments that are not given are taken from its attributes.

        Raises:
            TypeError: ``make`` does not make environments, or the level sets or the spec have the wrong type.
            ValueError: a value is out of range.
        """
        if not callable(make) or (isinstance(make, type) and not issubclass(make, gymnasium.Env)):
            raise TypeError(
                f"an environment must be a class derived from gymnasium.Env, or a function that makes one, got {make!r}"
            )
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
        """The registered class; the registry recognizes it when a module runs twice and registers it again."""
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
        """Return the classes; if only an instance knows them, make one and close it."""
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
            TypeError: an option that the class does not accept, or an option of the wrong type.
            ValueError: ``segmentation`` is neither ``"default"`` nor ``None``, but the class has no such argument; or
                a value is out of range.
        """
        taken, takes_all = _arguments(self.make)
        if not takes_all:
            check_option_names(name, options, tuple(dict.fromkeys((*taken, *_HANDLED))))
        segmentation, subproc = options.get("segmentation", "default"), options.get("subproc", False)
        if segmentation not in ("default", None) and "segmentation" not in taken:
            raise ValueError(
                f"{name} has one kind of masks: segmentation must be default or null, got {segmentation!r}; to offer "
                "more kinds, add an argument segmentation to the class"
            )
        if not isinstance(subproc, bool):
            raise TypeError(f"subproc must be True or False, got {subproc!r}")
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
    """Return a user's family, or the family of the single environment that a user's class makes.

    Args:
        thing: a :class:`Family`, a :class:`CustomEnv`, or a class or function that makes a Gymnasium environment.
        env_id: its name.

    Raises:
        TypeError: ``thing`` is none of these.
        ValueError: an attribute of the class is out of range.
    """
    if isinstance(thing, Family):
        return thing
    try:
        own = thing if isinstance(thing, CustomEnv) else CustomEnv.of(thing)
    except (TypeError, ValueError) as error:
        raise type(error)(f"environment {env_id!r}: {error}") from error
    return own.family(env_id)


class _Maker:
    """Makes one environment and adds level sampling if it has none; a class, so that it can be pickled."""

    def __init__(self, make: Callable[..., Any], arguments: Mapping[str, Any], levels: Mapping[str, int]) -> None:
        self._make, self._arguments, self._levels = make, dict(arguments), dict(levels)

    def __call__(self) -> gymnasium.Env[Any, Any]:
        env = self._make(**self._arguments)
        if not isinstance(env, gymnasium.Env):
            raise TypeError(f"{self._make!r} must make an environment derived from gymnasium.Env, got {env!r}")
        return SeededLevels(env, **self._levels) if self._levels else env


def _attribute(make: object, name: str) -> Any:
    """Return a class's attribute; ``None`` if it is missing, a property or a method."""
    value = getattr(make, name, None)
    return None if isinstance(value, property) or callable(value) else value


def _arguments(make: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    """Return the names of a constructor's arguments, and whether it takes any others."""
    parameters = inspect.signature(make).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    takes_all = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
    return tuple(each.name for each in parameters if each.kind in kinds), takes_all


def _whole_level_sets(given: Any) -> LevelSets:
    """Add ``train``, ``held_out`` and missing level ranges to level sets; held-out levels come after those of train."""
    if not isinstance(given, Mapping) or not all(isinstance(each, Mapping) for each in given.values()):
        raise TypeError(f"level_sets must map names to options of the environment, {{name: {{...}}}}, got {given!r}")
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
                f"level set {name!r}: {error}; give train a num_levels above 0, or give {name} its own levels"
            ) from error
    return whole
