"""Crafter's current image redrawn: in other textures, by day, or without some objects.

Only the image changes: a zombie that is not drawn still attacks, and a tree that is not drawn still blocks the way.
"""

from __future__ import annotations

from camal_rl.envs.counterfactual import Intervention
from camal_rl.envs.crafter.classes import INVENTORY, LEFT_BEHIND, OBJECTS
from camal_rl.envs.crafter.options import CrafterOptions
from camal_rl.envs.crafter.scene import Scene

THEME = Intervention("theme_1", "theme", None, "Draw everything in the other theme's textures.")
NIGHT_OFF = Intervention("night_off", "background", None, "Draw the world as at noon: not dark, and without noise.")
NEAREST = Intervention(
    "remove_nearest_object", "remove", None, "Remove the relevant object or material that is nearest to the player."
)
REMOVALS = (
    *(Intervention(f"remove_{name}", "remove", name, f"Draw {left} in place of {name}.")
      for name, left in LEFT_BEHIND.items()),
    *(Intervention(f"remove_{name}", "remove", name, f"Draw nothing of class {name}.")
      for name in (*OBJECTS, INVENTORY)),
)  # fmt: skip


def crafter_interventions(options: CrafterOptions) -> tuple[Intervention, ...]:
    """Return the interventions on an environment with these options."""
    return (*((NIGHT_OFF,) if options.daylight != "day" else ()), THEME, *REMOVALS, NEAREST)


def edited(scene: Scene, intervention: Intervention, relevant: tuple[str, ...]) -> Scene:
    """Return a scene under an intervention; a change of theme is left to the painter.

    Args:
        scene: the game's current scene.
        intervention: one of :func:`crafter_interventions`, or the identity.
        relevant: the environment's relevant classes.
    """
    if intervention == NIGHT_OFF:
        return scene.by_day()
    if intervention == NEAREST:
        return scene.without_nearest(relevant)
    return scene if intervention.class_name is None else scene.without_class(intervention.class_name)
