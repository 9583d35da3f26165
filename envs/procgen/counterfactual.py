"""Procgen's current frames redrawn with another background, other themes, or without some objects.

A second simulator of the same game draws each environment's state with a few fields edited. It never steps, and the
running simulator's states are only read, so the game is not affected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from camal_rl.envs.counterfactual import Counterfactual, Images, Intervention, require_known
from camal_rl.envs.procgen.classes import GAMES
from camal_rl.envs.procgen.edits import (
    BACKGROUNDS,
    SPACE,
    THEMES,
    WALL_THEMES,
    cell_classes,
    entity_classes,
    other_background,
    other_themes,
    removable_classes,
    remove_class,
)
from camal_rl.envs.procgen.mask_renderer import BoxMaskRenderer
from camal_rl.envs.procgen.options import ProcgenOptions
from camal_rl.envs.procgen.silhouette import mask_renderer
from camal_rl.envs.procgen.simulator import Simulator
from camal_rl.envs.procgen.state import cells, current_time, entities, read_floats, read_int, set_options, world
from camal_rl.envs.segmentation import LabelMap

SWAPS = 3
NUM_THEMES = 2
_FRAME = 64
_USES_SCREEN_COORDINATES = 10
_MAX_HIDDEN = 4
Edit = Callable[[bytearray], None]

NEAREST = Intervention(
    "remove_nearest_object", "remove", None, "Remove the relevant object in sight that is nearest to the agent."
)
LARGEST = Intervention(
    "remove_largest_object", "remove", None, "Remove the largest relevant object in sight, the agent excepted."
)


@dataclass(frozen=True)
class DrawnObject:
    """One object in sight.

    Attributes:
        class_name: its class.
        box: ``(left, top, right, bottom)`` in pixels of the frame; rotated sprites reach beyond it.
        is_cell: whether it is a cell of the grid; otherwise it is an entity.
        index: index of the cell or of the entity in the state.
    """

    class_name: str
    box: tuple[float, float, float, float]
    is_cell: bool
    index: int

    @property
    def center(self) -> tuple[float, float]:
        """Its middle in pixels, (x, y)."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    @property
    def visible_area(self) -> float:
        """The part of its box within the frame, in pixels."""
        left, top, right, bottom = (min(max(side, 0.0), float(_FRAME)) for side in self.box)
        return max(right - left, 0.0) * max(bottom - top, 0.0)


def procgen_interventions(game: str, options: ProcgenOptions) -> tuple[Intervention, ...]:
    """Return the interventions of a game with these options; none with generated assets, which have no states."""
    if options.use_generated_assets:
        return ()
    found: list[Intervention] = []
    if options.use_backgrounds:
        found += [
            Intervention(f"background_{number}", "background", None, "Paint another of the game's backgrounds.")
            for number in range(1, _swaps(game) + 1)
        ]
        found.append(Intervention("background_off", "background", None, "Paint black instead of the background."))
    has_themes = game in THEMES or game in WALL_THEMES
    if has_themes and not options.restrict_themes and not options.use_monochrome_assets:
        found += [
            Intervention(f"theme_{number}", "theme", None, "Draw objects and terrain in other themes.")
            for number in range(1, NUM_THEMES + 1)
        ]
    found += [
        Intervention(f"remove_{name}", "remove", name, f"Draw no object of class {name}.")
        for name in removable_classes(game)
    ]
    return (*found, NEAREST, LARGEST)


def _swaps(game: str) -> int:
    return min(SWAPS, BACKGROUNDS[game] - 1)


def _edit_of(intervention: Intervention, game: str) -> Edit:
    if intervention.kind == "remove" and intervention.class_name is not None:
        return partial(remove_class, game=game, name=intervention.class_name)
    if intervention.name == "background_off":
        return partial(set_options, use_backgrounds=False)
    if intervention.kind == "background":
        number = int(intervention.name.rpartition("_")[2])
        return partial(other_background, game=game, number=number, count=_swaps(game))
    if intervention.kind == "theme":
        return partial(other_themes, game=game, number=int(intervention.name.rpartition("_")[2]))
    return _nothing


