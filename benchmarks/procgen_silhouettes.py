"""Claim: Procgen's silhouettes follow the sprites in all 16 games. Also measured: boxes, for comparison, and the cost.

The ground truth comes from the simulator alone: an object is hidden (an entity by opacity 0, a cell by the type of
empty space), the frame is drawn again, and the pixels that change are the object's visible pixels. They are compared
with the pixels of its class in and around its box (and wherever the frame changed), without the pixels that another
object of the class shows. A pixel has one label but may show two objects, one through the other; objects behind
something translucent therefore count against both kinds of masks.

    python benchmarks/procgen_silhouettes.py                     # table and benchmarks/results/procgen_silhouettes.json
    python benchmarks/procgen_silhouettes.py --games coinrun --steps 100
    python benchmarks/procgen_silhouettes.py --picture docs/images/procgen_silhouettes.png
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from procgen_masks import GAP, ActionSource, enlarge, label_colors, machine, make

from camal_rl.envs.procgen import ProcgenVecEnv, env_names
from camal_rl.envs.procgen.classes import GAMES
from camal_rl.envs.procgen.counterfactual import DrawnObject
from camal_rl.envs.procgen.edits import SPACE, cell_classes, entity_classes
from camal_rl.envs.procgen.state import cells, entities

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

MODE = "easy"
EVERY = 20
PER_CLASS = 3
LEAST_PIXELS = 4
AROUND = 3
REQUIRED_IOU = 0.9
SPEED_ENVS, SPEED_STEPS, SPEED_ROUNDS = 64, 30, 5
PICTURE_GAMES = ("coinrun", "starpilot", "bossfight", "leaper", "plunder", "caveflyer")
PICTURE_STEP = 130


@dataclass(frozen=True)
class GameResult:
    """Results of one game: means over objects, and steps per CPU second relative to those without masks.

    ``outside_boxes`` is the share of the silhouettes' pixels, terrain excluded, that lie in no object's box.
    """

    game: str
    objects: int
    iou_boxes: float
    iou_silhouettes: float
    iou_by_class: dict[str, tuple[int, float, float]]
    outside_boxes: float
    resyncs: int
    speed_boxes: float
    speed_silhouettes: float


class Canvas:
    """Draws edited states."""

    def __init__(self, game: str) -> None:
        self._env = make(game, 1, MODE, segmentation=None)

    def changes(self, frame: Image, state: bytes, hide: Sequence[DrawnObject], hide_class: str = "") -> Mask:
        """Return ``bool[64, 64]``, the pixels of ``frame`` that change without some objects or a whole class."""
        edited = bytearray(state)
        for item in hide:
            if item.is_cell:
                cells(edited)[item.index] = SPACE
            else:
                entities(edited)["alpha"][item.index] = 0
        if hide_class:
            hidden = entity_classes(edited, self._env.game) == hide_class
            hidden_cells = cell_classes(edited, self._env.game) == hide_class
            entities(edited)["alpha"][hidden] = 0
            cells(edited)[hidden_cells] = SPACE
        return np.asarray((self._env.set_state([bytes(edited)])[0] != frame).any(axis=-1))

    def close(self) -> None:
        """End the simulator."""
        self._env.close()


def region(item: DrawnObject) -> Mask:
    """Return ``bool[64, 64]``, an object's box and the pixels around it."""
    left, top, right, bottom = item.box
    inside = np.zeros((64, 64), dtype=bool)
    rows = slice(max(math.floor(top) - AROUND, 0), max(math.ceil(bottom) + AROUND, 0))
    columns = slice(max(math.floor(left) - AROUND, 0), max(math.ceil(right) + AROUND, 0))
    inside[rows, columns] = True
    return inside


def iou(first: Mask, second: Mask) -> float:
    return float((first & second).sum() / (first | second).sum())


