"""Levels: pure in their seed, disjoint between sets, cue as strong as asked."""

from dataclasses import replace

import numpy as np
import pytest

from camal_rl.envs import toy_grid
from camal_rl.envs.toy_grid import level as level_module
from camal_rl.envs.toy_grid.layout import INNER, MOVES, STARTS, Layout, make_layout, quadrant_of
from camal_rl.envs.toy_grid.level import LABEL, build_level
from camal_rl.envs.toy_grid.options import LevelDesign
from camal_rl.envs.toy_grid.random_stream import RandomStream

BUSY = LevelDesign(num_walls=6, num_hazards=3, num_distractors=6)


def test_stream_gives_the_published_splitmix64_numbers():
    stream = RandomStream()
    stream._state = 1234567
    assert [stream.bits() for _ in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_stream_samples_without_repetition():
    assert sorted(RandomStream(5).sample(range(9), 9)) == list(range(9))
    assert len(RandomStream(5).sample(range(3), 9)) == 3
    assert 0.0 <= RandomStream(6).random() < 1.0


def test_same_seed_same_level_without_the_cache():
    for seed in (0, 7, 2**31 - 1):
        first, second = (build_level.__wrapped__(seed, BUSY) for _ in range(2))
        assert first.layout == second.layout
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.labels, second.labels)


def test_a_level_never_changes_between_releases():
    assert make_layout(7, LevelDesign()) == Layout(
        start=(3, 3),
        goal=(3, 1),
        hazards=((5, 1), (2, 6)),
        walls=((4, 2), (2, 4)),
        distractors=((5, 5), (3, 5)),
        cue=0,
    )


def test_levels_differ():
    frames = {build_level(seed, LevelDesign()).image.tobytes() for seed in range(200)}
    assert len(frames) == 200


def test_cached_levels_are_read_only():
    level = build_level(3, LevelDesign())
    for array in (level.image, level.labels, level.cells):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


@pytest.mark.parametrize(("walls", "hazards", "distractors"), [(0, 0, 0), (2, 1, 3), (6, 3, 6)])
def test_things_are_counted_apart_and_in_their_places(walls, hazards, distractors):
    design = LevelDesign(num_walls=walls, num_hazards=hazards, num_distractors=distractors)
    for seed in range(100):
        layout = make_layout(seed, design)
        things = [layout.start, layout.goal, *layout.hazards, *layout.walls, *layout.distractors]
        assert len(set(things)) == len(things)
        assert set(things) <= set(INNER)
        assert layout.start in STARTS
        assert (len(layout.hazards), len(layout.distractors)) == (hazards, distractors)
        assert len(layout.walls) in (0, walls)
        quadrants = [quadrant_of(cell) for cell in (layout.goal, *layout.hazards)]
        assert len(set(quadrants)) == len(quadrants)


def test_the_goal_can_always_be_reached():
    for seed in range(300):
        layout = make_layout(seed, BUSY)
        reached = {layout.start}
        for _ in range(40):
            reached |= {(row + up, col + right) for row, col in reached for up, right in MOVES}
            reached &= set(INNER) - set(layout.walls) - set(layout.hazards)
        assert layout.goal in reached


def test_walls_are_nearly_always_all_there():
    counts = [len(make_layout(seed, BUSY).walls) for seed in range(300)]
    assert np.mean(np.array(counts) == 6) > 0.98


def test_design_changes_only_what_it_names():
    base = make_layout(11, LevelDesign())
    assert replace(make_layout(11, LevelDesign(cue_strength=0.0)), cue=base.cue) == base
    assert make_layout(11, LevelDesign(theme="held_out")) == base
    fewer = make_layout(11, LevelDesign(num_distractors=0))
    assert replace(base, distractors=()) == fewer


@pytest.mark.parametrize(("strength", "rate"), [(0.0, 0.25), (0.5, 0.625), (0.8, 0.85), (1.0, 1.0)])
def test_cue_is_truthful_as_often_as_asked(strength, rate):
    count = 2000
    layouts = [make_layout(seed, LevelDesign(cue_strength=strength)) for seed in range(count)]
    truthful = np.mean([layout.cue == quadrant_of(layout.goal) for layout in layouts])
    assert abs(truthful - rate) <= 4 * np.sqrt(rate * (1 - rate) / count)


def test_a_broken_cue_is_independent_of_the_goal():
    table = np.zeros((4, 4))
    for seed in range(4000):
        layout = make_layout(seed, LevelDesign(cue_strength=0.0))
        table[quadrant_of(layout.goal), layout.cue] += 1
    chi_square = ((table - 250.0) ** 2 / 250.0).sum()
    assert chi_square < 37.7  # 15 degrees of freedom, p = 0.001


