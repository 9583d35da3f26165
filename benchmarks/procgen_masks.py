"""Claim: Procgen's masks equal those of state copying in every frame, in all 16 games. Also measured: what masks cost.

Every frame of a random run is labeled twice: by the environment (with a second simulator in lockstep), and by another
simulator that is given the environment's whole state. The label maps must be identical. In the same frames, the program
counts colors that belong to no class.

    python benchmarks/procgen_masks.py                      # table and benchmarks/results/procgen_masks.json
    python benchmarks/procgen_masks.py --games coinrun --steps 200
    python benchmarks/procgen_masks.py --sheets docs/procgen  # one picture per game instead
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from camal_rl.envs import make_vec
from camal_rl.envs.procgen import ProcgenVecEnv, env_names, segmentation_spec
from camal_rl.envs.procgen.classes import GAMES
from camal_rl.envs.procgen.palette import LabelPainter, color_table
from camal_rl.envs.procgen.repaint import flat_color_state
from camal_rl.envs.procgen.simulator import Simulator
from camal_rl.envs.segmentation import SegmentationSpec
from camal_rl.runs.provenance import program_provenance

Image = npt.NDArray[np.uint8]

TRAIN = {"start_level": 0, "num_levels": 200}
REPEAT_PROBABILITY = 0.6
SPEED_ENVS = 64
SPEED_STEPS = 150
SHEET_ENVS = 24
SCALE = 3
ROWS = 3
GAP = 6


@dataclass(frozen=True)
class GameResult:
    """Results of one game; ``wrong_frames`` and ``unnamed_colors`` must be 0."""

    game: str
    distribution_mode: str
    frames: int
    episodes: int
    wrong_frames: int
    unnamed_colors: int
    resyncs: int
    relevant_fraction: float
    steps_per_s_without_masks: float
    steps_per_s_with_masks: float


class ActionSource:
    """Random actions that are often repeated, so that agents move through the level."""

    def __init__(self, num_envs: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._last = self._rng.integers(0, 15, num_envs)

    def __call__(self) -> npt.NDArray[np.int64]:
        """Return the actions of the next step."""
        repeat = self._rng.random(len(self._last)) < REPEAT_PROBABILITY
        self._last = np.where(repeat, self._last, self._rng.integers(0, 15, len(self._last)))
        return self._last


def make(game: str, num_envs: int, mode: str, **options: Any) -> ProcgenVecEnv:
    env = make_vec(f"procgen/{game}", num_envs, 0, distribution_mode=mode, **TRAIN, **options)
    if not isinstance(env, ProcgenVecEnv):
        raise TypeError(f"expected a ProcgenVecEnv, got {type(env).__name__}")
    return env


def steps_per_second(game: str, mode: str, segmentation: str | None) -> float:
    env = make(game, SPEED_ENVS, mode, segmentation=segmentation)
    env.reset()
    actions = ActionSource(SPEED_ENVS, 1)
    start = time.perf_counter()
    for _ in range(SPEED_STEPS):
        env.step(actions())
        if segmentation is not None:
            env.segmentation()
    elapsed = time.perf_counter() - start
    env.close()
    return SPEED_ENVS * SPEED_STEPS / elapsed


def reference_simulator(env: ProcgenVecEnv) -> Simulator:
    """Make a simulator that only draws given states; its own seed and levels do not matter."""
    flat = {"use_monochrome_assets": True, "restrict_themes": True, "use_backgrounds": False}
    return Simulator(env.game, env.num_envs, 1, env.options.simulator_arguments() | flat)


def compare(game: str, mode: str, steps: int, num_envs: int) -> GameResult:
    env = make(game, num_envs, mode)
    reference, paint = reference_simulator(env), LabelPainter(GAMES[game])
    named = {(red << 16) | (green << 8) | blue for red, green, blue in color_table(GAMES[game])}
    relevant = env.spec.relevant_lookup()
    actions = ActionSource(num_envs, 0)
    colors: set[int] = set()
    wrong, episodes, area = 0, 0, 0.0
    env.reset()
    for _ in range(steps):
        _, _, dones, _ = env.step(actions())
        labels = env.segmentation()
        for index, state in enumerate(env.get_state()):
            reference.set_state(index, flat_color_state(state, game, keep_themes=False))
        frames = reference.frames()
        wrong += int((paint(frames) != labels).any(axis=(1, 2)).sum())
        packed = frames.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
        colors.update(np.unique(packed).tolist())
        episodes += int(dones.sum())
        area += float(relevant[labels].mean())
    resyncs = env.num_mask_resyncs
    env.close()
    reference.close()
    return GameResult(
        game=game,
        distribution_mode=mode,
        frames=steps * num_envs,
        episodes=episodes,
        wrong_frames=wrong,
        unnamed_colors=len(colors - named),
        resyncs=resyncs,
        relevant_fraction=round(area / steps, 4),
        steps_per_s_without_masks=round(steps_per_second(game, mode, None)),
        steps_per_s_with_masks=round(steps_per_second(game, mode, "box")),
    )


def machine() -> dict[str, Any]:
    """Describe versions and machine; a high load at the start makes the speeds unreliable."""
    return {**program_provenance(), "load_at_start": round(os.getloadavg()[0], 1)}


def label_colors(count: int) -> Image:
    """Return ``uint8[count, 3]`` colors that are easy to tell apart; the background is dark."""
    hues = np.arange(count) * 0.618034 % 1.0
    hsv = np.stack([hues * 180, np.where(np.arange(count) % 2, 235, 150), np.full(count, 255)], axis=-1)
    colors = cv2.cvtColor(hsv[None].astype(np.uint8), cv2.COLOR_HSV2RGB)[0]
    colors[0] = 30
    return np.asarray(colors, dtype=np.uint8)


def varied_frames(game: str, mode: str) -> tuple[Image, Image]:
    """Play a game; return a few frames with their label maps that together show as many classes as possible."""
    env = make(game, SHEET_ENVS, mode)
    actions = ActionSource(SHEET_ENVS, 3)
    frames, labels = [env.reset()], [env.segmentation().copy()]
    for step in range(400):
        observation = env.step(actions())[0]
        if step % 5 == 0:
            frames.append(np.asarray(observation))
            labels.append(env.segmentation().copy())
    env.close()
    all_frames, all_labels = np.concatenate(frames), np.concatenate(labels)
    present = np.stack([(all_labels == label).sum((1, 2)) >= 4 for label in range(len(env.spec.names))], axis=1)
    chosen: list[int] = []
    weight = np.ones(present.shape[1])
    for _ in range(ROWS):
        best = int(np.argmax(present @ weight))
        chosen.append(best)
        weight[present[best]] *= 0.2
        present[best % SHEET_ENVS :: SHEET_ENVS] = False
    return all_frames[chosen], all_labels[chosen]


def enlarge(image: Image) -> Image:
    return image.repeat(SCALE, axis=0).repeat(SCALE, axis=1)


def legend(spec: SegmentationSpec, colors: Image, width: int) -> Image:
    columns = 4
    rows = -(-len(spec.names) // columns)
    canvas = np.full((20 * rows + 24, width, 3), 255, dtype=np.uint8)
    for index, name in enumerate(spec.names):
        x, y = (index % columns) * (width // columns) + 4, 20 * (index // columns) + 4
        canvas[y : y + 12, x : x + 12] = colors[index]
        text = f"{name} *" if name in spec.relevant else name
        cv2.putText(canvas, text, (x + 16, y + 11), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
    note = "frame | classes | relevant pixels lit     * relevant by default"
    cv2.putText(canvas, note, (4, 20 * rows + 14), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (90, 90, 90), 1, cv2.LINE_AA)
    return canvas


def sheet(game: str, mode: str) -> Image:
    """Draw frames, label maps and relevant pixels of one game with a legend."""
    spec = segmentation_spec(game)
    colors = label_colors(len(spec.names))
    relevant = spec.relevant_lookup()
    rows = []
    for frame, labels in zip(*varied_frames(game, mode), strict=True):
        gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, axis=2) // 4
        lit = np.where(relevant[labels][..., None], frame, gray).astype(np.uint8)
        panels = [enlarge(panel & np.uint8(0xF8)) for panel in (frame, colors[labels], lit)]
        border = np.full((panels[0].shape[0], GAP, 3), 255, dtype=np.uint8)
        rows.append(np.concatenate([panels[0], border, panels[1], border, panels[2]], axis=1))
        rows.append(np.full((GAP, rows[0].shape[1], 3), 255, dtype=np.uint8))
    return np.concatenate([*rows, legend(spec, colors, rows[0].shape[1])])


def write_sheets(games: list[str], mode: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for game in games:
        path = folder / f"{game}.png"
        image = cv2.cvtColor(sheet(game, mode), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        print(f"{path}  {path.stat().st_size / 1024:.0f} KiB")


def run(games: list[str], mode: str, steps: int, num_envs: int, out: Path) -> int:
    described = machine()
    print("game        mode  frames  episodes  wrong  unnamed  resyncs  relevant  steps/s off  steps/s on")
    results = []
    for game in games:
        result = compare(game, mode, steps, num_envs)
        results.append(result)
        print(
            f"{game:<11} {mode:<5} {result.frames:>6} {result.episodes:>9} {result.wrong_frames:>6} "
            f"{result.unnamed_colors:>8} {result.resyncs:>6} {result.relevant_fraction:>9.3f} "
            f"{result.steps_per_s_without_masks:>12.0f} {result.steps_per_s_with_masks:>11.0f}",
            flush=True,
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "machine": described,
        "steps": steps,
        "num_envs": num_envs,
        "games": [asdict(result) for result in results],
    }
    out.write_text(json.dumps(report, indent=2) + "\n")
    wrong = sum(result.wrong_frames + result.unnamed_colors for result in results)
    print(f"{len(results)} games, {wrong} wrong frames or unnamed colors; {out}")
    return int(wrong > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", choices=env_names(), default=list(env_names()), metavar="GAME")
    parser.add_argument("--steps", type=int, default=2000, help="random steps per environment")
    parser.add_argument("--envs", type=int, default=8, help="environments per game")
    parser.add_argument("--mode", default="easy", help="Procgen's distribution_mode")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/procgen_masks.json"))
    parser.add_argument("--sheets", type=Path, metavar="FOLDER", help="write one picture per game instead")
    given = parser.parse_args()
    if given.sheets is not None:
        write_sheets(given.games, given.mode, given.sheets)
        return 0
    return run(given.games, given.mode, given.steps, given.envs, given.out)


if __name__ == "__main__":
    raise SystemExit(main())
