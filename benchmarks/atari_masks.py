"""Claim: Atari masks rated `good` lie on the objects; at least two of three independent measurements agree with them.

The three measurements of each game use random play:

* vision: the boxes from RAM are compared with those of OCAtari's other detector, which looks for colors on the screen.
  Boxes match at an intersection over union of at least .5, regardless of their classes.
* alteration: one byte of RAM is changed. If only the boxes of one class move away, the pixels that change there belong
  to the object. They are compared with the final label map: the bounding box, and the pixels of the silhouette.
* motion: of the pixels that change between two observations, the share that lies in a box of either. The other pixels
  belong to objects without a box or to a moving background.

    python benchmarks/atari_masks.py                       # every game: table and benchmarks/results/atari_masks.json
    python benchmarks/atari_masks.py --games Pong Freeway --states 20        # only these; the rest of the JSON stays
    python benchmarks/atari_masks.py --games Pong --variants 0,1 0,2         # other modes and difficulties
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from atari_sources import ClassResult, Result, compare_with_vision, measure_alterations, measure_motion

from camal_rl.envs.atari.games import GAMES, Game
from camal_rl.envs.atari.options import AtariOptions
from camal_rl.envs.atari.raw_env import RawAtariEnv
from camal_rl.runs.provenance import program_provenance


def share(part: int, whole: int) -> float | None:
    """Return ``part / whole``, or ``None`` if ``whole`` is 0."""
    return round(part / whole, 3) if whole else None


def summary(counts: ClassResult) -> dict[str, Any]:
    """Return the counts and shares of one class."""
    return {
        "ram_boxes": counts.ram_boxes,
        "vision_boxes": counts.vision_boxes,
        "box_precision": share(counts.ram_boxes_seen, counts.ram_boxes),
        "box_recall": share(counts.vision_boxes_found, counts.vision_boxes),
        "altered": counts.altered,
        "altered_nothing_drawn": counts.altered_nothing,
        "altered_replaced": counts.altered_replaced,
        "altered_box_hits": share(counts.altered_hits, counts.altered),
        "silhouette_precision": share(counts.labeled_right, counts.labeled_pixels),
        "silhouette_recall": share(counts.labeled_right, counts.object_pixels),
    }


def mean_of_classes(classes: Sequence[ClassResult], name: str, count: str, enough: int) -> float | None:
    """Return the mean of a share over the classes with at least ``enough`` counts, or ``None`` without such a class."""
    shares = [summary(each)[name] for each in classes if getattr(each, count) >= enough]
    return round(sum(shares) / len(shares), 3) if shares else None


def means(classes: Sequence[ClassResult]) -> dict[str, float | None]:
    """Return each share as the mean over classes, so that rare classes weigh as much as frequent ones.

    A class that vision does not know (it finds no box and confirms none) does not count for the precision.
    """
    known = [each for each in classes if each.vision_boxes or each.ram_boxes_seen]
    return {
        "box_precision": mean_of_classes(known, "box_precision", "ram_boxes", 20),
        "box_recall": mean_of_classes(classes, "box_recall", "vision_boxes", 20),
        "altered_box_hits": mean_of_classes(classes, "altered_box_hits", "altered", 5),
        "silhouette_precision": mean_of_classes(classes, "silhouette_precision", "labeled_pixels", 50),
        "silhouette_recall": mean_of_classes(classes, "silhouette_recall", "object_pixels", 50),
    }


def exactness(report: dict[str, Any]) -> str:
    """Return ``good`` if two of the three sources agree with the masks and vision shares half of the boxes.

    Return ``poor`` if only one source agrees or only the boxes do, otherwise ``none``; masks are then refused. Vision
    agrees at a precision and recall of at least .85, motion at .9 of the changes, and alteration at an F1 of the
    silhouettes' pixels of at least .85 over ten objects. Each source fails in some games: the other detector finds
    nothing, or the background moves.
    """
    if "error" in report:
        return "none"
    shares = {name: value or 0.0 for name, value in report["relevant"].items()}
    precision, recall = shares["silhouette_precision"], shares["silhouette_recall"]
    boxes = min(shares["box_precision"], shares["box_recall"])
    agreeing = (
        boxes >= 0.85,
        (report["changes_in_boxes"] or 0.0) >= 0.9,
        report["altered_objects"] >= 10 and 2 * precision * recall >= 0.85 * (precision + recall),
    )
    if sum(agreeing) >= 2 and boxes >= 0.5:
        return "good"
    return "poor" if any(agreeing) or boxes >= 0.5 else "none"


def measure(task: tuple[str, tuple[int, int], int, int]) -> dict[str, Any]:
    """Measure one game in one mode and difficulty; call this in a process of its own."""
    game, (mode, difficulty), frames, states = task
    warnings.filterwarnings("ignore")
    report: dict[str, Any] = {"game": game, "mode": mode, "difficulty": difficulty}
    # The table must not refuse this variant before it is measured.
    GAMES[game] = replace(GAMES[game], exactness="poor", other=(mode, difficulty), held_out_checked=True)
    options = AtariOptions(
        game, mode=mode, difficulty=difficulty, segmentation="box", grayscale=False, repeat_action_probability=0.0
    )
    return {**report, **compared_with_sources(options, frames, states)}


def compared_with_sources(options: AtariOptions, frames: int, states: int) -> dict[str, Any]:
    """Return the agreement of the three sources with the masks of a game, and the exactness that follows."""
    report: dict[str, Any] = {}
    result = Result()
    try:
        env = RawAtariEnv(options)
        measure_motion(env, result, frames)
        compare_with_vision(env, result, frames // 4)
        measure_alterations(env, result, states)
    except Exception as error:  # The failure of a detector is a result.
        report["error"] = f"{type(error).__name__}: {error}"
        return {**report, "exactness": exactness(report)}
    relevant = options.spec().relevant
    report |= {
        "frames": result.frames,
        "states": states,
        "vision_frames": result.vision_frames,
        "vision_errors": result.vision_errors,
        "changes_in_boxes": share(result.changed_in_boxes, result.changed_pixels),
        "altered_objects": sum(counts.altered for counts in result.classes.values()),
        "relevant": means([counts for name, counts in result.classes.items() if name in relevant]),
        "classes": {name: summary(counts) for name, counts in sorted(result.classes.items())},
    }
    return {**report, "exactness": exactness(report)}


def line(report: dict[str, Any]) -> str:
    """Return a report as a line of the table."""
    start = f"{report['game']:<17} {report['mode']:>4} {report['difficulty']:>4}"
    if "error" in report:
        return f"{start}  {report['error'][:80]}"
    shares = report["relevant"]
    columns = (
        report["changes_in_boxes"],
        *(shares[name] for name in ("box_precision", "box_recall", "altered_box_hits")),
        *(shares[name] for name in ("silhouette_precision", "silhouette_recall")),
    )
    numbers = " ".join(f"{'-' if value is None else format(value, '.2f'):>10}" for value in columns)
    return f"{start} {numbers} {report['altered_objects']:>8}  {report['exactness']}"


def run(tasks: Sequence[tuple[str, tuple[int, int], int, int]], out: Path) -> None:
    """Measure, print the table and write the JSON; entries of other games and variants stay in the file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    simulators = {name: version(name) for name in ("ale-py", "ocatari")}
    described = {**program_provenance(), **simulators, "load_at_start": round(os.getloadavg()[0], 1)}
    reports = {_key(each): each for each in json.loads(out.read_text())["games"]} if out.exists() else {}
    print("game              mode diff     motion  precision     recall   altered    sil. P     sil. R      objects")
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        for report in pool.imap(measure, tasks):
            print(line(report), flush=True)
            reports[_key(report)] = report
            games = [reports[key] for key in sorted(reports)]
            out.write_text(json.dumps({"machine": described, "games": games}, indent=1) + "\n")
    print(out)


