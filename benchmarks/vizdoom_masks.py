"""Claim: ViZDoom's masks lie on the objects and have the right class. Also measured: what masks cost.

Two oracles check the masks without the labels buffer.

*Repainting*: the same level and actions are played with other walls, floors and ceilings. The pixels that do not change
belong to objects. Single pixels can stay equal by chance, so blocks of 3 x 3 unchanged pixels must be labeled. Stains
on walls are switched off. Pixels of translucent objects (flashes, smoke, explosions) change with the background.

*Projection*: the position of each drawn object relative to the player gives the column of the image that must contain
its class. The share of objects for which the column contains it is measured, and the same share with the label map
of eight actions later, which must be lower.

    python benchmarks/vizdoom_masks.py      # table and benchmarks/results/vizdoom_masks.json
"""

from __future__ import annotations

import argparse
import json
import math
import resource
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from camal_rl.envs.segmentation import LabelMap
from camal_rl.envs.vizdoom import VizdoomEnv, env_names, make_vec, segmentation_spec
from camal_rl.envs.vizdoom.options import ENGINE_SIZE, parse_options
from camal_rl.envs.vizdoom.scenarios import class_of_object
from camal_rl.runs.provenance import program_provenance

REPEAT_PROBABILITY = 0.6
LATER = 8
# The view spans 45 degrees to each side. Within this angle of its center, objects are in the image with both halves.
VIEW_DEGREES = 42.0
BLOCK = np.ones((3, 3), dtype=np.uint8)


@dataclass(frozen=True)
class ScenarioResult:
    """Results of one scenario.

    Attributes:
        scenario: its name.
        frames: number of frames.
        labeled_fraction: share of the pixels that have a class.
        unchanged: share of each class's pixels that repainting does not change, by class.
        blocks: number of blocks of 3 x 3 pixels that repainting does not change; they overlap.
        blocks_labeled: share of these blocks whose middle is labeled.
        unnamed_pixels: number of pixels of the class ``other``.
        objects: number of objects that are drawn and whose position is in view.
        in_column: share of these objects whose class is in the column of their position.
        in_column_later: the same with the label map of eight actions later.
        steps_per_cpu_s_without_masks: steps of one environment at its default size per second of processor time,
            including the engine's.
        steps_per_cpu_s_with_masks: the same with masks.
    """

    scenario: str
    frames: int
    labeled_fraction: float
    unchanged: dict[str, float | None]
    blocks: int
    blocks_labeled: float | None
    unnamed_pixels: int
    objects: int
    in_column: float | None
    in_column_later: float | None
    steps_per_cpu_s_without_masks: int
    steps_per_cpu_s_with_masks: int


@dataclass
class Counts:
    """Sums over frames; those by class are arrays [256]."""

    frames: int = 0
    pixels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    unchanged: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    blocks: int = 0
    blocks_labeled: int = 0


