"""The options of MiniGrid and their checks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from camal_rl.argument_checks import check_choice
from camal_rl.envs.levels import check_level_range
from camal_rl.envs.minigrid.layouts import GROUPS, LAYOUTS, NAMES, Group, largest_side
from camal_rl.envs.option_checks import check_option_names, class_names
from camal_rl.envs.segmentation import SegmentationSpec
from camal_rl.spelling import did_you_mean

VIEW_CELLS = 7
THEMES = ("minigrid", "recolored")
_PARTIAL_TILE = 8
_USUAL_SIDE = 64
_LARGE_GROUP_TILE = 4
_SMALLEST_TILE = 3


@dataclass(frozen=True)
class MiniGridOptions:
    """The options of ``make_vec("minigrid/<name>", ...)``.

    Attributes:
        name: name of the environment, which determines the size of the observations.
        layout: the environment of the same group whose levels are played; ``None`` is ``name``'s own.
        view: ``full``: the whole grid from above, without what the agent carries. ``partial``: the 7x7 cells in front
            of the agent, which faces up in the middle of the bottom row; its cell also shows what it carries.
        tile_size: height and width of a cell in pixels, at least 3. ``None`` is 8 in the partial view, and what fills
            the image in the full view. In the full view, another ``layout`` is drawn as large as the image of ``name``
            allows.
        highlight: brighten the cells in the agent's field of view; the partial view always does.
        theme: ``minigrid``, or ``recolored``: every color of walls and objects is replaced by another. MiniGrid fixes
            the colors of lava and of the agent.
        start_level: first level; a level is the seed of an episode.
        num_levels: number of levels; 0 means every level from ``start_level`` on.
        segmentation: ``silhouette`` labels the pixels that an object paints, ``box`` whole cells, ``None`` switches
            masks off.
        relevant: class names that replace the default relevant set.
        subproc: run each environment in its own process. This pays off only with many environments, because a step
            takes less time than the communication between processes. A single environment ignores it.
    """

    name: str
    layout: str | None = None
    view: Literal["full", "partial"] = "full"
    tile_size: int | None = None
    highlight: bool = True
    theme: Literal["minigrid", "recolored"] = "minigrid"
    start_level: int = 0
    num_levels: int = 0
    segmentation: Literal["silhouette", "box"] | None = "silhouette"
    relevant: tuple[str, ...] | None = None
    subproc: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        check_choice("view", self.view, ("full", "partial"))
        check_choice("theme", self.theme, THEMES)
        check_choice("segmentation", self.segmentation, ("silhouette", "box", None))
        for name in ("highlight", "subproc"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be true or false, got {getattr(self, name)!r}")
        if self.view == "partial" and not self.highlight:
            raise ValueError("highlight=False needs view='full': in the partial view the highlight marks seen cells")
        if self.theme != "minigrid" and self.group.colors_matter:
            raise ValueError(f"{self.name} has no theme {self.theme!r}: its colors say what the objects are for")
        check_level_range(self.start_level, self.num_levels)
        self._check_layout()
        self._check_tile_size()
        self.spec()

    def _check_layout(self) -> None:
        group = LAYOUTS[self.name].group
        siblings = [name for name, layout in LAYOUTS.items() if layout.group == group]
        if self.layout is not None and self.layout not in siblings:
            raise ValueError(f"layout of {self.name} must be one of {', '.join(siblings)}, got {self.layout!r}")

    def _check_tile_size(self) -> None:
        size = self.tile_size
        if size is not None and (isinstance(size, bool) or not isinstance(size, int)):
            raise TypeError(f"tile_size must be an integer or None, got {size!r}")
        if self.drawn_tile_size < _SMALLEST_TILE:
            raise ValueError(
                f"tile_size must give cells of at least {_SMALLEST_TILE} pixels, got tile_size={size}, which gives "
                f"{self.played} cells of {self.drawn_tile_size}; increase it"
            )

    @property
    def group(self) -> Group:
        """The kind of task."""
        return GROUPS[LAYOUTS[self.name].group]

    @property
    def played(self) -> str:
        """The layout whose levels are played."""
        return self.name if self.layout is None else self.layout

    @property
    def side(self) -> int:
        """Height and width of the observation in pixels; the same for every ``layout``."""
        if self.view == "partial":
            return VIEW_CELLS * (_PARTIAL_TILE if self.tile_size is None else self.tile_size)
        own = LAYOUTS[self.name]
        if self.tile_size is not None:
            return self.tile_size * max(own.width, own.height)
        return max(_USUAL_SIDE, _LARGE_GROUP_TILE * largest_side(own.group))

    @property
    def drawn_tile_size(self) -> int:
        """Height and width in pixels of a cell of the layout that is played."""
        played = LAYOUTS[self.played]
        return self.side // (VIEW_CELLS if self.view == "partial" else max(played.width, played.height))

    def spec(self) -> SegmentationSpec:
        """Return the classes with the relevant set of these options.

        In the partial view the agent is always drawn at the same place, so decisions do not depend on it.
        """
        relevant = tuple(name for name in self.group.relevant if self.view == "full" or name != "agent")
        return SegmentationSpec(NAMES, relevant).with_relevant(self.relevant)


OPTION_NAMES = tuple(item.name for item in fields(MiniGridOptions) if item.name != "name")


def parse_options(name: str, given: dict[str, Any]) -> MiniGridOptions:
    """Return the options given for an environment.

    Raises:
        TypeError: unknown option (the message names the nearest) or a value of the wrong type.
        ValueError: unknown environment, or a value that it does not have.
    """
    if name not in LAYOUTS:
        hint = did_you_mean(name, LAYOUTS)
        raise ValueError(f"unknown MiniGrid environment {name!r}; {hint}`camal-rl envs` lists them all")
    check_option_names("MiniGrid", given, OPTION_NAMES)
    return MiniGridOptions(name, **{**given, "relevant": class_names(given.get("relevant"))})
