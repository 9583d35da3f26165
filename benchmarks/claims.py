"""The claims about CAMAL, each tested on the kept comparisons: what holds, what does not, and what is not tested yet.

Each claim is one table of ``benchmarks/results/claims.json``, with a row for each setting, the test, its interval, the
number of runs, and a verdict:

- **alignment**: EPG on held-out data is higher than without CAMAL. Mann-Whitney, corrected by Holm's method over all
  rows of this claim that can be tested.
- **faithfulness**: the effect of the own map net of a random one is at least 1.35 times that of the best guided peer
  (another attention loss with masks). The interval is a bootstrap over the seeds of both methods; the peer is chosen by
  its mean, which favours the peer.
- **return**: what is returned, or classified correctly, on held-out data is not below that without CAMAL. Probability
  of improvement with its bootstrap interval; 0.5 means that neither is better.
- **misleading**: where a cue or a background misleads, it is above. The same test.
- **background**: how much another background, redrawn by the simulator, changes the decision. Mann-Whitney, corrected.
- **cost**: time of a decision over the stock network's.

    python benchmarks/claims.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from camal_rl.aggregates import CONFIDENCE, improvement_interval
from camal_rl.comparison.significance import SIGNIFICANT, corrected
from camal_rl.runs.provenance import program_provenance
from camal_rl.statistics import mann_whitney_p, smallest_p

HERE = Path(__file__).resolve().parent
FILES = HERE.parent / "docs" / "results" / "files"
RESULTS = HERE / "results"
METHOD = "camal"
GUIDED = ("energy", "l1", "ppce", "rrr", "mse")
"""Attention losses of others that use the same masks."""
WANTED_RATIO = 1.35
RESAMPLES = 10_000
SHOWN, CONTRARY, FEW = ("yes", "above"), ("no", "no: the contrary", "below"), "too few seeds"
"""Verdicts of a row: what shows a claim, what shows the contrary, what can show neither."""
LEAST_RUNS = 3
"""With fewer runs of a method, a bootstrap over runs says nothing."""


@cache
def kept_figures(path: Path) -> Any:
    """Return the figures of a kept comparison, by name and method."""
    return json.loads(path.read_text())["figures"]


@dataclass(frozen=True)
class Setting:
    """A kept comparison.

    Attributes:
        title: what it is called in the tables.
        file: its name without ``.json``.
        baseline: the method without attention loss.
        level_set: held-out data.
        targets: whose maps are measured.
        result: the figure that is to be high on held-out data.
        misleading: figures, by what misleads in them.
    """

    title: str
    file: str
    baseline: str
    level_set: str
    targets: tuple[str, ...]
    result: str
    misleading: Mapping[str, str]

    def values(self, figure: str, method: str) -> list[float] | None:
        """Return a figure of every seed, or nothing if the comparison has no such figure or method."""
        found = kept_figures(FILES / f"{self.file}.json").get(figure, {}).get(method)
        values = [] if found is None else list(found["seeds"].values())
        return values if values and None not in values else None


AGENT = ("value", "policy")
SETTINGS = (
    Setting(
        *("toy grid", "toy_grid_methods", "ppo", "held_out", AGENT, "return/held_out_cue"),
        {
            "the cue is random, training levels": "return/cue_broken",
            "the cue is random, held-out levels": "return/held_out",
            "other appearance": "return/held_out_appearance",
        },
    ),
    Setting(
        *("toy grid without cue", "toy_grid_no_cue", "ppo", "held_out", AGENT, "return/held_out"),
        {"other appearance": "return/held_out_appearance"},
    ),
    Setting("StarPilot", "starpilot", "ppo", "held_out", AGENT, "return/held_out", {}),
    Setting(
        *("DoorKey-6x6", "minigrid", "ppo", "held_out", AGENT, "return/held_out"),
        {"other appearance": "return/held_out_appearance"},
    ),
    Setting(
        *("ViZDoom Basic", "vizdoom", "ppo", "held_out", AGENT, "return/held_out"),
        {"other appearance": "return/held_out_appearance"},
    ),
    Setting(
        *("Freeway, action repeat of 8", "atari", "ppo", "held_out", AGENT, "return/held_out"),
        {"other appearance": "return/held_out_appearance"},
    ),
    Setting(
        *("Freeway, action repeat of 12", "freeway", "ppo", "held_out_levels", AGENT, "return/held_out_levels"),
        {"all cars black": "return/held_out_object_colors"},
    ),
    Setting(
        *("Crafter", "crafter", "ppo", "held_out", AGENT, "score/held_out"),
        {"other appearance": "score/held_out_appearance", "night": "score/held_out_night"},
    ),
    Setting(
        *("cartpole-swingup", "dm_control", "ppo", "held_out", AGENT, "return/held_out"),
        {"other colors": "return/held_out_color_hard", "videos": "return/held_out_video_hard"},
    ),
    Setting(
        *("Dynamic-Obstacles, DQN", "dqn_minigrid", "dqn", "held_out", ("q",), "return/held_out"),
        {"other appearance": "return/held_out_appearance"},
    ),
    Setting(
        *("Asterix, DQN", "dqn_asterix", "dqn", "held_out", ("q",), "return/held_out"),
        {"other appearance": "return/held_out_appearance"},
    ),
    Setting(
        *("shapes on textures", "spurious_shapes", "vanilla", "test", ("class",), "accuracy/test"),
        {"the texture misleads, worst group": "worst_group_accuracy/test"},
    ),
)
EFFECTS = {"deletion": "deletion_effect_net", "insertion": "insertion_change_auc_net"}
BACKGROUNDS = {
    "background_kl": "KL divergence of the policy",
    "background_value_change": "change of the value",
    "background_flips": "share of other classes",
}


def tested(rows: list[dict[str, Any]], higher: bool) -> list[dict[str, Any]]:
    """Return the rows with p corrected by Holm's method over those that can be tested, and their verdicts.

    Args:
        rows: each with ``values`` of :data:`METHOD` and of ``baseline``, numbers by seed.
        higher: whether the claim is that CAMAL's are higher.
    """
    p_values = []
    for row in rows:
        pair = row["values"][METHOD], row["values"][row["baseline"]]
        runs = [len(each) for each in pair]
        enough = min(runs) > 1 and smallest_p(*runs) < SIGNIFICANT
        p_values.append(mann_whitney_p(*pair) if enough else None)
    for row, p in zip(rows, corrected(p_values), strict=True):
        if p is None:
            row |= {"p": "none", "verdict": FEW}
        else:
            effect = row["means"][METHOD] - row["means"]["baseline"]
            in_favour = effect > 0 if higher else effect < 0
            verdict = ("yes" if in_favour else "no: the contrary") if p < SIGNIFICANT else "not shown"
            row |= {"p": f"{p:.4f}", "verdict": verdict}
    return rows


def comparison_row(setting: Setting, figure: str, **told: str) -> dict[str, Any] | None:
    """Return a row with the values of CAMAL and of the method without attention loss, or nothing without them."""
    own, other = (setting.values(figure, method) for method in (METHOD, setting.baseline))
    if own is None or other is None:
        return None
    return {
        **{"setting": setting.title, "figure": figure, "file": f"{setting.file}.json", "baseline": setting.baseline},
        **told,
        "values": {METHOD: own, setting.baseline: other},
        "means": {METHOD: float(np.mean(own)), "baseline": float(np.mean(other))},
        "runs": f"{len(own)} and {len(other)}",
    }


def present(rows: Iterator[dict[str, Any] | None]) -> list[dict[str, Any]]:
    """Return the rows that there are."""
    return [row for row in rows if row is not None]


def alignment() -> list[dict[str, Any]]:
    """Return the rows of the claim that attention lies on the right region."""
    rows = (
        comparison_row(each, f"epg/{target}/{each.level_set}", target=target)
        for each in SETTINGS
        for target in each.targets
    )
    return tested(present(rows), higher=True)


def ratio_interval(first: Sequence[float], second: Sequence[float], rng: np.random.Generator) -> dict[str, float]:
    """Return the ratio of two means and its percentile bootstrap interval; runs of both methods are resampled."""
    left, right = np.asarray(first), np.asarray(second)
    drawn = [each[rng.integers(len(each), size=(RESAMPLES, len(each)))].mean(axis=1) for each in (left, right)]
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn[0] / drawn[1], (outside, 1 - outside))
    return {"estimate": float(left.mean() / right.mean()), "low": float(low), "high": float(high)}


def faithfulness() -> list[dict[str, Any]]:
    """Return the rows of the claim that the attended region drives the decision more than with the best peer."""
    return present(
        _faithfulness_row(setting, target, name, f"{effect}/{target}/{setting.level_set}")
        for setting in SETTINGS
        for target in setting.targets
        for name, effect in EFFECTS.items()
    )


def _faithfulness_row(setting: Setting, target: str, effect: str, figure: str) -> dict[str, Any] | None:
    own = setting.values(figure, METHOD)
    peers = {peer: values for peer in GUIDED if (values := setting.values(figure, peer)) is not None}
    if own is None or not peers:
        return None
    best = max(peers, key=lambda peer: np.mean(peers[peer]))
    row = {
        **{"setting": setting.title, "target": target, "effect": effect, "figure": figure},
        **{"file": f"{setting.file}.json", "best_peer": best, "peers": list(peers)},
        "values": {METHOD: own, best: peers[best]},
        "means": {METHOD: float(np.mean(own)), "best_peer": float(np.mean(peers[best]))},
        "runs": f"{len(own)} and {len(peers[best])}",
    }
    if min(peers[best]) <= 0:
        return {**row, "ratio": "none", "verdict": "no ratio: the peer's effect is not above 0 in every seed"}
    ratio = ratio_interval(own, peers[best], np.random.default_rng(0))
    verdict = "yes" if ratio["low"] >= WANTED_RATIO else "no" if ratio["high"] < WANTED_RATIO else "not shown"
    return {**row, "ratio": f"{ratio['estimate']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})", "verdict": verdict}


def improvement(figures: Iterator[tuple[Setting, str, str]]) -> list[dict[str, Any]]:
    """Return the rows of a claim about results on held-out data.

    Args:
        figures: setting, figure, and what its data are.
    """
    rows = []
    for setting, figure, data in figures:
        row = comparison_row(setting, figure, data=data)
        if row is None:
            continue
        first, second = row["values"][METHOD], row["values"][setting.baseline]
        if min(len(first), len(second)) < LEAST_RUNS:
            rows.append({**row, "probability": "none", "verdict": FEW})
            continue
        found = improvement_interval(first, second, np.random.default_rng(0), CONFIDENCE, RESAMPLES)
        text = f"{found.estimate:.2f} ({found.low:.2f} to {found.high:.2f})"
        verdict = "above" if found.low > 0.5 else "below" if found.high < 0.5 else "neither is shown"
        rows.append({**row, "probability": text, "verdict": verdict})
    return rows


def background() -> list[dict[str, Any]]:
    """Return the rows of the claim that decisions depend less on backgrounds."""
    rows = (
        comparison_row(each, f"{figure}/{each.level_set}", what=what)
        for each in SETTINGS
        for figure, what in BACKGROUNDS.items()
    )
    return tested(present(rows), higher=False)


def cost(path: Path) -> list[dict[str, Any]]:
    """Return the rows of the claim that a decision costs nothing more."""
    rows = []
    for encoder, found in json.loads(path.read_text())["encoders"].items():
        counts = found["exported_operations"]
        ratio, low, high = found["camal_over_stock"]
        rows.append(
            {
                **{"encoder": encoder, "ratio": {"median": ratio, "low": low, "high": high}},
                **{name: sum(each.values()) for name, each in (("stock", counts["stock"]), ("camal", counts["CAMAL"]))},
                "verdict": "yes" if counts["stock"] == counts["CAMAL"] else "no",
            }
        )
    return rows


def summary(claims: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return how many rows of each claim show it, show the contrary, show neither, or have too few seeds."""
    found = []
    for claim, rows in claims.items():
        verdicts = [row["verdict"] for row in rows]
        shown, contrary = (sum(each in which for each in verdicts) for which in (SHOWN, CONTRARY))
        few = verdicts.count(FEW)
        neither = len(rows) - shown - contrary - few
        found.append({"claim": claim, "shown": shown, "contrary": contrary, "neither": neither, "few": few})
    return found


def main() -> None:
    """Test the claims, print the verdicts and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "claims.json")
    arguments = parser.parse_args()
    misleading = ((each, figure, data) for each in SETTINGS for data, figure in each.misleading.items())
    claims = {
        "alignment": alignment(),
        "faithfulness": faithfulness(),
        "return": improvement((each, each.result, "held-out") for each in SETTINGS),
        "misleading": improvement(misleading),
        "background": background(),
        "cost": cost(RESULTS / "inference.json"),
    }
    for claim, rows in claims.items():
        for row in rows:
            what = [row[key] for key in ("setting", "encoder", "target", "effect", "data", "what") if key in row]
            print(f"{claim:12} {', '.join(what):60} {row['verdict']}")
    result = {**program_provenance(), "summary": summary(claims), **claims}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