def _key(report: dict[str, Any]) -> tuple[str, int, int]:
    return report["game"], report["mode"], report["difficulty"]


def _variants(game: Game, which: str) -> list[tuple[int, int]]:
    held_out = [] if game.held_out is None else [game.held_out]
    return {"default": [game.default], "held_out": held_out, "both": [game.default, *held_out]}[which]


def _variant(text: str) -> tuple[int, int]:
    mode, difficulty = text.split(",")
    return int(mode), int(difficulty)


def main() -> None:
    """Read the command line."""
    with_classes = [name for name, game in GAMES.items() if game.objects]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", choices=with_classes, default=with_classes, metavar="GAME")
    parser.add_argument("--sets", choices=("default", "held_out", "both"), default="both", help="modes of the games")
    parser.add_argument("--variants", nargs="+", type=_variant, metavar="MODE,DIFFICULTY", help="other modes instead")
    parser.add_argument("--frames", type=int, default=400, help="observations for motion; a quarter of them for vision")
    parser.add_argument("--states", type=int, default=8, help="states in which each byte is altered once")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/atari_masks.json"))
    given = parser.parse_args()
    tasks = [
        (game, variant, given.frames, given.states)
        for game in given.games
        for variant in given.variants or _variants(GAMES[game], given.sets)
    ]
    run(tasks, given.out)


if __name__ == "__main__":
    main()
