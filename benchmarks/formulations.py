"""Claim: which formulation of CAMAL is most faithful and depends least on backgrounds, by the criterion on the page.

``docs/results/formulations.md`` fixes the criterion. The program reads the kept reports of the candidates, one file for
each setting, ``docs/results/files/formulations_<setting>.json``, made from runs with tuning seeds:

    camal-rl sweep toy_grid camal.method=gradcam,hirescam evaluation.suite=full --seeds 3 --out runs/formulations/maps
    camal-rl train toy_grid camal.weight=0 seed=100 evaluation.suite=full --run-dir runs/formulations/ppo-seed100
    camal-rl evaluate runs/formulations/ppo-seed100
    camal-rl report runs/formulations
    camal-rl results add runs/formulations/report/report.json --name formulations_toy_grid
    python benchmarks/formulations.py

Image classifiers are ranked by accuracy on validation images, faithfulness of the class map and background flips.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import rankdata

from camal_rl.runs.provenance import program_provenance

HERE = Path(__file__).resolve().parent
FILES = HERE.parent / "docs" / "results" / "files"
PREFIX = "formulations_"
LEAST_SHARE = 0.97
"""Least share of the baseline's return on training levels, or of its accuracy on validation images."""
EFFECTS = ("deletion_effect_net", "insertion_change_auc_net")
MAPS = {"own": "", "perturbation": "_perturbation"}


@dataclass(frozen=True)
class Criterion:
    """What is compared, and with which baseline.

    Attributes:
        baseline: name of the method without CAMAL.
        achieved: the figure of which a candidate must reach :data:`LEAST_SHARE`.
        high: figures of faithfulness with their names in tables; higher is better.
        low: figures of sensitivity to backgrounds with their names in tables; lower is better.
    """

    baseline: str
    achieved: str
    high: Mapping[str, str]
    low: Mapping[str, str]

    @property
    def weights(self) -> dict[str, float]:
        """Return the weight of each figure; both halves weigh the same."""
        return {**dict.fromkeys(self.high, 1.0), **dict.fromkeys(self.low, len(self.high) / len(self.low))}


def faithfulness(targets: Sequence[str], level_set: str) -> dict[str, str]:
    """Return the figures of faithfulness, net of the random map, of the own and the perturbation map of each target."""
    return {
        f"{effect}{suffix}/{target}/{level_set}": f"{target}, {effect.partition('_')[0]}, {map_} map"
        for effect in EFFECTS
        for map_, suffix in MAPS.items()
        for target in targets
    }


AGENTS = Criterion(
    "ppo",
    "return/train",
    faithfulness(("value", "policy"), "held_out"),
    {"background_kl/held_out": "KL, other background", "background_value_change/held_out": "value, other background"},
)
CLASSIFIERS = Criterion(
    "vanilla",
    "accuracy/validation",
    faithfulness(("class",), "test"),
    {"background_flips/test": "predictions that another background flips"},
)


def means(figures: Mapping[str, Any], name: str, seeds: set[str]) -> dict[str, float]:
    """Return a figure's mean over the seeds for each method.

    Raises:
        ValueError: a method lacks the figure, or has other seeds than the baseline.
    """
    found = {}
    for method, entry in figures.get(name, {}).items():
        values = entry["seeds"]
        if set(values) != seeds or None in values.values():
            raise ValueError(f"{method} needs {name} for the seeds {', '.join(sorted(seeds))}, got {values}")
        found[method] = statistics.fmean(values.values())
    return found


def ranked(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each method: its figures, its mean rank if it achieves enough, the best first.

    Args:
        figures: those of a kept report, of agents or of classifiers, by name and method.

    Raises:
        ValueError: there is no baseline, what it achieves is not above 0, or a method lacks a figure.
    """
    kind = CLASSIFIERS if CLASSIFIERS.achieved in figures else AGENTS
    if kind.baseline not in figures.get(kind.achieved, {}):
        raise ValueError(f"the report needs {kind.achieved} of {kind.baseline} (camal.weight=0)")
    seeds = set(figures[kind.achieved][kind.baseline]["seeds"])
    achieved = means(figures, kind.achieved, seeds)
    best = achieved[kind.baseline]
    if not best > 0:
        raise ValueError(f"no share of {kind.baseline}'s {kind.achieved}, {best:.3g}; train longer")
    known = {name: means(figures, name, seeds) for name in kind.weights}
    for name, found in known.items():
        if missing := sorted(set(achieved) - set(found)):
            raise ValueError(f"{', '.join(missing)}: {name} is missing; evaluate with evaluation.suite=full")
    enough = [name for name, value in achieved.items() if value >= LEAST_SHARE * best]
    total = dict.fromkeys(enough, 0.0)
    for name, weight in kind.weights.items():
        sign = -1.0 if name in kind.high else 1.0
        ranks = rankdata([sign * known[name][method] for method in enough])
        for method, rank in zip(enough, ranks, strict=True):
            total[method] += weight * float(rank)
    mean_ranks = {method: ranks / sum(kind.weights.values()) for method, ranks in total.items()}
    words = {**kind.high, **kind.low}
    rows = [
        {
            "candidate": method,
            "achieved": achieved[method],
            "share": achieved[method] / best,
            "enough": "yes" if method in mean_ranks else "no",
            "mean_rank": mean_ranks.get(method),
            "rank": f"{mean_ranks[method]:.2f}" if method in mean_ranks else "achieves less",
            "seeds": sorted(seeds),
            "figures": {title: known[name][method] for name, title in words.items()},
        }
        for method in achieved
    ]
    return sorted(rows, key=lambda row: (row["mean_rank"] is None, row["mean_rank"] or 0.0))


def main() -> None:
    """Rank the candidates of every setting, print the ranks and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path, default=FILES, help=f"folder of the kept reports {PREFIX}*.json")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "formulations.json")
    arguments = parser.parse_args()
    paths = sorted(arguments.files.glob(f"{PREFIX}*.json"))
    if not paths:
        parser.error(f"--files: {arguments.files} has no {PREFIX}*.json; see --help for how they are made")
    settings = {}
    for path in paths:
        try:
            settings[path.stem.removeprefix(PREFIX)] = ranked(json.loads(path.read_text())["figures"])
        except ValueError as error:
            parser.error(f"{path.name}: {error}")
    for setting, rows in settings.items():
        print(setting)
        for row in rows:
            print(f"  {row['rank']:>12}  {row['share']:.3f} of the baseline  {row['candidate']}")
    arguments.out.write_text(json.dumps({**program_provenance(), "settings": settings}, indent=1) + "\n")


if __name__ == "__main__":
    main()