class ActionSource:
    """Random actions that are often repeated, so that agents move through the level."""

    def __init__(self, num_actions: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._num_actions = num_actions
        self._last = 0

    def __call__(self) -> int:
        """Return the next action."""
        if self._rng.random() >= REPEAT_PROBABILITY:
            self._last = int(self._rng.integers(self._num_actions))
        return self._last


def make(scenario: str, objects: bool = False, **options: Any) -> VizdoomEnv:
    env = VizdoomEnv(scenario, parse_options(scenario, {"size": list(ENGINE_SIZE), **options}))
    if objects:
        env._game.set_objects_info_enabled(True)
    return env


def repaint(scenario: str, frames: int) -> Counts:
    """Play a scenario in both appearances, and count the labeled and the unchanged pixels."""
    original, repainted = make(scenario), make(scenario, appearance="held_out")
    for env in (original, repainted):
        env._game.set_render_decals(False)
    actions, counts, level, ended = ActionSource(int(original.action_space.n), 0), Counts(), 0, True
    while counts.frames < frames:
        if ended:
            level += 1
            (image, info), (other, _) = original.reset(seed=level), repainted.reset(seed=level)
            ended = False
        else:
            action = np.int64(actions())
            image, _, terminated, truncated, info = original.step(action)
            other, *_ = repainted.step(action)
            ended = terminated or truncated
        labels, unchanged = info["segmentation"], (image == other).all(axis=-1)
        blocks = cv2.erode(unchanged.astype(np.uint8), BLOCK, borderValue=0) > 0
        counts.frames += 1
        counts.pixels += np.bincount(labels.ravel(), minlength=256)
        counts.unchanged += np.bincount(labels[unchanged], minlength=256)
        counts.blocks += int(blocks.sum())
        counts.blocks_labeled += int((labels[blocks] > 0).sum())
    original.close()
    repainted.close()
    return counts


def project(scenario: str, frames: int) -> tuple[int, int, int, int]:
    """Return the number of objects in view and of those whose class is in their column, then both for later masks."""
    env = make(scenario, objects=True)
    actions, level, ended = ActionSource(int(env.action_space.n), 1), 0, True
    seen: list[tuple[list[tuple[int, int]], LabelMap]] = []
    found = [0, 0, 0, 0]
    for _ in range(frames):
        if ended:
            level, seen = level + 1, []
            _, info = env.reset(seed=level)
            ended = False
        else:
            _, _, terminated, truncated, info = env.step(np.int64(actions()))
            ended = terminated or truncated
            if ended:
                continue
        seen.append((columns_of_objects(env), info["segmentation"]))
        places, labels = seen[-1]
        found[0] += len(places)
        found[1] += sum(bool((labels[:, column - 1 : column + 2] == label).any()) for column, label in places)
        if len(seen) > LATER:
            places = seen[-1 - LATER][0]
            found[2] += len(places)
            found[3] += sum(bool((labels[:, column - 1 : column + 2] == label).any()) for column, label in places)
    env.close()
    return found[0], found[1], found[2], found[3]


def columns_of_objects(env: VizdoomEnv) -> list[tuple[int, int]]:
    """Return (column, class id) of every object that is drawn and whose position is in view."""
    state = env._game.get_state()
    player = next(each for each in state.objects if each.name == "DoomPlayer")
    angle, names = math.radians(player.angle), env.segmentation_spec.names
    drawn = {label.object_id for label in state.labels}
    found = []
    for each in state.objects:
        kind = class_of_object(each.name, "")
        if each.id not in drawn or kind in ("player", "other"):
            continue
        ahead = (each.position_x - player.position_x) * math.cos(angle)
        ahead += (each.position_y - player.position_y) * math.sin(angle)
        right = (each.position_x - player.position_x) * math.sin(angle)
        right -= (each.position_y - player.position_y) * math.cos(angle)
        if ahead > 0 and abs(math.degrees(math.atan2(right, ahead))) < VIEW_DEGREES:
            half = ENGINE_SIZE[1] / 2
            found.append((round(half + half * right / ahead), names.index(kind)))
    return found


def cpu_seconds(scenario: str, steps: int, segmentation: str | None) -> float:
    """Return the processor time of starting an environment, stepping it with random actions and closing it.

    It includes the engine and its supervisor, because closing the environment waits for them.
    """
    start = sum_of_cpu_seconds()
    venv = make_vec(scenario, 1, 0, segmentation=segmentation)
    venv.reset()
    actions = ActionSource(int(venv.action_space.n), 2)  # type: ignore[attr-defined]
    for _ in range(steps):
        venv.step(np.array([actions()]))
    venv.close()
    return sum_of_cpu_seconds() - start


def sum_of_cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def steps_per_cpu_s(scenario: str, steps: int, segmentation: str | None) -> int:
    """Return the steps of one environment per second of processor time, without starting and closing it."""
    return round(steps / (cpu_seconds(scenario, steps, segmentation) - cpu_seconds(scenario, 0, segmentation)))


def measure(scenario: str, frames: int, steps: int) -> ScenarioResult:
    """Measure one scenario."""
    counts = repaint(scenario, frames)
    objects, hits, later_objects, later_hits = project(scenario, frames)
    names = segmentation_spec(scenario).names
    return ScenarioResult(
        scenario=scenario,
        frames=counts.frames,
        labeled_fraction=round(float(counts.pixels[1:].sum() / counts.pixels.sum()), 4),
        unchanged={
            name: share(int(counts.unchanged[label]), int(counts.pixels[label]))
            for label, name in enumerate(names)
            if counts.pixels[label]
        },
        blocks=counts.blocks,
        blocks_labeled=share(counts.blocks_labeled, counts.blocks),
        unnamed_pixels=int(counts.pixels[names.index("other")]),
        objects=objects,
        in_column=share(hits, objects),
        in_column_later=share(later_hits, later_objects),
        steps_per_cpu_s_without_masks=steps_per_cpu_s(scenario, steps, None),
        steps_per_cpu_s_with_masks=steps_per_cpu_s(scenario, steps, "silhouette"),
    )


def share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", nargs="+", default=list(env_names()), choices=env_names())
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--steps", type=int, default=2000, help="steps of each timing")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/vizdoom_masks.json"))
    arguments = parser.parse_args()
    results = []
    for scenario in arguments.scenarios:
        results.append(measure(scenario, arguments.frames, arguments.steps))
        print(results[-1], flush=True)
    report = {"provenance": program_provenance(), "scenarios": [asdict(result) for result in results]}
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
