"""Environment ids such as ``procgen/coinrun``: which exist, what they show, and how to make them."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast, get_args

from camal_rl.envs.segmentation import SegmentationSpec, SegmentedVecEnv
from camal_rl.extras import install_command
from camal_rl.spelling import did_you_mean

Exactness = Literal["exact", "good", "poor", "none"]


@dataclass(frozen=True)
class EnvInfo:
    """What one should know about an environment before choosing it.

    Attributes:
        exactness: how exact its masks are: ``exact``, drawn by or from the simulator itself; ``good`` and ``poor``,
            approximate, with measured agreement; ``none``, there are no masks, only images.
        license: license of the simulator and of what it shows.
        extra: the extra of camal-rl that installs the simulator; empty where nothing more is needed.
        module: the module that must be there for it; empty where nothing more is needed.
        note: one sentence on what is not exact, or why there are no masks; may be empty.
    """

    exactness: Exactness
    license: str
    extra: str = ""
    module: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """Check the exactness."""
        if self.exactness not in get_args(Exactness):
            raise ValueError(f"exactness must be one of {', '.join(get_args(Exactness))}, got {self.exactness!r}")

    @property
    def installed(self) -> bool:
        """Whether the simulator's module is there; it is not imported."""
        return not self.module or importlib.util.find_spec(self.module) is not None


class Family(Protocol):
    """What the module of a simulator family offers; names are without the family's prefix."""

    def env_names(self) -> tuple[str, ...]:
        """Return the names of the family's environments; needs no simulator installed."""

    def segmentation_spec(self, name: str) -> SegmentationSpec:
        """Return the classes of one environment and its default relevant set."""

    def info(self, name: str) -> EnvInfo:
        """Return how exact one environment's masks are, its license and what installs it."""

    def level_sets(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        """Return options for :func:`make_vec` by level set; ``train`` and ``held_out`` always exist."""

    def make_vec(self, name: str, num_envs: int, seed: int, **options: Any) -> SegmentedVecEnv:
        """Make ``num_envs`` copies as one vectorized environment."""

    def register(self) -> None:
        """Register the family's Gymnasium ids; needs no simulator installed."""


_FAMILY_MODULES = {
    "toy_grid": "camal_rl.envs.toy_grid",
    "procgen": "camal_rl.envs.procgen",
    "vizdoom": "camal_rl.envs.vizdoom",
    "minigrid": "camal_rl.envs.minigrid",
    "atari": "camal_rl.envs.atari",
}


class MissingExtraError(ImportError):
    """A simulator that is not installed; the message holds the install line."""

    def __init__(self, simulator: str, extra: str) -> None:
        super().__init__(f"{simulator} is not installed; install it with: {install_command(extra)}")


def _load(family: str) -> Family:
    return cast(Family, importlib.import_module(_FAMILY_MODULES[family]))


def env_ids() -> tuple[str, ...]:
    """Return every id that :func:`make_vec` takes, also of simulators that are not installed."""
    return tuple(f"{family}/{name}" for family in _FAMILY_MODULES for name in _load(family).env_names())


def register_gymnasium_ids() -> None:
    """Register ``camal_rl/<family>-<name>-v0`` for every environment; calling it again changes nothing."""
    for family in _FAMILY_MODULES:
        _load(family).register()


def family_of(env_id: str) -> tuple[Family, str]:
    """Split an id into its family's module and the name inside the family.

    Raises:
        ValueError: unknown id; the message names the nearest known one.
    """
    family, _, name = env_id.partition("/")
    if family in _FAMILY_MODULES:
        module = _load(family)
        if name in module.env_names():
            return module, name
    hint = did_you_mean(env_id, env_ids())
    raise ValueError(f"unknown environment {env_id!r}; {hint}`camal-rl envs` lists them all")


def segmentation_spec(env_id: str) -> SegmentationSpec:
    """Return the classes of an environment and its default relevant set, without starting a simulator."""
    module, name = family_of(env_id)
    return module.segmentation_spec(name)


def env_info(env_id: str) -> EnvInfo:
    """Return how exact an environment's masks are, its license and what installs it, without starting a simulator."""
    module, name = family_of(env_id)
    return module.info(name)


def level_sets(env_id: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the options of :func:`make_vec` that select each level set (``train``, ``held_out``, ...)."""
    module, name = family_of(env_id)
    return module.level_sets(name)


def make_vec(env_id: str, num_envs: int, seed: int, **options: Any) -> SegmentedVecEnv:
    """Make a vectorized environment with segmentation.

    Args:
        env_id: ``<family>/<name>``, for example ``procgen/coinrun``; :func:`env_ids` lists them.
        num_envs: number of copies that step together.
        seed: seed of the level sampling and of everything random in the simulator.
        **options: the level set as the simulator calls it (``start_level``, ``num_levels``, ...), ``relevant``
            (class names, overrides the default relevant set), ``segmentation`` (``None`` switches masks off) and
            ``render_mode`` (``"rgb_array"`` gives large pictures for videos where the simulator has them).

    Raises:
        ValueError: unknown id or option value.
        TypeError: unknown option.
        MissingExtraError: the simulator is not installed.
    """
    module, name = family_of(env_id)
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, got {num_envs}")
    return module.make_vec(name, num_envs, seed, **options)
