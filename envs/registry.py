"""Environment ids such as ``procgen/coinrun``: which exist, what they show, and how to make them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from camal_rl.envs.custom_env import CustomEnv, LevelSets, custom_family
from camal_rl.envs.family import EnvInfo, Exactness, Family
from camal_rl.envs.gym_adapter import SpecLike
from camal_rl.envs.segmentation import SegmentationSpec, SegmentedVecEnv
from camal_rl.extras import install_command
from camal_rl.registry import Registry
from camal_rl.spelling import did_you_mean

FAMILIES: Registry[Family] = Registry(
    "family of simulators",
    {
        "toy_grid": "camal_rl.envs.toy_grid:FAMILY",
        "procgen": "camal_rl.envs.procgen:FAMILY",
        "vizdoom": "camal_rl.envs.vizdoom:FAMILY",
        "minigrid": "camal_rl.envs.minigrid:FAMILY",
        "atari": "camal_rl.envs.atari:FAMILY",
        "crafter": "camal_rl.envs.crafter:FAMILY",
        "dm_control": "camal_rl.envs.dm_control:FAMILY",
    },
)
_SHIPPED = tuple(FAMILIES)
CUSTOM_ENVS: Registry[Any] = Registry("environment", {}, "camal_rl.envs")
"""What users register: a class or :class:`CustomEnv` under its id, or a :class:`Family` under its name."""


class MissingExtraError(ImportError):
    """A simulator is not installed; the message contains the install command.

    Args:
        simulator: its name, for the message.
        extra: the extra that installs it.
        command: the install command, if it is not that of the extra.
    """

    def __init__(self, simulator: str, extra: str, command: str = "") -> None:
        super().__init__(f"{simulator} is not installed; install it with: {command or install_command(extra)}")


def env_ids() -> tuple[str, ...]:
    """Return every id that :func:`make_vec` accepts, including those of simulators that are not installed.

    Environments that another package announces but that cannot be imported are left out, with a warning.
    """
    ids = [f"{name}/{each}" for name in _SHIPPED for each in FAMILIES[name].env_names()]
    for name in CUSTOM_ENVS:
        try:
            ids += _ids_of(name)
        except (ValueError, TypeError) as error:
            warnings.warn(str(error), AnnouncedEnvWarning, stacklevel=2)
    return tuple(ids)


class AnnouncedEnvWarning(UserWarning):
    """An installed package announces an environment that cannot be used."""


def _ids_of(name: str) -> list[str]:
    family = custom_family(CUSTOM_ENVS.find(name), name)
    return [name] if family.env_names() == (name,) else [f"{name}/{each}" for each in family.env_names()]


def register_env(
    env_id: str,
    env: Any = None,
    *,
    spec: SpecLike | None = None,
    level_sets: LevelSets | None = None,
    license: str | None = None,
    exactness: Exactness | None = None,
    note: str | None = None,
) -> Any:
    """Register an environment or a family under a name; without ``env``, return a class decorator.

    Arguments that are not given are taken from attributes of the class with the same names (``segmentation_spec`` for
    ``spec``).

    Args:
        env_id: such as ``mine/catch``; for a whole family its name, such as ``mine``.
        env: a class or function that makes a Gymnasium environment with the label map of each observation in
            ``info["segmentation"]``; or a :class:`~camal_rl.envs.Family`.
        spec: what the ids of label maps mean; also a dictionary with the keys ``names`` and ``relevant``.
        level_sets: arguments of ``env`` by level set. ``train`` and ``held_out`` are added if missing. A level is the
            seed of a reset. By default, ``train`` plays levels 0 to 199, and every set whose name begins with
            ``held_out`` plays other levels; the arguments ``start_level`` and ``num_levels`` change that.
        license: license of the simulator and of its images.
        exactness: how exact the masks are, see :class:`~camal_rl.envs.EnvInfo`.
        note: one sentence on what is not exact.

    Raises:
        ValueError: the name is taken or not allowed, or a level set has levels out of range.
        TypeError: ``env`` does not make environments, or the level sets or the spec have the wrong type.
    """
    if env is None:
        return lambda decorated: register_env(
            env_id,
            decorated,
            spec=spec,
            level_sets=level_sets,
            license=license,
            exactness=exactness,
            note=note,
        )
    prefix = env_id.partition("/")[0] if isinstance(env_id, str) else None
    if prefix in FAMILIES:
        raise ValueError(f"the family {prefix!r} comes with this package; register {env_id!r} under another name")
    if not isinstance(env, Family):
        CUSTOM_ENVS.register(env_id, CustomEnv.of(env, spec, level_sets, license, exactness, note))
        return env
    if "/" in env_id or any(value is not None for value in (spec, level_sets, license, exactness, note)):
        raise ValueError(
            f"a Family must be registered under a name without a slash, and without other arguments, got {env_id!r}"
        )
    CUSTOM_ENVS.register(env_id, env)
    return env


def register_gymnasium_ids() -> None:
    """Register ``camal_rl/<family>-<name>-v0`` for every environment; calling it again changes nothing."""
    for name in _SHIPPED:
        register = FAMILIES[name].register
        if register is not None:
            register()


def family_of(env_id: str) -> tuple[Family, str]:
    """Split an id into its family and the name inside the family.

    Args:
        env_id: ``<family>/<name>``; an id of :func:`camal_rl.envs.register_env`; or ``package.module:name``, the path
            of a Gymnasium class.

    Raises:
        ValueError: unknown id (the message names the nearest known one), or a path that cannot be imported.
        TypeError: the object at the path does not make environments.
    """
    if ":" in env_id or env_id in CUSTOM_ENVS:
        family = custom_family(CUSTOM_ENVS.find(env_id), env_id)
        if env_id in family.env_names():
            return family, env_id
    prefix, _, name = env_id.partition("/")
    known: Family | None = FAMILIES[prefix] if prefix in _SHIPPED else None
    if known is None and prefix in CUSTOM_ENVS:
        known = custom_family(CUSTOM_ENVS.find(prefix), prefix)
    if known is not None and name in known.env_names():
        return known, name
    hint = did_you_mean(env_id, env_ids())
    raise ValueError(
        f"unknown environment {env_id!r}; {hint}`camal-rl envs` lists them all; give a class of your own as "
        "package.module:name"
    )


def is_function(env_id: str) -> bool:
    """Return whether an id is the path of a function, and not of a class, :class:`CustomEnv` or :class:`Family`.

    A function named in a configuration file is called with the options in that file, whatever the function does.

    Raises:
        ValueError: the path cannot be imported.
    """
    if ":" not in env_id:
        return False
    return not isinstance(CUSTOM_ENVS.find(env_id), type | Family | CustomEnv)


def segmentation_spec(env_id: str) -> SegmentationSpec:
    """Return the classes of an environment and its default relevant set, without starting a simulator."""
    family, name = family_of(env_id)
    return family.segmentation_spec(name)


def env_info(env_id: str) -> EnvInfo:
    """Return how exact an environment's masks are, its license and what installs it, without starting a simulator."""
    family, name = family_of(env_id)
    return family.info(name)


def level_sets(env_id: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the options of :func:`make_vec` that select each level set (``train``, ``held_out``, ...)."""
    family, name = family_of(env_id)
    return family.level_sets(name)


def make_vec(env_id: str, num_envs: int, seed: int, **options: Any) -> SegmentedVecEnv:
    """Make a vectorized environment with segmentation.

    Args:
        env_id: ``<family>/<name>``, for example ``procgen/coinrun``; :func:`env_ids` lists them. Or the path of a
            Gymnasium class, ``package.module:name``.
        num_envs: number of copies that step together.
        seed: seed of the level sampling and of everything random in the simulator.
        **options: the simulator's options for the level set (``start_level``, ``num_levels``, ...), ``relevant``
            (class names, overrides the default relevant set), ``segmentation`` (``None`` switches masks off) and
            ``render_mode`` (``"rgb_array"`` renders large images for videos, if the simulator supports that).

    Raises:
        ValueError: unknown id or option value.
        TypeError: unknown option.
        MissingExtraError: the simulator is not installed.
    """
    family, name = family_of(env_id)
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, got {num_envs}")
    return family.make_vec(name, num_envs, seed, **options)