def sample(objects: list[DrawnObject], rng: np.random.Generator) -> dict[str, list[DrawnObject]]:
    """Choose a few objects of each class."""
    names = sorted({item.class_name for item in objects})
    by_class = {name: [item for item in objects if item.class_name == name] for name in names}
    return {name: [found[i] for i in rng.permutation(len(found))[:PER_CLASS]] for name, found in by_class.items()}


def terrain(game: str) -> list[str]:
    """Return the classes of terrain and of its edges."""
    edges = GAMES[game].edges
    return [*edges, *edges.values()]


def compare(game: str, steps: int, num_envs: int) -> GameResult:
    boxes, silhouettes = (make(game, num_envs, MODE, segmentation=kind) for kind in ("box", "silhouette"))
    canvas, actions, rng = Canvas(game), ActionSource(num_envs, 0), np.random.default_rng(0)
    found: dict[str, list[tuple[float, float]]] = {}
    outside, area = 0, 0
    not_objects = [boxes.spec.names.index(name) for name in ("background", *terrain(game))]
    boxes.reset()
    silhouettes.reset()
    for step in range(steps):
        chosen = actions()
        frames = np.asarray(boxes.step(chosen)[0])
        silhouettes.step(chosen)
        if step % EVERY:
            continue
        maps = (boxes.segmentation(), silhouettes.segmentation())
        drawn = ~np.isin(maps[1], not_objects)
        area += int(drawn.sum())
        outside += int((drawn & np.isin(maps[0], not_objects)).sum())
        for index, (state, objects) in enumerate(zip(boxes.get_state(), boxes.objects(), strict=True)):
            pair = (maps[0][index], maps[1][index])
            measure_frame(canvas, frames[index], state, sample(objects, rng), pair, boxes, found)
    resyncs = boxes.num_mask_resyncs + silhouettes.num_mask_resyncs
    for closing in (boxes, silhouettes, canvas):
        closing.close()
    every = [pair for pairs in found.values() for pair in pairs]
    speeds = relative_speeds(game)
    return GameResult(
        game=game,
        objects=len(every),
        iou_boxes=round(statistics.fmean(pair[0] for pair in every), 3),
        iou_silhouettes=round(statistics.fmean(pair[1] for pair in every), 3),
        iou_by_class={
            name: (len(pairs), *(round(statistics.fmean(pair[i] for pair in pairs), 3) for i in range(2)))
            for name, pairs in sorted(found.items())
        },
        outside_boxes=round(outside / area, 4),
        resyncs=resyncs,
        speed_boxes=round(speeds[0], 2),
        speed_silhouettes=round(speeds[1], 2),
    )


def measure_frame(
    canvas: Canvas,
    frame: Image,
    state: bytes,
    objects: dict[str, list[DrawnObject]],
    maps: tuple[Image, Image],
    env: ProcgenVecEnv,
    found: dict[str, list[tuple[float, float]]],
) -> None:
    """Add the IoU of both label maps with the truth to ``found``, for each object of one frame that can be seen."""
    for name, items in objects.items():
        of_class = canvas.changes(frame, state, [], hide_class=name)
        label = env.spec.names.index(name)
        for item in items:
            visible = canvas.changes(frame, state, [item])
            if visible.sum() < LEAST_PIXELS:
                continue
            counted = (region(item) | visible) & ~(of_class & ~visible)
            scores = [iou((labels == label) & counted, visible) for labels in maps]
            found.setdefault(name, []).append((scores[0], scores[1]))


def relative_speeds(game: str) -> tuple[float, float]:
    """Return steps per CPU second with boxes and with silhouettes, as fractions of those without masks.

    CPU seconds count all threads, and the environments take turns in each round, so other programs hardly matter.
    """
    kinds = (None, "box", "silhouette")
    envs = [make(game, SPEED_ENVS, MODE, segmentation=kind) for kind in kinds]
    actions = ActionSource(SPEED_ENVS, 1)
    for env in envs:
        env.reset()
    rounds: list[list[float]] = []
    for _ in range(SPEED_ROUNDS):
        plan = [actions() for _ in range(SPEED_STEPS)]
        seconds = []
        for env, kind in zip(envs, kinds, strict=True):
            start = time.process_time()
            for chosen in plan:
                env.step(chosen)
                if kind is not None:
                    env.segmentation()
            seconds.append(time.process_time() - start)
        rounds.append(seconds)
    for env in envs:
        env.close()
    none, box, silhouette = (statistics.median(seconds[i] for seconds in rounds) for i in range(3))
    return none / box, none / silhouette


