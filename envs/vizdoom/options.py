"""The options of a ViZDoom scenario, and their checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, cast

from camal_rl.argument_checks import check_integer
from camal_rl.envs.levels import check_level_range
from camal_rl.envs.option_checks import check_option_names, class_names
from camal_rl.envs.segmentation import SegmentationSpec
from camal_rl.envs.vizdoom.scenarios import SCENARIOS

ENGINE_SIZE = (120, 160)
_MIN_SIDE = 16


@dataclass(frozen=True)
class VizdoomOptions:
    """The options of ``make_vec("vizdoom/<scenario>", ...)``.

    Attributes:
        start_level: first level; a level is a seed of the engine.
        num_levels: how many levels; 0 for all from ``start_level`` on.
        frame_skip: tics (of 1/35 s) that an action lasts.
        max_buttons_pressed: an action is a set of at most this many buttons; the empty one is action 0.
        size: (H, W) of the observations; an integer is a square. At most the engine's 120 x 160; the default is half of
            it, so that every pixel is the mean of four.
        appearance: ``"original"``, or ``"held_out"`` for other walls, floors and ceilings.
        segmentation: ``"silhouette"``, or ``None`` for no masks.
        relevant: class names that replace the scenario's own relevant set.
        subproc: one process for each environment.
    """

    start_level: int = 0
    num_levels: int = 200
    frame_skip: int = 4
    max_buttons_pressed: int = 1
    size: tuple[int, int] = (60, 80)
    appearance: Literal["original", "held_out"] = "original"
    segmentation: Literal["silhouette"] | None = "silhouette"
    relevant: tuple[str, ...] | None = None
    subproc: bool = False

    def __post_init__(self) -> None:
        """Check types and ranges."""
        check_level_range(self.start_level, self.num_levels)
        check_integer("frame_skip", self.frame_skip, 1, 35)
        check_integer("max_buttons_pressed", self.max_buttons_pressed, 1, 3)
        for name, side, high in zip(("height", "width"), self.size, ENGINE_SIZE, strict=True):
            check_integer(f"the {name} in size", side, _MIN_SIDE, high)
        if self.appearance not in ("original", "held_out"):
            raise ValueError(f"appearance must be 'original' or 'held_out', got {self.appearance!r}")
        if self.segmentation not in ("silhouette", None):
            raise ValueError(f"segmentation must be 'silhouette' or None, got {self.segmentation!r}")
        if not isinstance(self.subproc, bool):
            raise TypeError(f"subproc must be True or False, got {self.subproc!r}")

    def spec(self, scenario: str) -> SegmentationSpec:
        """Return the classes of a scenario with the relevant set of these options."""
        return SCENARIOS[scenario].spec.with_relevant(self.relevant)


OPTION_NAMES = tuple(option.name for option in fields(VizdoomOptions))


def parse_options(scenario: str, given: dict[str, Any]) -> VizdoomOptions:
    """Check the options given for a scenario.

    Raises:
        TypeError: unknown option (the message names the nearest) or a value of the wrong type.
        ValueError: a value out of its range, or an unknown class.
    """
    check_option_names("ViZDoom", given, OPTION_NAMES)
    values = {**given, "relevant": class_names(given.get("relevant"))}
    if "size" in values:
        values["size"] = _as_size(values["size"])
    options = VizdoomOptions(**values)
    options.spec(scenario)
    return options


def _as_size(size: object) -> tuple[int, int]:
    if isinstance(size, int) and not isinstance(size, bool):
        return size, size
    if isinstance(size, str) or not isinstance(size, Sequence) or len(size) != 2:
        raise TypeError(f"size must be [height, width] or one integer for a square, got {size!r}")
    return cast(tuple[int, int], tuple(size))
