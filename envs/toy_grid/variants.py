"""The named toy grids and their level sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camal_rl.envs.toy_grid.options import LevelDesign, ToyGridOptions, parse_options

VARIANTS = {
    "default": ToyGridOptions(),
    "no_cue": ToyGridOptions(design=LevelDesign(cue_strength=0.0)),
}
_TRAIN_LEVELS = 200
_HELD_OUT_START = 1_000_000


def variant_options(name: str, given: dict[str, Any]) -> ToyGridOptions:
    """Return a variant's options with some replaced by the user.

    Raises:
        ValueError: unknown variant or a value out of range.
        TypeError: unknown option or a value of the wrong type.
    """
    if name not in VARIANTS:
        raise ValueError(f"unknown toy grid {name!r}; the variants are {', '.join(VARIANTS)}")
    return parse_options(VARIANTS[name], given)


def variant_level_sets(name: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the options of each level set of a variant."""
    cue = variant_options(name, {}).design.cue_strength
    new = {"start_level": _HELD_OUT_START, "num_levels": 0}
    old = {"start_level": 0, "num_levels": _TRAIN_LEVELS}
    return {
        "train": {**old, "cue_strength": cue, "theme": "train"},
        "held_out": {**new, "cue_strength": 0.0, "theme": "train"},
        "held_out_cue": {**new, "cue_strength": cue, "theme": "train"},
        "held_out_appearance": {**new, "cue_strength": cue, "theme": "held_out"},
        "cue_broken": {**old, "cue_strength": 0.0, "theme": "train"},
    }
