"""MiniGrid's current image redrawn: with another floor or other colors, without the highlight, or without some objects.

Only the image changes. A copy of the cells is edited and drawn with MiniGrid's own tiles; the game is only read. Lava
that is not drawn still kills, and what a removed door hides stays hidden.
"""

from __future__ import annotations

from camal_rl.envs.counterfactual import Intervention
from camal_rl.envs.minigrid.options import MiniGridOptions
from camal_rl.envs.minigrid.scene import FLOORS, Scene

NEAREST = Intervention(
    "remove_nearest_object", "remove", None, "Remove the relevant object in sight that is nearest to the agent."
)
HIGHLIGHT_OFF = Intervention(
    "highlight_off", "background", None, "Draw the cells in the agent's field of view like all others."
)
THEME = Intervention("theme_1", "theme", None, "Draw walls and objects in the other theme's colors.")
BACKGROUNDS = tuple(
    Intervention(f"background_{number}", "background", None, f"Draw the floor in {FLOORS[number]}.")
    for number in range(1, len(FLOORS))
)


def minigrid_interventions(options: MiniGridOptions) -> tuple[Intervention, ...]:
    """Return the interventions on an environment with these options."""
    classes = ("wall", *options.group.objects, "agent")
    return (
        *BACKGROUNDS,
        *((HIGHLIGHT_OFF,) if options.highlight and options.view == "full" else ()),
        *(() if options.group.colors_matter else (THEME,)),
        *(Intervention(f"remove_{name}", "remove", name, f"Draw nothing of class {name}.") for name in classes),
        NEAREST,
    )


def edited(scene: Scene, intervention: Intervention, options: MiniGridOptions) -> Scene:
    """Return a scene under an intervention, in the environment's theme.

    Args:
        scene: the current scene in MiniGrid's own colors.
        intervention: one of :func:`minigrid_interventions`, or the identity.
        options: options of the environment; they give the theme and the relevant set.
    """
    if intervention in BACKGROUNDS:
        scene = scene.on_floor(1 + BACKGROUNDS.index(intervention))
    elif intervention == NEAREST:
        scene = scene.without_nearest(options.spec().relevant)
    elif intervention == HIGHLIGHT_OFF:
        scene = scene.unlit()
    elif intervention.class_name is not None:
        scene = scene.without_class(intervention.class_name)
    return scene.recolored() if (options.theme == "recolored") != (intervention == THEME) else scene
