"""The options of the toy grid, and their checks."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from camal_rl.argument_checks import check_integer, check_number
from camal_rl.envs.option_checks import check_option_names, class_names
from camal_rl.envs.segmentation import SegmentationSpec

MAX_LEVEL = 2**31 - 1
THEMES = ("train", "held_out")
SEGMENTATIONS = ("silhouette", "box", None)
SPEC = SegmentationSpec(
    names=("background", "agent", "goal", "hazard", "wall", "distractor", "cue"),
    relevant=("agent", "goal", "hazard", "wall"),
)


@dataclass(frozen=True)
class LevelDesign:
    """Everything that a level depends on, except the seed.

    Attributes:
        cue_strength: probability in [0, 1] that the cue of a level shows the goal's quadrant; otherwise the cue
            is drawn uniformly from the four quadrants. With 0 the cue carries no information.
        theme: ``"train"`` or ``"held_out"``: two disjoint sets of textures, colors and object drawings.
        num_walls: number of walls inside the frame, 0 to 6; none if 20 random placements all cut off the goal.
        num_hazards: number of hazards, 0 to 3, at most one in each quadrant without the goal.
        num_distractors: number of objects without effect that the agent can walk over, 0 to 6.
    """

    cue_strength: float = 1.0
    theme: str = "train"
    num_walls: int = 2
    num_hazards: int = 2
    num_distractors: int = 2

    def __post_init__(self) -> None:
        """Check every range."""
        if not 0.0 <= self.cue_strength <= 1.0:
            raise ValueError(f"cue_strength must be in [0, 1], got {self.cue_strength}")
        if self.theme not in THEMES:
            raise ValueError(f"theme must be one of {', '.join(THEMES)}, got {self.theme!r}")
        for name, high in (("num_walls", 6), ("num_hazards", 3), ("num_distractors", 6)):
            check_integer(name, getattr(self, name), 0, high)


@dataclass(frozen=True)
class ToyGridOptions:
    """The options of ``make_vec("toy_grid/<variant>", ...)`` besides those of :class:`LevelDesign`.

    Attributes:
        design: the design of the levels.
        start_level: the first level seed.
        num_levels: how many consecutive level seeds are used; 0 means all up to 2**31 - 1.
        max_steps: time limit of an episode (a truncation).
        step_cost: subtracted at every step that reaches neither goal nor hazard.
        segmentation: ``"silhouette"`` labels exactly the drawn pixels, ``"box"`` the whole 8x8 cell of every
            object, ``None`` switches label maps off.
        relevant: class names that override the default relevant set.
    """

    design: LevelDesign = field(default_factory=LevelDesign)
    start_level: int = 0
    num_levels: int = 200
    max_steps: int = 20
    step_cost: float = 0.02
    segmentation: Literal["silhouette", "box"] | None = "silhouette"
    relevant: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check every range."""
        check_integer("start_level", self.start_level, 0, MAX_LEVEL)
        check_integer("num_levels", self.num_levels, 0, MAX_LEVEL + 1 - self.start_level)
        check_integer("max_steps", self.max_steps, 1, 10_000)
        if not 0.0 <= self.step_cost <= 1.0:
            raise ValueError(f"step_cost must be in [0, 1], got {self.step_cost}")
        if self.segmentation not in SEGMENTATIONS:
            raise ValueError(f"segmentation must be 'silhouette', 'box' or None, got {self.segmentation!r}")
        self.spec()

    def spec(self) -> SegmentationSpec:
        """Return the classes with the relevant set of these options."""
        return SPEC.with_relevant(self.relevant)

    def level_count(self) -> int:
        """Return how many level seeds can occur."""
        return self.num_levels or MAX_LEVEL + 1 - self.start_level


_DESIGN_KEYS = tuple(item.name for item in fields(LevelDesign))
OPTION_NAMES = tuple(item.name for item in fields(ToyGridOptions) if item.name != "design") + _DESIGN_KEYS


def parse_options(defaults: ToyGridOptions, given: dict[str, Any]) -> ToyGridOptions:
    """Return ``defaults`` with the given keyword options.

    Raises:
        TypeError: unknown option (the message names the nearest) or a value of the wrong type.
        ValueError: a value out of its range.
    """
    check_option_names("toy grid", given, OPTION_NAMES)
    for name in ("cue_strength", "step_cost"):
        check_number(name, given.get(name, 0.0))
    design = replace(defaults.design, **{key: given[key] for key in _DESIGN_KEYS if key in given})
    rest = {key: value for key, value in given.items() if key not in _DESIGN_KEYS}
    if "relevant" in rest:
        rest["relevant"] = class_names(rest["relevant"])
    return replace(defaults, design=design, **rest)
