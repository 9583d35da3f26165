"""The options of a task of the DeepMind Control Suite and their checks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from camal_rl.argument_checks import check_choice, check_integer
from camal_rl.envs.dm_control.tasks import EPISODE_STEPS, TASKS, Task
from camal_rl.envs.levels import check_level_range
from camal_rl.envs.option_checks import check_option_names, class_names
from camal_rl.envs.segmentation import SegmentationSpec
from camal_rl.spelling import did_you_mean

APPEARANCES = ("original", "color_easy", "color_hard", "video_easy", "video_hard")
CAMERAS = ("original", "moving")
_SIDES = (32, 512)


@dataclass(frozen=True)
class DmControlOptions:
    """The options of ``make_vec("dm_control/<domain>-<task>", ...)``.

    Attributes:
        name: name of the task.
        start_level: first level; a level is the seed of an episode, which determines its initial state, colors, video
            and camera.
        num_levels: number of levels; 0 means every level from ``start_level`` on.
        action_repeat: steps of the simulator for which an action is applied. Rewards are summed, and the observation
            shows the last step. An episode has 1000 steps of the simulator.
        size: height and width of the observation in pixels.
        frame_stack: number of frames in an observation, stacked along the channels, the newest last.
        stack_labels: ``newest``: the label map of the newest frame; ``union``: the union over all frames of the stack.
        appearance: ``original``; ``color_easy`` or ``color_hard``: other colors of body, ground and sky in each level;
            ``video_easy``: a video in place of the sky; ``video_hard``: a video in place of sky and ground.
        camera: ``original``; ``moving``: the camera turns, nods, rolls, and comes nearer and goes farther away.
        segmentation: ``silhouette`` labels the pixels that a part paints, ``None`` switches masks off.
        relevant: class names that replace the default relevant set.
        subproc: run each environment in its own process.
    """

    name: str
    start_level: int = 0
    num_levels: int = 0
    action_repeat: int = 2
    size: int = 84
    frame_stack: int = 3
    stack_labels: Literal["newest", "union"] = "newest"
    appearance: Literal["original", "color_easy", "color_hard", "video_easy", "video_hard"] = "original"
    camera: Literal["original", "moving"] = "original"
    segmentation: Literal["silhouette"] | None = "silhouette"
    relevant: tuple[str, ...] | None = None
    subproc: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        check_level_range(self.start_level, self.num_levels)
        check_integer("action_repeat", self.action_repeat, 1, EPISODE_STEPS)
        check_integer("size", self.size, *_SIDES)
        check_integer("frame_stack", self.frame_stack, 1, 16)
        check_choice("stack_labels", self.stack_labels, ("newest", "union"))
        check_choice("appearance", self.appearance, APPEARANCES)
        check_choice("camera", self.camera, CAMERAS)
        check_choice("segmentation", self.segmentation, ("silhouette", None))
        if not isinstance(self.subproc, bool):
            raise TypeError(f"subproc must be true or false, got {self.subproc!r}")
        self.spec()

    @property
    def task(self) -> Task:
        """The task's entry in the table of tasks."""
        return TASKS[self.name]

    def spec(self) -> SegmentationSpec:
        """Return the classes with the relevant set of these options."""
        return self.task.spec.with_relevant(self.relevant)


OPTION_NAMES = tuple(item.name for item in fields(DmControlOptions) if item.name != "name")


def parse_options(name: str, given: dict[str, Any]) -> DmControlOptions:
    """Return the options given for a task.

    Raises:
        TypeError: unknown option (the message names the nearest) or a value of the wrong type.
        ValueError: unknown task, or a value out of its range.
    """
    if name not in TASKS:
        raise ValueError(f"unknown dm_control task {name!r}; {did_you_mean(name, TASKS)}`camal-rl envs` lists them all")
    check_option_names("dm_control", given, OPTION_NAMES)
    return DmControlOptions(name, **{**given, "relevant": class_names(given.get("relevant"))})
