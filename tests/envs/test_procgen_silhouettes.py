"""Procgen's silhouettes against what hiding an object changes, across episode ends, new states and a divergence."""

import fnmatch
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from camal_rl.envs import make_vec
from camal_rl.envs.procgen import ProcgenVecEnv, register, sprite_pack
from camal_rl.envs.procgen.classes import GAMES
from camal_rl.envs.procgen.libraries import MODULE
from camal_rl.envs.procgen.palette import LabelPainter, flat_color
from camal_rl.envs.procgen.silhouette import SilhouettePainter
from camal_rl.envs.procgen.sprites import SPRITES
from camal_rl.envs.procgen.state import entities, set_options

if importlib.util.find_spec(MODULE) is None and "CI" not in os.environ:
    pytest.skip("Procgen is not installed", allow_module_level=True)


def make(game, num_envs, **options):
    return ProcgenVecEnv(game, num_envs, 0, **{"num_levels": 200, "num_threads": 0, **options})


def sticky_actions(rng, last):
    return np.where(rng.random(len(last)) < 0.7, last, rng.integers(0, 15, len(last)))


def changed_without(canvas, frame, state, items):
    """Return the pixels that change when entities are not drawn, because their opacity is 0."""
    edited = bytearray(state)
    entities(edited)["alpha"][[item.index for item in items]] = 0
    return (canvas.set_state([bytes(edited)])[0] != frame).any(axis=-1)


def around(visible):
    """Return the pixels up to three away from the box of what is visible."""
    rows, columns = np.nonzero(visible)
    near = np.zeros_like(visible)
    near[max(rows.min() - 3, 0) : rows.max() + 4, max(columns.min() - 3, 0) : columns.max() + 4] = True
    return near


@pytest.mark.parametrize(("game", "boxes_below"), [("coinrun", 0.95), ("bossfight", 0.6), ("starpilot", 0.65)])
def test_silhouettes_are_what_hiding_an_entity_changes(game, boxes_below):
    boxes, silhouettes = make(game, 3), make(game, 3, segmentation="silhouette")
    canvas, rng = make(game, 1, segmentation=None), np.random.default_rng(0)
    actions, scores = np.zeros(3, dtype=int), []
    boxes.reset()
    silhouettes.reset()
    for step in range(75):
        actions = sticky_actions(rng, actions)
        frames = boxes.step(actions)[0]
        silhouettes.step(actions)
        if step % 15 < 14:
            continue
        maps = [env.segmentation() for env in (boxes, silhouettes)]
        for index, (state, found) in enumerate(zip(boxes.get_state(), boxes.objects(), strict=True)):
            drawn = [item for item in found if not item.is_cell]
            for name in sorted({item.class_name for item in drawn}):
                items = [item for item in drawn if item.class_name == name]
                of_class = changed_without(canvas, frames[index], state, items)
                for item in items[:4]:
                    visible = changed_without(canvas, frames[index], state, [item])
                    if visible.sum() >= 6:
                        counted = around(visible) & (visible | ~of_class)
                        shown = [(labels[index] == boxes.spec.names.index(name)) & counted for labels in maps]
                        scores.append([(one & visible).sum() / (one | visible).sum() for one in shown])
    assert len(scores) > 20
    box_score, silhouette_score = np.mean(scores, axis=0)
    assert silhouette_score > 0.93
    assert box_score < boxes_below


def check_labels_are_what_is_drawn(env, frames):
    """Without backgrounds, what is not black is an object, in games whose sprites have no black pixels."""
    labeled = env.segmentation() > 0
    assert not ((frames > 40).any(axis=-1) & ~labeled).any()
    assert not (labeled & (frames == 0).all(axis=-1)).any()


@pytest.mark.parametrize("game", ["leaper", "starpilot", "caveflyer"])
def test_labels_are_the_drawn_pixels_across_episode_ends_and_new_states(game):
    env = make(game, 8, use_backgrounds=False, segmentation="silhouette")
    rng, actions = np.random.default_rng(1), np.zeros(8, dtype=int)
    ends, states = 0, []
    env.reset()
    for step in range(160):
        actions = sticky_actions(rng, actions)
        frames, _, dones, _ = env.step(actions)
        ends += int(dones.sum())
        if dones.any() or step % 20 == 0:
            check_labels_are_what_is_drawn(env, frames)
        if step == 60:
            states = env.get_state()
    check_labels_are_what_is_drawn(env, env.set_state(states))
    assert ends >= 3
    assert env.num_mask_resyncs == 0


