"""A moving camera, as in the Distracting Control Suite: it turns, nods, rolls and comes nearer.

In Stone et al. 2021 (arXiv 2101.02722) the camera drifts at random around its subject. Here the angles are slow sine
waves whose phases and speeds are drawn for each level, so the level and the step determine the pose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
_CAMERA_STREAM = 3
# Largest turn, nod and roll in radians, and largest share of the distance by which the camera comes nearer.
_LARGEST = (0.25, 0.12, 0.2, 0.15)
# Period of a wave of speed 1, in steps of the simulator.
_PERIOD = 250.0


@dataclass(frozen=True)
class Pose:
    """A camera's displacement from its usual pose.

    Attributes:
        turn: radians around the camera's up vector, through its subject.
        nod: radians by which it looks up.
        roll: radians around its viewing direction.
        nearer: share of the distance to its subject by which it is nearer; negative if farther.
    """

    turn: float
    nod: float
    roll: float
    nearer: float


def pose_of_level(level: int, step: int) -> Pose:
    """Return the pose of a level's camera at a step of the simulator."""
    draw = np.random.default_rng([level, _CAMERA_STREAM])
    phases, speeds = draw.uniform(0, 2 * np.pi, 4), draw.uniform(0.5, 1.5, 4)
    waves = np.sin(phases + 2 * np.pi * speeds * step / _PERIOD)
    turn, nod, roll, nearer = (float(value) for value in waves * _LARGEST)
    return Pose(turn, nod, roll, nearer)


def moved(position: Vector, forward: Vector, up: Vector, distance: float, pose: Pose) -> tuple[Vector, Vector, Vector]:
    """Return position, viewing direction and up vector ``(3,)`` of a camera in a pose.

    Args:
        position: its usual position.
        forward: its usual viewing direction, a unit vector.
        up: its usual up vector, a unit vector.
        distance: distance to its subject.
        pose: its displacement around the subject.
    """
    middle = position + distance * forward
    right = np.cross(forward, up)
    turned = [_rotated(_rotated(each, up, pose.turn), right, pose.nod) for each in (forward, up)]
    ahead, above = turned[0], _rotated(turned[1], turned[0], pose.roll)
    return middle - (1 - pose.nearer) * distance * ahead, ahead, above


def _rotated(vector: Vector, axis: Vector, angle: float) -> Vector:
    """Rotate a vector around a unit axis (Rodrigues' formula)."""
    along = axis * (axis @ vector) * (1 - np.cos(angle))
    return np.asarray(vector * np.cos(angle) + np.cross(axis, vector) * np.sin(angle) + along)
