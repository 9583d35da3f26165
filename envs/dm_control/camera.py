"""A camera that moves: turned, nodded, rolled and brought nearer, as in the Distracting Control Suite.

Stone et al. 2021 (arXiv 2101.02722) let a camera drift at random around what it looks at. Here the angles are slow
waves whose phases are drawn for each level, so that a pose follows from the level and the step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
_CAMERA_STREAM = 3
# Radians of turning, nodding and rolling, and the share of the distance by which the camera comes nearer.
_LARGEST = (0.25, 0.12, 0.2, 0.15)
# Steps of the simulator in which a wave comes back, about.
_PERIOD = 250.0


@dataclass(frozen=True)
class Pose:
    """Where a camera is beside its usual place.

    Attributes:
        turn: radians around the vertical through what it looks at.
        nod: radians up.
        roll: radians around its own axis.
        nearer: share of the distance by which it is nearer.
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
    """Return position, forward and up ``(3,)`` of a camera in a pose.

    Args:
        position: where it is usually.
        forward: the unit vector to where it looks.
        up: the unit vector up in its picture.
        distance: how far what it looks at is.
        pose: how it is moved around that.
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