@pytest.mark.parametrize("game", ["bigfish", "fruitbot", "heist"])
def test_twins_stay_in_step_and_backgrounds_do_not_matter(game):
    """The whole state is compared every 64 steps; the same game without backgrounds has the same silhouettes."""
    env, plain = (make(game, 3, use_backgrounds=shown, segmentation="silhouette") for shown in (True, False))
    rng, actions = np.random.default_rng(2), np.zeros(3, dtype=int)
    frames = [env.reset(), plain.reset()]
    for _ in range(200):
        actions = sticky_actions(rng, actions)
        frames = [one.step(actions)[0] for one in (env, plain)]
        np.testing.assert_array_equal(env.segmentation(), plain.segmentation())
    assert (frames[0] != frames[1]).any()
    assert env.num_mask_resyncs == plain.num_mask_resyncs == 0


def test_a_divergence_of_the_sprites_is_found_and_healed():
    env, sound = (make("coinrun", 2, segmentation="silhouette") for _ in range(2))
    env.reset()
    sound.reset()
    sprites = env._mask_renderer._sprites._painter
    sprites.set_state(0, sprites.get_state(1))
    rng = np.random.default_rng(0)
    wrong_before, steps = False, 0
    while env.num_mask_resyncs == 0 and steps < 400:
        actions = rng.integers(0, 15, 2)
        env.step(actions)
        sound.step(actions)
        steps += 1
        wrong_before |= env.num_mask_resyncs == 0 and not np.array_equal(env.segmentation(), sound.segmentation())
    assert wrong_before, "the tampered state was not tampered enough for this test"
    assert env.num_mask_resyncs == 1
    for _ in range(20):
        np.testing.assert_array_equal(env.segmentation(), sound.segmentation())
        actions = rng.integers(0, 15, 2)
        env.step(actions)
        sound.step(actions)


@pytest.mark.parametrize("segmentation", ["box", "silhouette"])
def test_large_pictures_do_not_pass_for_a_divergence(segmentation):
    """Drawing 512 x 512 pixels leaves its scale in the state, which has no part in the game."""
    env = make("maze", 1, render_mode="rgb_array", segmentation=segmentation)
    env.reset()
    for step in range(70):
        env.step(np.array([step % 9]))
    assert env.num_mask_resyncs == 0


def test_states_bring_silhouettes_back_and_flat_states_are_refused():
    env = make("starpilot", 2, segmentation="silhouette")
    env.reset()
    for _ in range(40):
        env.step(np.array([9, 7]))
    states, before = env.get_state(), env.segmentation()
    for _ in range(10):
        env.step(np.array([9, 7]))
    assert (env.segmentation() != before).any()
    env.set_state(states)
    np.testing.assert_array_equal(env.segmentation(), before)
    flat = bytearray(states[1])
    set_options(flat, use_monochrome_assets=True)
    with pytest.raises(ValueError, match="state 1 has use_monochrome_assets=True"):
        env.set_state([states[0], bytes(flat)])


def test_without_sprites_silhouettes_are_boxes():
    options = {"use_monochrome_assets": True, "paint_vel_info": True}
    boxes, silhouettes = (make("coinrun", 2, segmentation=kind, **options) for kind in ("box", "silhouette"))
    for env in (boxes, silhouettes):
        env.reset()
    np.testing.assert_array_equal(boxes.segmentation(), silhouettes.segmentation())


def test_every_way_to_make_them_and_the_corner_of_the_velocity():
    register()
    env = make_vec("procgen/coinrun", 2, 0, segmentation="silhouette", paint_vel_info=True, num_threads=0)
    env.reset()
    labels = env.segmentation()
    assert not labels[:, :13, :26].any()
    assert labels[:, 13:].any()
    single = gymnasium.make("camal_rl/procgen-maze-v0", segmentation="silhouette", num_levels=200)
    with_boxes = gymnasium.make("camal_rl/procgen-maze-v0", num_levels=200)
    silhouette, box = (one.reset(seed=3)[1]["segmentation"] for one in (single, with_boxes))
    agent = GAMES["maze"].names.index("agent")
    assert 0 < (silhouette == agent).sum() < (box == agent).sum()
    with pytest.raises(ValueError, match="'box', 'silhouette' or None"):
        make("maze", 1, segmentation="outline")


@pytest.mark.parametrize("game", sorted(SPRITES))
def test_sprites_exist_and_sprites_of_several_classes_are_declared_alike(game):
    package = importlib.util.find_spec(MODULE).submodule_search_locations[0]
    assets = Path(package) / "data" / "assets"
    files = [path.relative_to(assets).as_posix() for path in assets.rglob("*.png")]
    shown = {}
    for name, patterns in SPRITES[game].files.items():
        for pattern in patterns:
            found = fnmatch.filter(files, pattern)
            assert found, f"{name}: nothing matches {pattern}"
            for file in found:
                shown.setdefault(file, set()).add(name)
    for file, names in shown.items():
        assert len({SPRITES[game].files[name] for name in names}) == 1, f"{file}: {names}"
    without = {"orb", "compass", "jump_charge", "display", "enemy"} | set(GAMES[game].edges.values())
    assert set(GAMES[game].names[1:]) - without <= set(SPRITES[game].files) <= set(GAMES[game].names)


