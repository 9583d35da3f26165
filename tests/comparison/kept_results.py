"""A folder of results that is small enough to be worked out by hand: two methods, two seeds, one measurement."""

import json

from camal_rl.comparison.results.sources import comparison_text

COMMAND = "camal-rl compare toy_grid --methods ppo,camal --seeds 2"
ORIGIN = {
    "command": COMMAND,
    "git_revision": "0123456789abcdef",
    "date": "2026-01-02",
    "machine": {"cpu": "Acme 1", "cores": 4, "system": "Linux"},
    "versions": {"camal-rl": "0.1.0"},
    "computing": {"device": "cpu", "precision": "float32"},
}
SOURCE = (
    f"Source: `{COMMAND}`; seeds 0 and 1; 512 steps; 8 episodes; 4 cores, Acme 1, float32 on cpu; revision 0123456; "
    "2026-01-02; [small.json](files/small.json)"
)
MANIFEST = """
pages: [README.md]
tables:
  small:
    title: figure
    file: small
    digits: 2
    columns:
      - {title: PPO, method: ppo}
      - {title: CAMAL, method: camal}
    rows:
      - {title: return, figure: return/train}
      - {title: each seed, figure: return/train, show: seeds}
"""
PAGE = """# Small

By hand.

<!-- results: small -->
<!-- end -->

The end.
"""
TABLE = """| figure | PPO | CAMAL |
| --- | --- | --- |
| return | 1.50 ± .71 | .25 ± .35 |
| each seed | 1.00, 2.00 | .00, .50 |
"""


def comparison(**changed):
    """Return what the comparison.json of two seeds of two methods holds."""
    values = {"ppo": {"0": 1.0, "1": 2.0}, "camal": {"0": 0.0, "1": 0.5}}
    curve = [[0, 256, 512], [0.0, 0.25, 1.0]]
    return {
        "version": 2,
        "env": "toy_grid/default",
        "methods": ["ppo", "camal"],
        "seeds": [0, 1],
        "length": "512 steps",
        "evaluation": {"suite": "quick", "episodes": 8, "frames": 0},
        "runs": [{"method": method, "seed": seed, "provenance": 0} for method in values for seed in (0, 1)],
        "provenance": [ORIGIN],
        "words": {"return/train": "return on train"},
        "figures": {"return/train": {method: {"seeds": seeds} for method, seeds in values.items()}},
        "curves": {
            "reward": {
                "title": "return",
                "steps": "steps",
                "same_axis": ["reward"],
                "methods": {"ppo": {"0": curve, "1": curve}},
            }
        },
        **changed,
    }


def write_comparison(path, **changed):
    path.write_text(comparison_text(comparison(**changed)))
    return path


def write_measurement(path, data):
    path.write_text(json.dumps({**data, **{key: ORIGIN[key] for key in ("git_revision", "date", "machine")}}))


def write_results(folder, manifest=MANIFEST, page=PAGE):
    """Write the folder: a file, the manifest, a page whose block is empty."""
    (folder / "files").mkdir(parents=True)
    write_comparison(folder / "files" / "small.json")
    (folder / "results.yaml").write_text(manifest)
    (folder / "README.md").write_text(page)
    return folder
