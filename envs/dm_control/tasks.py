"""Table of the DeepMind Control Suite's tasks, their classes and relevant sets, available without MuJoCo installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from camal_rl.envs.segmentation import SegmentationSpec

EPISODE_STEPS = 1000
"""Steps of the simulator in every episode, whatever the action repeat."""
RELEVANT = ("body", "object", "target")


@dataclass(frozen=True)
class Task:
    """One task of the suite.

    Attributes:
        domain: the suite's name of the model.
        task: the suite's name of the task.
        classes: the classes that are drawn, the background first.
        objects: bodies of the model that are not part of the agent's body.
        camera: number of the model's camera, the same as in DrQ-v2.
    """

    domain: str
    task: str
    classes: tuple[str, ...]
    objects: tuple[str, ...]
    camera: int

    @property
    def spec(self) -> SegmentationSpec:
        """The classes and the default relevant set."""
        return SegmentationSpec(self.classes, tuple(name for name in RELEVANT if name in self.classes))

    def class_of(self, name: str, body: str, is_plane: bool) -> str:
        """Return the class of a geom or site.

        Args:
            name: its name in the model.
            body: name of the body that it belongs to; ``world`` for parts that do not move.
            is_plane: whether it is a geom of MuJoCo's type plane.
        """
        if name.startswith("target"):
            return "target"
        if body in self.objects:
            return "object"
        if body != "world" or name in ("root", "arm_root"):
            return "body"
        return "ground" if is_plane and not name.startswith("wall") else "fixture"


# The model, its tasks, the classes besides background, ground and body, and the bodies that are objects.
_DOMAINS: tuple[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    ("acrobot", ("swingup", "swingup_sparse"), (), ()),
    ("ball_in_cup", ("catch",), ("object",), ("ball",)),
    (
        "cartpole",
        ("balance", "balance_sparse", "swingup", "swingup_sparse", "two_poles", "three_poles"),
        ("fixture",),
        (),
    ),
    ("cheetah", ("run",), (), ()),
    ("finger", ("spin",), ("object",), ("spinner",)),
    ("finger", ("turn_easy", "turn_hard"), ("object", "target"), ("spinner",)),
    ("fish", ("upright",), (), ()),
    ("fish", ("swim",), ("target",), ()),
    ("hopper", ("stand", "hop"), (), ()),
    ("humanoid", ("stand", "walk", "run"), (), ()),
    ("humanoid_CMU", ("stand", "walk", "run"), (), ()),
    ("manipulator", ("bring_ball", "insert_ball"), ("fixture", "object", "target"), ("ball", "cup")),
    ("manipulator", ("bring_peg", "insert_peg"), ("fixture", "object", "target"), ("peg", "pommel", "slot")),
    ("pendulum", ("swingup",), (), ()),
    ("point_mass", ("easy", "hard"), ("fixture", "target"), ()),
    ("quadruped", ("walk", "run"), (), ()),
    ("quadruped", ("fetch",), ("fixture", "object", "target"), ("ball",)),
    ("reacher", ("easy", "hard"), ("fixture", "target"), ()),
    ("stacker", ("stack_2", "stack_4"), ("fixture", "object", "target"), ("box0", "box1", "box2", "box3")),
    ("swimmer", ("swimmer6", "swimmer15"), ("target",), ()),
    ("walker", ("stand", "walk", "run"), (), ()),
)
_ORDER = ("background", "ground", "fixture", "body", "object", "target")


def _tasks() -> Mapping[str, Task]:
    found = {}
    for domain, tasks, more, objects in _DOMAINS:
        classes = tuple(name for name in _ORDER if name in ("background", "ground", "body", *more))
        for task in tasks:
            found[f"{domain}-{task}"] = Task(domain, task, classes, objects, 2 if domain == "quadruped" else 0)
    return MappingProxyType(found)


TASKS = _tasks()
