"""Crafter's label maps against Crafter's own map and its own pictures of worlds that were changed."""

import importlib.util
import os

import numpy as np
import pytest

from camal_rl.envs import crafter, make_vec
from camal_rl.envs.crafter.classes import NAMES, OBJECTS
from camal_rl.envs.crafter.scene import Scene

if importlib.util.find_spec("crafter") is None and "CI" not in os.environ:
    pytest.skip("Crafter is not installed", allow_module_level=True)

from crafter import constants, engine, objects

from camal_rl.envs.crafter.painter import Painter
from tests.envs.crafter_itself import crafter_env, picture, put

INVENTORY = NAMES.index("inventory")
KINDS = {
    "cow": objects.Cow, "zombie": objects.Zombie, "skeleton": objects.Skeleton, "arrow": objects.Arrow,
    "plant": objects.Plant,
}  # fmt: skip


class Seen:
    """What our painter makes of a game of Crafter's own."""

    def __init__(self, env, tile, boxes=False):
        self.env, self.painter, self.size = env, Painter(tile, "crafter", boxes), int(env._size[0])

    @property
    def scene(self):
        state = self.env._world.random.get_state()
        dark = self.env._world.daylight < 0.5
        self.world, self.player = self.env._world, self.env._player
        tile = self.size // 9
        self.noise = self.env._world.random.uniform(32, 127, (9 * tile, 7 * tile)) if dark else None
        self.env._world.random.set_state(state)
        return Scene.of(self)

    def labels(self):
        return self.painter.label(self.scene, self.size)

    def picture(self):
        return self.painter.paint(self.scene, self.size)


@pytest.fixture
def seen(monkeypatch):
    env = crafter_env(4, monkeypatch)
    env.reset()
    return Seen(env, 7)


def semantic(env):
    """Return Crafter's own map of the 9x7 cells around the player, rows first; 0 beyond the world's end."""
    padded = np.pad(env._sem_view(), 9)
    x, y = env._player.pos + 9
    return padded[x - 4 : x + 5, y - 3 : y + 4].T


def test_boxes_are_crafters_own_semantic_map_tile_by_tile(monkeypatch):
    """Its ids are ours: materials from 1 on, then objects in the same order."""
    env = crafter_env(4, monkeypatch)
    env.reset()
    seen, rng, kinds = Seen(env, 7, boxes=True), np.random.default_rng(0), set()
    for step in range(160):
        if step % 40 == 20:
            for column, kind in enumerate(KINDS.values()):
                put(env, kind, (column * 2, 1))
        _, _, done, info = env.step(int(rng.integers(1, 6)))
        world = seen.labels()[:49, :63]
        np.testing.assert_array_equal(world, np.kron(semantic(env), np.ones((7, 7), np.uint8)))
        kinds |= set(np.unique(world).tolist())
        assert np.array_equal(info["semantic"], env._sem_view())
        if done:
            env.reset()
    assert kinds >= {NAMES.index(name) for name in ("grass", "tree", *OBJECTS)}


def test_beyond_the_end_of_the_world_is_background(seen):
    for corner in ((0, 0), (63, 63), (0, 63), (2, 30)):
        seen.env._world._obj_map[tuple(seen.env._player.pos)] = 0
        seen.env._player.pos = np.array(corner)
        seen.env._world._obj_map[corner] = 1
        np.testing.assert_array_equal(seen.picture(), picture(seen.env))
        boxes = Seen(seen.env, 7, boxes=True).labels()[:49, :63]
        np.testing.assert_array_equal(boxes, np.kron(semantic(seen.env), np.ones((7, 7), np.uint8)))
        assert (seen.picture()[:49, :63][boxes == 0] < 130).all()


