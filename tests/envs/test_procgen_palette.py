"""Procgen's colors, labels, edges and states, with values worked out by hand; needs no simulator."""

import numpy as np
import pytest

from camal_rl.envs.procgen.bit_rows import bit_rows, pixels
from camal_rl.envs.procgen.classes import GAMES, GameClasses
from camal_rl.envs.procgen.palette import LabelPainter, color_table, flat_color
from camal_rl.envs.procgen.state import current_time, entities, game_name, layout, set_levels, set_options


def test_flat_colors_worked_out_by_hand():
    # type 0: k = 29 = 1*16 + 3*4 + 1; type 1: k = 58 = 3*16 + 2*4 + 2; type 2, theme 1: k = 87 + 19 mod 64 = 42.
    assert flat_color(0) == (127, 255, 127)
    assert flat_color(1) == (255, 191, 191)
    assert flat_color(2, theme=1) == (191, 191, 191)


@pytest.mark.parametrize("game", sorted(GAMES))
def test_every_color_gets_its_label(game):
    table = color_table(GAMES[game])
    classes = GAMES[game]
    no_edges = GameClasses(**{**vars(classes), "edges": {}, "turned": ()})
    frame = np.array(list(table), dtype=np.uint8)[None, None].repeat(8, axis=1)
    labels = LabelPainter(no_edges)(frame)
    wanted = [list(table.values())] * 8
    by_name = [[no_edges.names[label] for label in row] for row in labels[0]]
    assert by_name == [[classes.names[label] for label in row] for row in wanted]


def test_two_classes_of_one_color_are_refused():
    # Type 64 has the color of type 0: 29 * 65 = 29 modulo 64.
    with pytest.raises(ValueError, match="agent and ghost share the color"):
        color_table(GameClasses(drawn={0: "agent", 64: "ghost"}, relevant=("agent",)))


def test_relevant_classes_and_names():
    spec = GAMES["coinrun"].spec
    assert spec.names[0] == "background"
    assert "wall_edge" in spec.relevant
    assert "wall" not in spec.relevant


def test_edges_are_two_pixels_wide_and_not_at_the_border_or_under_displays():
    game = GameClasses(
        drawn={0: "agent", 1: "wall", 2: "meter"},
        relevant=("agent",),
        edges={"wall": "wall_edge"},
        display=("meter",),
    )
    frame = np.zeros((1, 10, 64, 3), dtype=np.uint8)
    frame[:, :, 4:] = flat_color(1)
    frame[:, 0:2, 8:] = flat_color(2)
    labels = LabelPainter(game)(frame)[0]
    wall, meter, edge = 2, 3, 4
    expected = np.zeros((10, 64), dtype=np.uint8)
    expected[:, 4:6] = edge
    expected[:, 6:] = wall
    expected[0:2, 8:] = meter
    np.testing.assert_array_equal(labels, expected)


def edges_pixel_by_pixel(labels, terrain, edge, display, distances):
    out = labels.copy()
    _, height, width = labels.shape
    for n, y, x in np.argwhere(labels == terrain):
        for distance in distances:
            for dy, dx in ((distance, 0), (-distance, 0), (0, distance), (0, -distance)):
                inside = 0 <= y + dy < height and 0 <= x + dx < width
                if inside and labels[n, y + dy, x + dx] not in (terrain, *display):
                    out[n, y, x] = edge
    return out


@pytest.mark.parametrize("next_to_thin", [False, True])
def test_edges_of_random_terrain_are_those_found_pixel_by_pixel(next_to_thin):
    game = GameClasses(
        drawn={0: "agent", 1: "wall", 2: "meter"},
        relevant=("agent",),
        edges={"wall": "wall_edge"},
        display=("meter",),
    )
    labels = np.random.default_rng(0).choice(np.array([1, 2, 3], dtype=np.uint8), (3, 20, 64), p=[0.1, 0.8, 0.1])
    expected = edges_pixel_by_pixel(labels, 2, 4, (3,), (1, 2) if next_to_thin else (2,))
    LabelPainter(game).mark_edges(labels, next_to_thin)
    assert set(np.unique(labels)) == {1, 2, 3, 4}
    np.testing.assert_array_equal(labels, expected)


def test_rows_of_bits_are_columns_in_order_and_have_procgens_width():
    mask = np.zeros((2, 3, 64), dtype=bool)
    mask[1, 2, [0, 5, 63]] = True
    rows = bit_rows(mask)
    assert rows[1, 2] == 1 + (1 << 5) + (1 << 63)
    assert rows.sum() == rows[1, 2]
    np.testing.assert_array_equal(pixels(rows), mask)
    with pytest.raises(ValueError, match="64 pixels wide, got 63"):
        bit_rows(mask[..., 1:])


def test_turned_boxes_are_turned_about_their_center():
    game = GameClasses(drawn={0: "agent"}, relevant=("agent",), turned=("agent",))
    frame = np.zeros((3, 12, 64, 3), dtype=np.uint8)
    frame[0, 5:7, 3:9] = flat_color(0)
    frame[2, 1:9, 62:] = flat_color(0)
    labels = LabelPainter(game)(frame)
    expected = np.zeros((3, 12, 64), dtype=np.uint8)
    expected[0, 3:9, 5:7] = 1
    expected[2, 4:6, 59:] = 1  # what would lie beyond the border is cut off
    np.testing.assert_array_equal(labels, expected)


def hand_made_state():
    def ints(*values):
        return np.array(values, dtype="<i4").tobytes()

    generator = ints(1, 3) + b"1 2"
    entity = np.zeros(31, dtype="<i4")
    entity[6:10] = (5, 6, 2, 1)
    entity[25:26] = np.array([0.5], dtype="<f4").view("<i4")
    step_data = np.arange(100, 115)
    return (
        ints(0, 4) + b"maze" + ints(*range(12)) + ints(0, 10, 20, 0, 0) + generator * 2 + ints(*step_data)
        + ints(9, 1) + entity.tobytes()
    )  # fmt: skip


def test_state_fields_are_found_where_the_format_has_them():
    state = bytearray(hand_made_state())
    assert game_name(bytes(state)) == "maze"
    assert layout(state).num_entities == 1
    assert current_time(bytes(state)) == 113
    found = entities(state)[0]
    assert (int(found["type"]), int(found["image_type"]), int(found["image_theme"])) == (5, 6, 2)
    assert float(found["alpha"]) == 0.5


def test_state_edits_change_only_what_they_name():
    before = hand_made_state()
    state = bytearray(before)
    set_options(state, use_backgrounds=False, restrict_themes=True)
    set_levels(state, 30, 31)
    words = np.frombuffer(bytes(state[12 : 12 + 17 * 4]), dtype="<i4").tolist()
    assert words == [0, 1, 2, 1, 0, 5, 6, 7, 8, 9, 10, 11, 0, 30, 31, 0, 0]
    assert bytes(state[12 + 17 * 4 :]) == before[12 + 17 * 4 :]
