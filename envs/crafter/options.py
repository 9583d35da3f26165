"""The options of Crafter and their checks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from camal_rl.argument_checks import check_choice, check_integer
from camal_rl.envs.crafter.classes import NAMES, RELEVANT, REWARDED
from camal_rl.envs.levels import check_level_range
from camal_rl.envs.option_checks import check_option_names, class_names
from camal_rl.envs.segmentation import SegmentationSpec
from camal_rl.spelling import did_you_mean

VIEW_CELLS = 9
"""Cells along a side of the image: 9x7 cells of the world, and two rows of the inventory below them."""
SMALLEST_SIZE, LARGEST_SIZE = 36, 1024
WORLDS = ("crafter", "rugged")
DAYLIGHTS = ("cycle", "day", "night")
THEMES = ("crafter", "recolored")


@dataclass(frozen=True)
class CrafterOptions:
    """The options of ``make_vec("crafter/<name>", ...)``.

    Attributes:
        name: ``Reward`` or ``NoReward``.
        size: height and width of the observation in pixels, 36 to 1024. At night Crafter draws noise for every pixel
            from the same generator that moves the creatures. From the first night on, episodes of two sizes differ.
        world: ``crafter``, or ``rugged``: more mountains, caves and water, fewer trees.
        daylight: ``cycle``: Crafter's day and night; ``day``: always noon; ``night``: always midnight. As in Crafter,
            there are more zombies when it is darker.
        theme: ``crafter``, or ``recolored``: every texture in other colors.
        length: steps after which an episode is truncated.
        start_level: first level; a level is the seed of a world.
        num_levels: number of levels; 0 means every level from ``start_level`` on.
        segmentation: ``silhouette`` labels the pixels that a sprite paints, ``box`` its whole tile, ``None`` switches
            masks off.
        relevant: class names that replace the default relevant set.
        subproc: run each environment in its own process.
    """

    name: str
    size: int = 64
    world: Literal["crafter", "rugged"] = "crafter"
    daylight: Literal["cycle", "day", "night"] = "cycle"
    theme: Literal["crafter", "recolored"] = "crafter"
    length: int = 10_000
    start_level: int = 0
    num_levels: int = 0
    segmentation: Literal["silhouette", "box"] | None = "silhouette"
    relevant: tuple[str, ...] | None = None
    subproc: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        check_integer("size", self.size, SMALLEST_SIZE, LARGEST_SIZE)
        check_integer("length", self.length, 1, 2**31 - 1)
        check_choice("world", self.world, WORLDS)
        check_choice("daylight", self.daylight, DAYLIGHTS)
        check_choice("theme", self.theme, THEMES)
        check_choice("segmentation", self.segmentation, ("silhouette", "box", None))
        if not isinstance(self.subproc, bool):
            raise TypeError(f"subproc must be true or false, got {self.subproc!r}")
        check_level_range(self.start_level, self.num_levels)
        self.spec()

    @property
    def tile(self) -> int:
        """Height and width of a tile in pixels."""
        return self.size // VIEW_CELLS

    @property
    def rewarded(self) -> bool:
        """Whether the environment gives rewards."""
        return REWARDED[self.name]

    def spec(self) -> SegmentationSpec:
        """Return the classes with the relevant set of these options."""
        return SegmentationSpec(NAMES, RELEVANT).with_relevant(self.relevant)


OPTION_NAMES = tuple(item.name for item in fields(CrafterOptions) if item.name != "name")


def parse_options(name: str, given: dict[str, Any]) -> CrafterOptions:
    """Return the options given for an environment.

    Raises:
        TypeError: unknown option (the message names the nearest) or a value of the wrong type.
        ValueError: unknown environment, or a value out of its range.
    """
    if name not in REWARDED:
        hint = did_you_mean(name, REWARDED)
        raise ValueError(f"unknown Crafter environment {name!r}; {hint}known: {', '.join(REWARDED)}")
    check_option_names("Crafter", given, OPTION_NAMES)
    return CrafterOptions(name, **{**given, "relevant": class_names(given.get("relevant"))})