def drawn_objects(state: bytes, game: str) -> list[DrawnObject]:
    """Return the objects in sight, including the agent, but without terrain and displays on the screen."""
    editable, classes = bytearray(state), GAMES[game]
    skipped = {"", *classes.edges, *classes.display}
    place = world(editable)
    found = entities(editable)
    on_screen = found["other"][:, _USES_SCREEN_COORDINATES] != 0
    boxes = _screen_boxes(editable, found["position"], found["radius"])
    names = np.where(on_screen, "", entity_classes(editable, game))
    objects = [DrawnObject(str(names[i]), boxes[i], False, i) for i in range(len(names)) if names[i] not in skipped]
    kinds = cell_classes(editable, game)
    chosen = np.flatnonzero(~np.isin(kinds, list(skipped)))
    width = read_int(editable, place.width)
    centers = np.stack([chosen % width, chosen // width], axis=1) + 0.5
    squares = _screen_boxes(editable, centers, np.full(centers.shape, 0.5))
    objects += [DrawnObject(str(kinds[i]), box, True, int(i)) for i, box in zip(chosen, squares, strict=True)]
    return [item for item in objects if item.visible_area > 0]


def _screen_boxes(
    state: bytearray, centers: npt.NDArray[Any], radii: npt.NDArray[Any]
) -> list[tuple[float, float, float, float]]:
    """Convert boxes in the world (y upwards) to boxes in the frame, with the camera position of the last frame."""
    place = world(state)
    (view,) = read_floats(state, place.view_dim, 1)
    middle = np.array(read_floats(state, place.center, 2))
    offset = (centers.astype(np.float64) - middle) * (1, -1)
    low, high = (((offset + sign * radii) / view + 0.5) * _FRAME for sign in (-1, 1))
    return [(float(a[0]), float(a[1]), float(b[0]), float(b[1])) for a, b in zip(low, high, strict=True)]


def remove_object(state: bytearray, item: DrawnObject) -> None:
    """Hide one object, in place."""
    if item.is_cell:
        cells(state)[item.index] = SPACE
    else:
        entities(state)["image_type"][item.index] = SPACE


class Redrawer:
    """Draws edited states of one game; created for the first counterfactual."""

    def __init__(
        self, game: str, num_envs: int, options: ProcgenOptions, relevant: Sequence[str], segmentation: str | None
    ) -> None:
        self._game, self._options, self._segmentation = game, options, segmentation
        self._candidates = set(relevant) - {"agent"}
        self._arguments = options.simulator_arguments() | {"render_mode": None}
        self._simulator = Simulator(game, num_envs, 0, self._arguments)
        self._renderer: BoxMaskRenderer | None = None

    def counterfactual(self, states: Sequence[bytes], current: Images, intervention: Intervention) -> Counterfactual:
        """Draw the states, whose frames are ``current``, under an intervention."""
        return Counterfactual.between(current, self._draw(states, self._edits(states, current, intervention)))

    def labels(self, states: Sequence[bytes], current: Images, intervention: Intervention) -> LabelMap:
        """Return label maps ``uint8[num, 64, 64]`` of the images from :meth:`counterfactual`.

        The first call starts one or two more simulators.

        Raises:
            ValueError: masks are switched off.
        """
        edits = self._edits(states, current, intervention)
        if self._renderer is None:
            self._renderer = mask_renderer(self._game, self._simulator, 0, self._segmentation, self._arguments)
        if self._renderer is None:
            raise ValueError("masks are switched off; make the environment with segmentation='box' or 'silhouette'")
        self._draw(states, edits)
        self._renderer.expect_new_states([current_time(state) for state in states])
        return self._renderer.labels().copy()

    def _edits(self, states: Sequence[bytes], current: Images, intervention: Intervention) -> list[Edit]:
        require_known(intervention, procgen_interventions(self._game, self._options))
        if intervention in (NEAREST, LARGEST):
            return self._edits_of_first_visible(states, current, intervention)
        return [_edit_of(intervention, self._game)] * len(states)

    def without(
        self, states: Sequence[bytes], current: Images, objects: Sequence[DrawnObject | None]
    ) -> Counterfactual:
        """Draw each state without one object, or unchanged for ``None``."""
        if len(objects) != len(states):
            raise ValueError(f"expected {len(states)} objects, one (or None) per environment, got {len(objects)}")
        return Counterfactual.between(current, self._draw(states, [_removal(item) for item in objects]))

    def _edits_of_first_visible(
        self, states: Sequence[bytes], current: Images, intervention: Intervention
    ) -> list[Edit]:
        """Remove, in each state, the first object whose removal changes the frame; objects before it are hidden."""
        orders = [self._order(state, intervention) for state in states]
        edits: list[Edit] = [_nothing] * len(states)
        pending = np.ones(len(states), dtype=bool)
        for rank in range(_MAX_HIDDEN + 1):
            chosen = [
                order[rank] if waits and rank < len(order) else None
                for order, waits in zip(orders, pending, strict=True)
            ]
            if not any(chosen):
                break
            drawn = self.without(states, current, chosen)
            for index in np.flatnonzero(drawn.applies):
                edits[index] = _removal(chosen[index])
            pending &= ~drawn.applies
        return edits

    def _order(self, state: bytes, intervention: Intervention) -> list[DrawnObject]:
        objects = drawn_objects(state, self._game)
        candidates = [item for item in objects if item.class_name in self._candidates]
        if intervention == LARGEST:
            return sorted(candidates, key=lambda item: -item.visible_area)
        agents = [item.center for item in objects if item.class_name == "agent"]
        x, y = agents[0] if agents else (_FRAME / 2, _FRAME / 2)
        return sorted(candidates, key=lambda item: (item.center[0] - x) ** 2 + (item.center[1] - y) ** 2)

    def _draw(self, states: Sequence[bytes], edits: Sequence[Edit]) -> Images:
        for index, (state, edit) in enumerate(zip(states, edits, strict=True)):
            edited = bytearray(state)
            edit(edited)
            self._simulator.set_state(index, bytes(edited))
        return self._simulator.frames()

    def close(self) -> None:
        """End the simulators' threads and free their memory."""
        if self._renderer is not None:
            self._renderer.close()
        self._simulator.close()


def _removal(item: DrawnObject | None) -> Edit:
    return _nothing if item is None else partial(remove_object, item=item)


def _nothing(state: bytearray) -> None:
    """Edit nothing: draw the state as it is."""
