"""Claim: Atari masks are as good with a modification that is `checked` as without it.

A modification of behavior is measured like a mode of the game (see `atari_masks.py`) and must be `good`. Precision and
recall of a relevant class's boxes may be at most .1 lower than in the unmodified game.

A modification of colors leaves all boxes in place. The reference is the same game with the same actions, in which the
modification's bytes have yet other colors. The pixels of the boxes in which the two screens differ belong to the
objects; only parts that keep their color, such as tires, are missing. At least .85 of these pixels must be labeled. At
least .85 of the labeled pixels must be among them or be labeled in the unmodified game.

    python benchmarks/atari_modifications.py               # all: table and benchmarks/results/atari_modifications.json
    python benchmarks/atari_modifications.py --games Pong --only drift       # only these; the rest of the JSON stays
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

import numpy as np
from atari_masks import compared_with_sources, share
from atari_sources import play

from camal_rl.envs.atari.labels import LabelPainter
from camal_rl.envs.atari.modification_table import MODIFICATIONS
from camal_rl.envs.atari.modifications import Hold, Modification
from camal_rl.envs.atari.options import AtariOptions
from camal_rl.envs.atari.raw_env import RawAtariEnv
from camal_rl.envs.segmentation import LabelMap
from camal_rl.runs.provenance import program_provenance

Task = tuple[str, str | None, int, int]

PIXELS_NEEDED = 200
AGREEMENT = 0.85
TOLERANCE = 0.1
BOXES_NEEDED = 20
OTHER_HUE = 64
TWIN, PLAIN = "twin", "plain"


def options_of(game: str, name: str | None) -> AtariOptions:
    modifs = () if name is None else (name,)
    return AtariOptions(game, modifs=modifs, segmentation="box", grayscale=False, repeat_action_probability=0.0)


def register_twins(game: str, modification: Modification) -> None:
    """Add a modification that gives the same objects yet other colors, and one that changes nothing."""
    effect = modification.effect
    if not isinstance(effect, Hold):
        raise TypeError(f"a modification of colors must be a Hold, got {effect} in {game}")
    values = {address: (effect.values[address] + OTHER_HUE) % 256 for address in effect.addresses}
    MODIFICATIONS[game][TWIN] = replace(modification, effect=Hold(values))
    MODIFICATIONS[game][PLAIN] = replace(modification, effect=Hold({}))


def labels_of(env: RawAtariEnv, painter: LabelPainter) -> LabelMap:
    return painter.paint(env.ale.getScreen(), (*env.boxes, *env.previous_boxes))


def compare_with_twin(game: str, name: str, frames: int) -> dict[str, Any]:
    """Compare the silhouettes of the colored classes with the pixels that differ from the same game in other colors."""
    modification = MODIFICATIONS[game][name]
    register_twins(game, modification)
    env, twin, plain = (RawAtariEnv(options_of(game, each)) for each in (name, TWIN, PLAIN))
    names, boxes, silhouettes = env.options.spec().names, LabelPainter("box"), LabelPainter("silhouette")
    ids = [names.index(each) for each in modification.classes]
    drawn_pixels = labeled_pixels = right = found = apart = seen = 0
    for _ in zip(play(env, 5), play(twin, 5), play(plain, 5), strict=True):
        apart += any((env.boxes, env.previous_boxes) != (each.boxes, each.previous_boxes) for each in (twin, plain))
        # Displays and parts of walls can share the color, so only pixels in the objects' boxes count.
        theirs = np.isin(labels_of(env, boxes), ids)
        drawn = (env.ale.getScreen() != twin.ale.getScreen()) & theirs
        labeled, labeled_plain = (np.isin(labels_of(each, silhouettes), ids) for each in (env, plain))
        drawn_pixels += int(drawn.sum())
        labeled_pixels += int(labeled.sum())
        found += int((drawn & labeled).sum())
        right += int((labeled & (drawn | labeled_plain)).sum())
        seen += 1
        if seen >= frames:
            break
    precision, recall = share(right, labeled_pixels), share(found, drawn_pixels)
    good = min(precision or 0.0, recall or 0.0) >= AGREEMENT and drawn_pixels >= PIXELS_NEEDED and not apart
    return {
        "frames": seen,
        "frames_with_other_boxes": apart,
        "object_pixels": drawn_pixels,
        "silhouette_precision": precision,
        "silhouette_recall": recall,
        "checked": good,
    }


def worse_classes(plain: dict[str, Any], modified: dict[str, Any], relevant: Sequence[str]) -> list[str]:
    """Return the relevant classes whose boxes agree clearly less with vision than without the modification."""
    found = []
    for name in relevant:
        before, after = plain["classes"].get(name), modified["classes"].get(name)
        if before is None or after is None:
            continue
        for value, count in (("box_precision", "ram_boxes"), ("box_recall", "vision_boxes")):
            enough = min(before[count], after[count]) >= BOXES_NEEDED
            if enough and after[value] < before[value] - TOLERANCE and name not in found:
                found.append(name)
    return found


def measure(task: Task) -> dict[str, Any]:
    """Measure a game with one modification, or without any; call this in a process of its own."""
    game, name, frames, states = task
    warnings.filterwarnings("ignore")
    report: dict[str, Any] = {"game": game, "modification": name}
    if name is None:
        return {**report, **compared_with_sources(options_of(game, None), frames, states)}
    modification = MODIFICATIONS[game][name] = replace(MODIFICATIONS[game][name], checked=True)
    report["changes"] = modification.changes
    if modification.changes == "appearance":
        return {**report, **compare_with_twin(game, name, frames)}
    return {**report, **compared_with_sources(options_of(game, name), frames, states)}


def judge(report: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    """Return a report; for a modification of behavior, add whether its masks are good."""
    if report.get("changes") != "behavior":
        return report
    if "error" in report:
        return {**report, "checked": False}
    worse = worse_classes(plain, report, options_of(report["game"], None).spec().relevant)
    return {**report, "worse_classes": worse, "checked": report["exactness"] == "good" and not worse}


def line(report: dict[str, Any]) -> str:
    """Return a report as a line of the table."""
    start = f"{report['game']:<14} {report['modification'] or '-':<30}"
    if "error" in report:
        return f"{start} {report['error'][:80]}"
    shares = report.get("relevant", report)
    names = ("box_precision", "box_recall", "silhouette_precision", "silhouette_recall")
    values = (*(shares.get(name) for name in names), report.get("changes_in_boxes"))
    numbers = " ".join(f"{'-' if value is None else format(value, '.2f'):>6}" for value in values)
    return f"{start} {numbers}  {report.get('checked', report.get('exactness'))} {report.get('worse_classes') or ''}"


def _key(report: dict[str, Any]) -> tuple[str, str]:
    return report["game"], report["modification"] or ""


def run(tasks: Sequence[Task], out: Path) -> None:
    """Measure, print the table and write the JSON; entries of other games and modifications stay in the file."""
    simulators = {name: version(name) for name in ("ale-py", "ocatari")}
    described = {**program_provenance(), **simulators, "load_at_start": round(os.getloadavg()[0], 1)}
    reports = {_key(each): each for each in json.loads(out.read_text())["games"]} if out.exists() else {}
    print(f"{'game':<14} {'modification':<30} {'box P':>6} {'box R':>6} {'sil. P':>6} {'sil. R':>6} {'motion':>6}")
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        for report in pool.imap(measure, tasks):
            judged = judge(report, reports.get((report["game"], ""), report))
            print(line(judged), flush=True)
            reports[_key(judged)] = judged
            known = [(game, name) for game in MODIFICATIONS for name in ("", *MODIFICATIONS[game])]
            found = [reports[key] for key in known if key in reports]
            out.write_text(json.dumps({"machine": described, "games": found}, indent=1) + "\n")
    print(out)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", choices=list(MODIFICATIONS), default=list(MODIFICATIONS), metavar="GAME")
    parser.add_argument(
        "--frames", type=int, default=400, help="observations for motion and colors; a quarter of them for vision"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only modifications whose names contain one of these")
    parser.add_argument("--states", type=int, default=8, help="states in which each byte is altered once")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/atari_modifications.json"))
    given = parser.parse_args()
    tasks: list[Task] = [
        (game, name, given.frames, given.states)
        for game in given.games
        for name in (None, *MODIFICATIONS[game])
        if given.only is None or any(part in str(name) for part in given.only)
    ]
    run(tasks, given.out)


if __name__ == "__main__":
    main()