def draw_game(game: str) -> Image:
    """Return the frame with the most classes of a game, its boxes and its silhouettes, side by side."""
    envs = [make(game, 16, MODE, segmentation=kind) for kind in ("box", "silhouette")]
    actions = ActionSource(16, 3)
    for env in envs:
        env.reset()
    for _ in range(PICTURE_STEP):
        chosen = actions()
        frames, _ = (np.asarray(env.step(chosen)[0]) for env in envs)
    boxes, silhouettes = (env.segmentation() for env in envs)
    best = max(range(len(frames)), key=lambda i: (len(np.unique(silhouettes[i])), (silhouettes[i] > 0).mean()))
    colors = label_colors(len(envs[0].spec.names))
    for env in envs:
        env.close()
    panels = [enlarge(panel) for panel in (frames[best], colors[boxes[best]], colors[silhouettes[best]])]
    border = np.full((panels[0].shape[0], GAP, 3), 255, dtype=np.uint8)
    row = np.concatenate([panels[0], border, panels[1], border, panels[2]], axis=1)
    caption = np.full((20, row.shape[1], 3), 255, dtype=np.uint8)
    text = f"{game}: frame | boxes | silhouettes"
    cv2.putText(caption, text, (2, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([caption, row])


def write_picture(games: Sequence[str], path: Path) -> None:
    drawn = [draw_game(game) for game in games]
    gap = np.full((drawn[0].shape[0], 3 * GAP, 3), 255, dtype=np.uint8)
    pairs = [np.concatenate([drawn[i], gap, drawn[i + 1]], axis=1) for i in range(0, len(drawn) - 1, 2)]
    path.parent.mkdir(parents=True, exist_ok=True)
    image = cv2.cvtColor(np.concatenate(pairs), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"{path}  {path.stat().st_size / 1024:.0f} KiB")


def run(games: Sequence[str], steps: int, num_envs: int, out: Path) -> int:
    described = machine()
    print("             IoU with the visible pixels      silhouettes           steps per CPU second, without masks = 1")
    print("game         objects  boxes  silhouettes  outside boxes  resyncs  boxes  silhouettes")
    results = []
    for game in games:
        result = compare(game, steps, num_envs)
        results.append(result)
        print(
            f"{game:<12} {result.objects:>7} {result.iou_boxes:>6.3f} {result.iou_silhouettes:>12.3f} "
            f"{result.outside_boxes:>14.3f} {result.resyncs:>6} {result.speed_boxes:>6.2f} "
            f"{result.speed_silhouettes:>12.2f}",
            flush=True,
        )
    report = {"machine": described, "steps": steps, "num_envs": num_envs, "games": [asdict(r) for r in results]}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n")
    failed = [r.game for r in results if r.iou_silhouettes < REQUIRED_IOU or r.resyncs > 0]
    print(f"{len(results)} games, {len(failed)} below {REQUIRED_IOU} or out of step: {', '.join(failed)}; {out}")
    return int(bool(failed))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", choices=env_names(), metavar="GAME", help="default: all, or six to draw")
    parser.add_argument("--steps", type=int, default=400, help=f"random steps; every {EVERY}th frame is measured")
    parser.add_argument("--envs", type=int, default=8, help="environments per game")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/procgen_silhouettes.json"))
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw an even number of games instead")
    given = parser.parse_args()
    if given.picture is not None:
        write_picture(given.games or PICTURE_GAMES, given.picture)
        return 0
    return run(given.games or env_names(), given.steps, given.envs, given.out)


if __name__ == "__main__":
    raise SystemExit(main())
