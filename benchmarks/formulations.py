"""Claim: which formulation of CAMAL is most faithful and depends least on backgrounds, by the criterion on the page.

``docs/results/formulations.md`` fixes the criterion. The program reads the kept reports of the candidates, one file for
each setting, ``docs/results/files/formulations_<setting>.json``, made from runs with tuning seeds:

    camal-rl sweep toy_grid camal.method=gradcam,hirescam evaluation.suite=full --seeds 3 --out runs/formulations/maps
    camal-rl train toy_grid camal.weight=0 seed=100 evaluation.suite=full --run-dir runs/formulations/ppo-seed100
    camal-rl evaluate runs/formulations/ppo-seed100
    camal-rl report runs/formulations
    camal-rl results add runs/formulations/report/report.json --name formulations_toy_grid
    python benchmarks/formulations.py
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scipy.stats import rankdata

from camal_rl.runs.provenance import program_provenance

HERE = Path(__file__).resolve().parent
FILES = HERE.parent / "docs" / "results" / "files"
PREFIX = "formulations_"
BASELINE = "ppo"
RETURN = "return/train"
LEAST_SHARE = 0.97
"""Least share of the baseline's return on training levels."""
EFFECTS = ("deletion_effect_net", "insertion_change_auc_net")
MAPS = {"own": "", "perturbation": "_perturbation"}
TARGETS = ("value", "policy")
HIGH = {
    f"{effect}{suffix}/{target}/held_out": f"{target}, {effect.partition('_')[0]}, {map_} map"
    for effect in EFFECTS
    for map_, suffix in MAPS.items()
    for target in TARGETS
}
LOW = {"background_kl/held_out": "KL, other background", "background_value_change/held_out": "value, other background"}
LOW_WEIGHT = len(HIGH) / len(LOW)
"""Sensitivity to backgrounds weighs as much as faithfulness."""


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
    """Return a row for each method: its figures, its mean rank if it returns enough, the best first.

    Args:
        figures: those of a kept report, by name and method.

    Raises:
        ValueError: there is no baseline, its return is not above 0, or a method lacks a figure.
    """
    if BASELINE not in figures.get(RETURN, {}):
        raise ValueError(f"the report needs runs of {BASELINE} (camal.weight=0)")
    seeds = set(figures[RETURN][BASELINE]["seeds"])
    returns = means(figures, RETURN, seeds)
    if not returns[BASELINE] > 0:
        raise ValueError(f"no share of {BASELINE}'s return on training levels, {returns[BASELINE]:.3g}; train longer")
    known = {name: means(figures, name, seeds) for name in (*HIGH, *LOW)}
    for name, found in known.items():
        if missing := sorted(set(returns) - set(found)):
            raise ValueError(f"{', '.join(missing)}: {name} is missing; evaluate with evaluation.suite=full")
    enough = [name for name, value in returns.items() if value >= LEAST_SHARE * returns[BASELINE]]
    weights = {**dict.fromkeys(HIGH, 1.0), **dict.fromkeys(LOW, LOW_WEIGHT)}
    total = dict.fromkeys(enough, 0.0)
    for name, weight in weights.items():
        sign = -1.0 if name in HIGH else 1.0
        ranks = rankdata([sign * known[name][method] for method in enough])
        for method, rank in zip(enough, ranks, strict=True):
            total[method] += weight * float(rank)
    mean_ranks = {method: ranks / sum(weights.values()) for method, ranks in total.items()}
    rows = [
        {
            "candidate": method,
            "return": returns[method],
            "share_of_return": returns[method] / returns[BASELINE],
            "returns_enough": "yes" if method in mean_ranks else "no",
            "mean_rank": mean_ranks.get(method),
            "rank": f"{mean_ranks[method]:.2f}" if method in mean_ranks else "returns less",
            "seeds": sorted(seeds),
            "figures": {words: known[name][method] for name, words in (HIGH | LOW).items()},
        }
        for method in returns
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
            print(f"  {row['rank']:>12}  {row['share_of_return']:.3f} of the return  {row['candidate']}")
    arguments.out.write_text(json.dumps({**program_provenance(), "settings": settings}, indent=1) + "\n")


if __name__ == "__main__":
    main()