def draw(game, flat_rows, sprite_rows):
    """Paint two renders of 8 rows from rows of colors and return the names of the labels of their first 8 columns."""
    renders = [np.zeros((1, 8, 64, 3), dtype=np.uint8) for _ in range(2)]
    for render, rows in zip(renders, (flat_rows, sprite_rows), strict=True):
        for place, color in rows:
            render[0][place] = color
    labels = SilhouettePainter(game)(*renders)[0, :, :8]
    return [[GAMES[game].names[label] for label in row] for row in labels]


def test_a_sprite_decides_inside_and_outside_its_box():
    # Starpilot's codes, in the order of its table: 24 for the agent, 48 player_bullet, 72 enemy_bullet, 96 flyer.
    agent, flyer = (24, 0, 0), (96, 0, 0)
    box = np.s_[2:6, 2:6]
    names = draw("starpilot", [(box, flat_color(0))], [(np.s_[3:5, 1:4], agent), (np.s_[3:5, 4], flyer)])
    assert names[3] == ["background", "agent", "agent", "agent", "flyer", "background", "background", "background"]
    assert names[2] == ["background"] * 8


def test_one_sprite_of_two_classes_takes_the_class_of_its_own_or_the_nearest_box():
    # Heist's keys in the world and on the ring share a sprite: code 3 after the agent and the locked door.
    key_box, ring_box = (np.s_[0:2, 0:2], flat_color(2)), (np.s_[6:8, 6:8], flat_color(11))
    names = draw("heist", [key_box, ring_box], [(np.s_[0, 0:3], (72, 0, 0)), (np.s_[7, 5:8], (72, 0, 0))])
    assert names[0][:4] == ["key", "key", "key", "background"]
    assert names[7][4:] == ["background", "held_key", "held_key", "held_key"]


def test_translucent_sprites_displays_and_veils_are_told_apart():
    # Jumper: a trail at half opacity over a wall (code 4), the compass, and white at 120 of 255 over the agent (24).
    trail_over_wall, compass = (48, 0, 128), (168, 166, 158)
    veiled_agent = (120 + round(24 * 135 / 255), 120, 120)
    flat = [(np.s_[0, 0:2], flat_color(59)), (np.s_[2, 0:2], compass), (np.s_[4, 0:4], flat_color(0))]
    sprites = [(np.s_[0, 0:3], trail_over_wall), (np.s_[2, 0:2], compass), (np.s_[4, 1:3], veiled_agent)]
    names = draw("jumper", flat, sprites)
    assert names[0][:4] == ["trail", "trail", "trail", "background"]
    assert names[2][:3] == ["compass", "compass", "background"]
    assert names[4][:4] == ["background", "agent", "agent", "background"]


def test_terrain_behind_a_box_is_terrain_and_keeps_its_edge():
    # Maze: the agent's box (code 1) lies over walls (code 3), its sprite covers one pixel.
    wall, agent = (72, 0, 0), (24, 0, 0)
    everywhere = np.s_[:, :]
    flat = [(everywhere, flat_color(51)), (np.s_[0:6, 0:6], flat_color(0))]
    names = draw("maze", flat, [(everywhere, wall), (np.s_[0, 0], agent)])
    assert names[0][:4] == ["agent", "wall_edge", "wall_edge", "wall"]
    assert names[7] == ["wall"] * 8
    boxes = LabelPainter(GAMES["maze"]).boxes(np.full((1, 8, 8, 3), flat_color(51), dtype=np.uint8))
    assert (boxes == GAMES["maze"].names.index("wall")).all()


KILLED = """
import os, signal
from camal_rl.envs import make_vec

for game in ("coinrun", "coinrun", "maze"):
    venv = make_vec(f"procgen/{game}", 1, 0, segmentation="silhouette")
    venv.reset()
    venv.segmentation()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_no_sprites_and_those_that_were_left_are_removed(tmp_path):
    left, foreign = tmp_path / "camal_rl-procgen-left", tmp_path / "foreign"
    left.joinpath("assets").mkdir(parents=True)
    foreign.mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", KILLED], env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(tmp_path.iterdir()) == [foreign]


def test_sprites_that_another_process_is_loading_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with sprite_pack._locked_folder() as folder:
        sprite_pack._remove_leftovers()
        assert folder.is_dir()
    assert not list(tmp_path.iterdir())