@pytest.mark.parametrize("daylight", [1.0, 0.7, 0.3, 0.0])
@pytest.mark.parametrize("size", [64, 90])
def test_silhouettes_lie_on_what_vanishes_with_the_object(daylight, size, monkeypatch):
    """Take each object out of Crafter's world: what changes in its picture by day has the label, at night as by day."""
    env = crafter_env(4, monkeypatch, size=(size, size))
    env.reset()
    things = [put(env, kind, (1 + 2 * (index % 4), index // 4 * 6)) for index, kind in enumerate(KINDS.values())]
    things += [put(env, objects.Plant, (5, 1), grown=400)]
    seen = Seen(env, size // 9)
    env._world.daylight = daylight
    labels, bright, dark = seen.labels(), picture(env, daylight=1.0), picture(env)
    np.testing.assert_array_equal(seen.picture(), dark)
    changed_total, labeled_total = 0, 0
    for thing in [*things, env._player]:
        index = env._world._obj_map[tuple(thing.pos)]
        cell = np.zeros((9, 9), bool)
        cell[tuple((thing.pos - env._player.pos + (4, 3))[::-1])] = True
        side = size // 9 * 9
        start = (size - side) // 2
        tile = np.pad(np.kron(cell, np.ones((size // 9, size // 9), bool)), (start, size - side - start))
        labeled = (labels == NAMES.index(type(thing).__name__.lower())) & tile
        env._world._objects[index] = None
        changed = (picture(env, daylight=1.0) != bright).any(axis=2)
        changed_at_night = (picture(env) != dark).any(axis=2)
        env._world._objects[index] = thing
        assert labeled.any()
        assert not (changed & ~labeled).any()
        assert not (changed_at_night & ~labeled).any()
        changed_total, labeled_total = changed_total + changed.sum(), labeled_total + labeled.sum()
    assert changed_total / labeled_total > 0.98


def test_what_a_sprite_does_not_paint_keeps_the_label_of_the_ground(seen):
    env = seen.env
    for kind, ground in ((objects.Cow, "grass"), (objects.Zombie, "sand"), (objects.Skeleton, "path")):
        put(env, kind, (2, 2), ground)
        labels = seen.labels()[14:21, 14:21]
        expected = {NAMES.index(ground), NAMES.index(kind.__name__.lower())}
        assert set(np.unique(labels).tolist()) == expected
        put(env, None, (2, 2))


def test_a_label_moves_with_its_object(seen):
    cow = put(seen.env, objects.Cow, (2, 2))
    put(seen.env, None, (3, 2))
    before = seen.labels()
    seen.env._world.move(cow, cow.pos + np.array((1, 0)))
    after = seen.labels()
    np.testing.assert_array_equal(before[14:21, 14:21], after[14:21, 21:28])
    assert (after[14:21, 14:21] == NAMES.index("grass")).all()
    moved = before != after
    moved[14:21, 14:28] = False
    assert not moved.any()


def test_the_inventory_is_labeled_where_items_and_numbers_are_painted(seen):
    inventory = seen.env._player.inventory
    inventory.update(dict.fromkeys(inventory, 0))
    empty = picture(seen.env, daylight=1.0)
    assert not (seen.labels() == INVENTORY).any()
    total = 0
    for name in constants.items:
        for amount in (1, 9):
            inventory[name] = amount
            changed = (picture(seen.env, daylight=1.0) != empty).any(axis=2)
            labeled = seen.labels() == INVENTORY
            assert not (changed & ~labeled).any()
            # What is painted black on black does not change.
            assert (picture(seen.env, daylight=1.0)[labeled & ~changed] == 0).all()
            assert changed[49:].sum() == changed.sum() > 0
            total += labeled.sum()
        inventory[name] = 0
    assert total > 300
    inventory["wood"] = 1
    boxes = Seen(seen.env, 7, boxes=True).labels() == INVENTORY
    assert boxes.sum() == 49


def test_the_textures_paint_wholly_or_not_at_all_but_for_shadows():
    textures = engine.Textures(constants.root / "assets")
    for name in ("cow", "zombie", "skeleton", "arrow-left", "player-down", "player-sleep", "plant"):
        assert textures.get(name, (16, 16)).shape[2] == 4, name


@pytest.mark.parametrize(("num_envs", "subproc"), [(2, False), (1, True)])
def test_masks_belong_to_the_observations_across_resets(num_envs, subproc, monkeypatch):
    given = {"segmentation": "box", "num_levels": 3, "subproc": subproc, "length": 25}
    env = make_vec("crafter/Reward", num_envs, 5, **given)
    games = {}

    def start(index, info):
        games[index] = crafter_env(info["level_seed"], monkeypatch, length=25)
        return games[index].reset()

    observations, rng, ends = env.reset(), np.random.default_rng(0), 0
    own = [start(index, info) for index, info in enumerate(env.reset_infos)]
    for _ in range(60):
        np.testing.assert_array_equal(observations, own)
        for index, labels in enumerate(env.segmentation()):
            expected = np.kron(semantic(games[index]), np.ones((7, 7), np.uint8))
            np.testing.assert_array_equal(labels[:49, :63], expected)
        actions = rng.integers(0, 17, num_envs)
        observations, _, dones, infos = env.step(actions)
        own = [games[index].step(int(action))[0] for index, action in enumerate(actions)]
        for index in np.flatnonzero(dones):
            np.testing.assert_array_equal(infos[index]["terminal_observation"], own[index])
            assert infos[index]["TimeLimit.truncated"]
            own[index] = start(index, env.reset_infos[index])
            ends += 1
    env.close()
    assert ends >= 2 * num_envs


def test_masks_can_be_switched_off():
    env = make_vec("crafter/Reward", 1, 0, segmentation=None)
    env.reset()
    assert not env.has_segmentation
    _, info = crafter.make_env("Reward", segmentation=None).reset()
    assert "segmentation" not in info


def test_the_other_theme_has_the_same_masks_and_every_texture_is_another():
    usual, other = (make_vec("crafter/Reward", 2, 0, theme=theme) for theme in ("crafter", "recolored"))
    first, second = usual.reset(), other.reset()
    np.testing.assert_array_equal(usual.segmentation(), other.segmentation())
    for label in np.unique(usual.segmentation()):
        if label:
            where = usual.segmentation() == label
            assert (first[where] != second[where]).any(axis=1).mean() > 0.5, NAMES[label]


def test_materials_and_creatures_that_differ_still_differ_in_the_other_theme():
    painter = Painter(16, "recolored", False)
    tiles = [tile.tobytes() for tile in painter._ground]
    assert len(set(tiles)) == len(tiles) == 13
