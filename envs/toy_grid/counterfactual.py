"""Redraws the toy grid's current images: with another cue, floor or theme, or without some of the objects.

Only the image changes: a hidden goal is still there. Images are painted anew from the levels' layouts, so the running
games are only read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from camal_rl.envs.counterfactual import Counterfactual, Intervention, require_known
from camal_rl.envs.segmentation import LabelMap
from camal_rl.envs.toy_grid.art import CELL, THEME_ART, Image, Sprite, cue_tile
from camal_rl.envs.toy_grid.game import ToyGridGames
from camal_rl.envs.toy_grid.layout import GRID, QUADRANTS, Cell, make_layout
from camal_rl.envs.toy_grid.level import ART_STREAM, LABEL, SIZE, paint_background
from camal_rl.envs.toy_grid.options import SPEC, THEMES, LevelDesign
from camal_rl.envs.toy_grid.random_stream import RandomStream

SWAPS = 3
NEAREST = Intervention(
    "remove_nearest_object", "remove", None, "Remove the relevant object that is nearest to the agent."
)
INTERVENTIONS: tuple[Intervention, ...] = (
    *(
        Intervention(f"background_{number}", "background", None, "Paint another floor of the same theme.")
        for number in range(1, SWAPS + 1)
    ),
    Intervention("theme_1", "theme", None, "Draw everything in the other theme."),
    *(
        Intervention(f"change_cue_{number}", "change", "cue", "Show the cue of another quadrant.")
        for number in range(1, QUADRANTS)
    ),
    *(
        Intervention(f"remove_{name}", "remove", name, f"Draw nothing of class {name}; it still has its effect.")
        for name in SPEC.names[1:]
    ),
    NEAREST,
)


@dataclass(frozen=True)
class Scene:
    """Everything that the image of one game is painted from.

    Attributes:
        theme: name of the drawings and textures.
        floor: which floor and texture of the theme is painted: ``floor * number of textures + texture``.
        phase: shift of the floor's texture.
        cue: quadrant of the cue; ``None`` shows the frame behind it.
        things: (cell, class, sprite) of everything drawn, in the order of drawing, the agent last.
    """

    theme: str
    floor: int
    phase: int
    cue: int | None
    things: tuple[tuple[Cell, str, Sprite], ...] = field(repr=False)

    @classmethod
    def of(cls, seed: int, design: LevelDesign, agent: Cell) -> Scene:
        """Return the scene of a level with its agent in a cell."""
        layout, art, stream = make_layout(seed, design), THEME_ART[design.theme], RandomStream(seed, ART_STREAM)
        floor, texture = stream.randrange(len(art.floors)), stream.randrange(len(art.textures))
        phase = stream.randrange(CELL)
        things = [(cell, "wall", art.wall) for cell in layout.walls]
        things += [(cell, "hazard", art.hazard) for cell in layout.hazards]
        things += [(layout.goal, "goal", art.goal)]
        things += [(cell, "distractor", stream.choice(art.distractors)) for cell in layout.distractors]
        things += [(agent, "agent", art.agent)]
        return cls(design.theme, floor * len(art.textures) + texture, phase, layout.cue, tuple(things))

    def without_class(self, name: str) -> Scene:
        """Return the scene without a class."""
        cue = None if name == "cue" else self.cue
        return replace(self, cue=cue, things=tuple(thing for thing in self.things if thing[1] != name))

    def without_nearest(self, relevant: tuple[str, ...]) -> Scene:
        """Return the scene without the relevant object nearest to the agent in steps (the first of several)."""
        (row, col), *_ = self.things[-1]
        others = [thing for thing in self.things[:-1] if thing[1] in relevant]
        if not others:
            return self
        nearest = min(others, key=lambda thing: abs(thing[0][0] - row) + abs(thing[0][1] - col))
        return replace(self, things=tuple(thing for thing in self.things if thing is not nearest))

    def with_other_cue(self, number: int) -> Scene:
        """Return the scene with the cue of another quadrant: the ``number``-th after the present one."""
        return self if self.cue is None else replace(self, cue=(self.cue + number) % QUADRANTS)

    def with_other_floor(self, number: int) -> Scene:
        """Return the scene with another floor and texture: the ``number``-th, evenly spaced after the present one."""
        art = THEME_ART[self.theme]
        total = len(art.floors) * len(art.textures)
        return replace(self, floor=(self.floor + number * total // (SWAPS + 1)) % total)

    def label(self, boxes: bool) -> LabelMap:
        """Return the label map of the image, uint8[64, 64], of whole cells (``boxes``) or of the drawn pixels."""
        labels = np.zeros((SIZE, SIZE), dtype=np.uint8)
        if self.cue is not None:
            labels[:CELL] = LABEL["cue"]
        for (row, col), name, sprite in self.things:
            cell = labels[row * CELL : (row + 1) * CELL, col * CELL : (col + 1) * CELL]
            cell[sprite.mask | boxes] = LABEL[name]
        return labels

    def paint(self) -> Image:
        """Return the image, uint8[64, 64, 3]."""
        floor, texture = divmod(self.floor, len(THEME_ART[self.theme].textures))
        image = paint_background(self.theme, floor, texture, self.phase).copy()
        if self.cue is not None:
            image[:CELL] = np.tile(cue_tile(self.cue), (1, GRID, 1))
        for (row, col), _, sprite in self.things:
            cell = image[row * CELL : (row + 1) * CELL, col * CELL : (col + 1) * CELL]
            cell[sprite.mask] = sprite.color[sprite.mask]
        return image


def redraw(games: ToyGridGames, intervention: Intervention, relevant: tuple[str, ...]) -> Counterfactual:
    """Return the current images of all games under an intervention.

    Args:
        games: the games, which are only read.
        intervention: one of :data:`INTERVENTIONS`, or the identity.
        relevant: the classes that :data:`NEAREST` chooses from.

    Raises:
        ValueError: unknown intervention, or games that have not been reset yet.
    """
    images = np.stack([scene.paint() for scene in _edited(games, intervention, relevant)])
    return Counterfactual.between(games.images, images)


def redraw_labels(games: ToyGridGames, intervention: Intervention, relevant: tuple[str, ...]) -> LabelMap:
    """Return the label maps uint8[n, 64, 64] of the images from :func:`redraw`.

    Raises:
        ValueError: unknown intervention, or games that have not been reset yet.
    """
    boxes = games.options.segmentation == "box"
    return np.stack([scene.label(boxes) for scene in _edited(games, intervention, relevant)])


def _edited(games: ToyGridGames, intervention: Intervention, relevant: tuple[str, ...]) -> list[Scene]:
    require_known(intervention, INTERVENTIONS)
    if (games.levels < 0).any():
        raise ValueError("there is nothing to redraw yet; call reset first")
    edit, design = _edit_of(intervention, relevant), games.options.design
    if intervention.kind == "theme":
        design = replace(design, theme=next(name for name in THEMES if name != design.theme))
    where = zip(games.levels.tolist(), games.rows.tolist(), games.cols.tolist(), strict=True)
    return [edit(Scene.of(level, design, (row, col))) for level, row, col in where]


def _edit_of(intervention: Intervention, relevant: tuple[str, ...]) -> Callable[[Scene], Scene]:
    number, name = intervention.name.rpartition("_")[2], intervention.class_name
    if intervention == NEAREST:
        return lambda scene: scene.without_nearest(relevant)
    if intervention.kind == "remove" and name is not None:
        return lambda scene: scene.without_class(name)
    if intervention.kind == "change":
        return lambda scene: scene.with_other_cue(int(number))
    if intervention.kind == "background":
        return lambda scene: scene.with_other_floor(int(number))
    return lambda scene: scene