def test_quadrants_by_hand():
    assert [quadrant_of(cell) for cell in ((1, 1), (3, 4), (4, 3), (6, 6))] == [0, 1, 2, 3]


def test_the_cue_is_drawn_in_the_top_row_and_only_there():
    frames = [build_level(seed, LevelDesign()) for seed in range(40)]
    for level in frames:
        assert (level.labels[:8] == LABEL["cue"]).all()
        assert (level.labels[8:] != LABEL["cue"]).all()
    banners = {(level.layout.cue, level.image[:8].tobytes()) for level in frames}
    assert len(banners) == 4


def _redrawn(monkeypatch, layout: Layout, design: LevelDesign):
    with monkeypatch.context() as patch:
        patch.setattr(level_module, "make_layout", lambda seed, design: layout)
        return build_level.__wrapped__(21, design)


@pytest.mark.parametrize("theme", ["train", "held_out"])
@pytest.mark.parametrize(("name", "field"), [("hazard", "hazards"), ("wall", "walls"), ("distractor", "distractors")])
def test_silhouette_is_what_vanishes_with_the_object(monkeypatch, theme, name, field):
    design = LevelDesign(theme=theme)
    layout = make_layout(21, design)
    level = build_level.__wrapped__(21, design)
    without = _redrawn(monkeypatch, replace(layout, **{field: ()}), design)
    vanished = (level.image != without.image).any(axis=-1)
    assert vanished.any()
    np.testing.assert_array_equal(vanished, level.labels == LABEL[name])


@pytest.mark.parametrize("theme", ["train", "held_out"])
def test_silhouette_of_the_goal_moves_with_it(monkeypatch, theme):
    design = LevelDesign(theme=theme)
    layout = make_layout(21, design)
    taken = {layout.start, layout.goal, *layout.hazards, *layout.walls, *layout.distractors}
    other = next(cell for cell in INNER if cell not in taken)
    level = build_level.__wrapped__(21, design)
    moved = _redrawn(monkeypatch, replace(layout, goal=other), design)
    changed = (level.image != moved.image).any(axis=-1)
    np.testing.assert_array_equal(changed, (level.labels == LABEL["goal"]) | (moved.labels == LABEL["goal"]))


def test_boxes_are_whole_cells_around_the_silhouettes():
    boxes, exact = build_level(4, BUSY, True), build_level(4, BUSY, False)
    np.testing.assert_array_equal(boxes.image, exact.image)
    row, col = boxes.layout.goal
    cell = (slice(8 * row, 8 * row + 8), slice(8 * col, 8 * col + 8))
    assert (boxes.labels[cell] == LABEL["goal"]).all()
    assert (boxes.labels == LABEL["hazard"]).sum() == 3 * 64
    assert (boxes.labels[exact.labels > 0] == exact.labels[exact.labels > 0]).all()


def test_level_sets_are_disjoint_and_change_what_they_say():
    sets = toy_grid.level_sets("default")
    assert {"train", "held_out", "held_out_cue", "held_out_appearance", "cue_broken"} == set(sets)
    train = range(200)
    for name in ("held_out", "held_out_cue", "held_out_appearance"):
        assert sets[name]["start_level"] not in train
        assert sets[name]["num_levels"] == 0
    assert (sets["cue_broken"]["start_level"], sets["cue_broken"]["num_levels"]) == (0, 200)
    strengths = {name: options["cue_strength"] for name, options in sets.items()}
    assert strengths == {
        "train": 1.0,
        "held_out": 0.0,
        "held_out_cue": 1.0,
        "held_out_appearance": 1.0,
        "cue_broken": 0.0,
    }
    assert {name for name, options in sets.items() if options["theme"] == "held_out"} == {"held_out_appearance"}
    assert all(options["cue_strength"] == 0.0 for options in toy_grid.level_sets("no_cue").values())


def test_no_held_out_frame_is_a_training_frame():
    train = {build_level(seed, LevelDesign()).image[8:].tobytes() for seed in range(200)}
    for seed in range(1_000_000, 1_001_000):
        assert build_level.__wrapped__(seed, LevelDesign()).image[8:].tobytes() not in train


def test_themes_share_no_floor_texture_or_sprite():
    train, held_out = (level_module.THEME_ART[name] for name in ("train", "held_out"))
    assert not set(train.floors) & set(held_out.floors)
    assert not set(train.textures) & set(held_out.textures)
    for thing in ("agent", "goal", "hazard", "wall"):
        one, other = getattr(train, thing), getattr(held_out, thing)
        assert not np.array_equal(one.color, other.color)
