"""A task's current frames redrawn: with another sky or ground, other colors or lights, or without a class.

Only the images change. The simulator's state is only read, so a ground that is not drawn still carries the walker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from camal_rl.envs.counterfactual import Intervention
from camal_rl.envs.dm_control.looks import Color, Look, without
from camal_rl.envs.dm_control.tasks import Task

_SKIES: Mapping[str, Color] = MappingProxyType({"gray": (0.5, 0.5, 0.5), "green": (0.3, 0.7, 0.3)})
_GROUNDS: Mapping[str, tuple[Color, Color]] = MappingProxyType(
    {"gray": ((0.35, 0.35, 0.35), (0.5, 0.5, 0.5)), "brown": ((0.4, 0.25, 0.15), (0.65, 0.45, 0.3))}
)
_BODY: Color = (0.2, 0.55, 0.75)
_LIGHTS: Mapping[str, float] = MappingProxyType({"dim": 0.6, "bright": 1.4})


def dm_control_interventions(task: Task) -> tuple[Intervention, ...]:
    """Return the interventions on a task."""
    skies = [f"Draw a {name} sky." for name in _SKIES]
    skies += ["Show a video in place of the sky.", "Show a video in place of sky and ground."]
    return (
        *(Intervention(f"background_{i}", "background", None, text) for i, text in enumerate(skies, 1)),
        *(
            Intervention(f"ground_{i}", "background", None, f"Draw the ground in {name}.")
            for i, name in enumerate(_GROUNDS, 1)
        ),
        Intervention("theme_1", "theme", None, "Draw the body in blue."),
        *(Intervention(f"lights_{name}", "theme", None, f"Light the scene {name}ly.") for name in _LIGHTS),
        *(
            Intervention(f"remove_{name}", "remove", name, f"Draw nothing of class {name}; it still has its effect.")
            for name in task.classes[1:]
        ),
    )


def edited(look: Look, intervention: Intervention) -> Look:
    """Return a look under an intervention (or the identity)."""
    name, _, which = intervention.name.partition("_")
    if name == "background":
        colors = list(_SKIES.values())
        number = int(which) - 1
        if number < len(colors):
            return replace(look, sky=colors[number], video=tuple(each for each in look.video if each != "background"))
        return replace(look, video=("background", "ground")[: number - len(colors) + 1])
    if name == "ground":
        ground = list(_GROUNDS.values())[int(which) - 1]
        return replace(look, ground=ground, video=tuple(each for each in look.video if each != "ground"))
    if name == "theme":
        return replace(look, body=_BODY)
    if name == "lights":
        return replace(look, lights=look.lights * _LIGHTS[which])
    return look if intervention.class_name is None else without(look, intervention.class_name)
