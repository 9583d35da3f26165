"""The toy grid's page names all there is, and what it says about the game is so."""

import re

import numpy as np
import pytest

from camal_rl.envs import level_sets, make_vec, segmentation_spec
from camal_rl.envs.toy_grid.counterfactual import INTERVENTIONS
from camal_rl.envs.toy_grid.layout import make_layout, quadrant_of
from camal_rl.envs.toy_grid.options import OPTION_NAMES, LevelDesign, ToyGridOptions
from tests.docs.pages import read

PAGE = read("docs/toy_grid.md")
ENV = "toy_grid/default"


def rows(heading):
    """Return the cells of the first table under a heading."""
    part = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_option_is_in_the_table_with_its_default():
    cells = [(re.findall(r"`(\w+)`", row[0]), row[1]) for row in rows("Options")]
    assert sorted(name for names, _ in cells for name in names) == sorted(OPTION_NAMES)
    options = ToyGridOptions()
    for names, default in cells:
        for name, shown in zip(names, default.split(" (")[0].split(", "), strict=False):
            value = getattr(options, name, None)
            value = getattr(options.design, name) if value is None and name != "relevant" else value
            if isinstance(value, int | float):
                assert float(shown) == value, name
            elif isinstance(value, str):
                assert shown == f"`{value}`", name


def test_every_class_is_in_the_table_and_marked_as_it_is():
    spec = segmentation_spec(ENV)
    table = rows("Classes and masks")
    assert tuple(re.sub("`", "", row[1]) for row in table) == spec.names
    assert tuple(re.sub("`", "", row[1]) for row in table if row[2] == "yes") == spec.relevant


def test_every_level_set_is_in_the_table_with_what_it_changes():
    sets = level_sets(ENV)
    table = {row[0].strip("`"): row[1:4] for row in rows("Levels")}
    assert set(table) == set(sets)
    for name, (levels, cue, drawings) in table.items():
        options = sets[name]
        assert cue == {1.0: "true", 0.0: "random"}[options["cue_strength"]]
        assert drawings == f"`{options['theme']}`"
        assert int(levels.split()[0 if levels.startswith("0") else 1].replace(",", "")) == options["start_level"]


@pytest.mark.parametrize(
    ("quadrant", "color", "channels"),
    [(0, "red top left", "r"), (1, "green top right", "g"), (2, "blue bottom left", "b"), (3, "purple bottom", "rb")],
)
def test_the_colors_of_the_cue_are_those_of_the_page(quadrant, color, channels):
    assert color in PAGE
    design = LevelDesign()
    seed = next(seed for seed in range(50) if quadrant_of(make_layout(seed, design).goal) == quadrant)
    image = make_vec(ENV, num_envs=1, seed=0, start_level=seed, num_levels=1).reset()[0]
    top_row = image[:8].astype(int).mean(axis=(0, 1))
    bright = {"rgb"[channel] for channel in np.flatnonzero(top_row > 0.75 * top_row.max())}
    assert bright == set(channels)


def test_every_intervention_is_named():
    for intervention in INTERVENTIONS:
        kind = re.sub(r"_\d$", "", intervention.name)
        shown = "remove_<class>" if intervention.class_name and intervention.kind == "remove" else kind
        assert shown in PAGE, intervention.name
