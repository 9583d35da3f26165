"""ViZDoom's masks lie on the objects: oracles that know nothing of the engine's labels buffer."""

import importlib.util
import math
import os
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from camal_rl.envs import SegmentationSpec
from camal_rl.envs.vizdoom import VizdoomEnv, env_names, segmentation_spec
from camal_rl.envs.vizdoom.appearance import HELD_OUT_TEXTURES
from camal_rl.envs.vizdoom.labels import LabelPainter
from camal_rl.envs.vizdoom.options import parse_options
from camal_rl.envs.vizdoom.scenarios import class_of_object

if importlib.util.find_spec("vizdoom") is None and "CI" not in os.environ:
    pytest.skip("ViZDoom is not installed", allow_module_level=True)

FULL_SIZE = [120, 160]
# Flashes, smoke and explosions let the background through.
TRANSLUCENT = ("fireball", "missile", "effect")


def make(scenario, **options):
    env = VizdoomEnv(scenario, parse_options(scenario, {"size": FULL_SIZE, **options}))
    env._game.set_render_decals(False)
    return env


def ids(spec, names):
    return [spec.names.index(name) for name in names if name in spec.names]


def lockstep(environments, steps, seed):
    """Yield what environments of the same level give for the same actions."""
    rng, level, ended = np.random.default_rng(seed), seed, True
    for _ in range(steps):
        if ended:
            level += 1
            yield [env.reset(seed=level) for env in environments]
            ended = False
        else:
            action = np.int64(rng.integers(environments[0].action_space.n))
            frames = [env.step(action) for env in environments]
            ended = frames[0][2] or frames[0][3]
            yield [(frame[0], frame[-1]) for frame in frames]


@pytest.mark.parametrize("scenario", ["Basic", "DefendLine", "HealthGatheringSupreme"])
def test_repainted_walls_leave_exactly_the_objects_as_they_were(scenario):
    """Other walls, floors and ceilings change every pixel but those of objects, single ones by chance excepted."""
    original, repainted = make(scenario), make(scenario, appearance="held_out")
    spec = original.segmentation_spec
    opaque_pixels, blocks_total, blocks_labeled, background, background_changed = 0, 0, 0, 0, 0
    for (image, info), (other, other_info) in lockstep([original, repainted], 60, 0):
        labels, unchanged = info["segmentation"], (image == other).all(axis=-1)
        np.testing.assert_array_equal(labels, other_info["segmentation"])
        opaque = (labels > 0) & ~np.isin(labels, ids(spec, TRANSLUCENT))
        assert unchanged[opaque].all()
        opaque_pixels += opaque.sum()
        blocks = cv2.erode(unchanged.astype(np.uint8), np.ones((3, 3)), borderValue=0) > 0
        blocks_total += blocks.sum()
        blocks_labeled += (labels[blocks] > 0).sum()
        background += (labels == 0).sum()
        background_changed += (~unchanged[labels == 0]).sum()
    original.close()
    repainted.close()
    assert opaque_pixels > 500
    assert blocks_labeled > 0.98 * blocks_total > 0
    assert background_changed > 0.95 * background


def test_positions_in_the_world_are_where_the_classes_are_in_the_picture():
    env = make("HealthGatheringSupreme")
    env._game.set_objects_info_enabled(True)
    names = env.segmentation_spec.names
    hits, total, swapped_hits = 0, 0, 0
    for ((_, info),) in lockstep([env], 150, 3):
        state = env._game.get_state()
        if state is None:
            continue
        drawn = {label.object_id for label in state.labels}
        player = next(each for each in state.objects if each.name == "DoomPlayer")
        facing = np.exp(-1j * math.radians(player.angle))
        for each in state.objects:
            seen = complex(each.position_x - player.position_x, each.position_y - player.position_y) * facing
            if each.id not in drawn or each.name == "DoomPlayer" or abs(seen.imag) > 0.9 * seen.real:
                continue
            # 90 degrees of view: the border is where an object is as far to the side as ahead.
            column = labels_near(info["segmentation"], round(80 - 80 * seen.imag / seen.real))
            kind = "poison" if each.name == "Poison" else "medikit"
            total += 1
            hits += names.index(kind) in column
            swapped_hits += names.index({"poison": "medikit", "medikit": "poison"}[kind]) in column
    env.close()
    assert total > 40
    assert hits >= 0.95 * total
    assert swapped_hits <= 0.2 * total


def labels_near(labels, column):
    return set(labels[:, max(0, column - 1) : column + 2].ravel().tolist())


@pytest.mark.parametrize("scenario", env_names())
def test_every_scenario_shows_known_objects_and_is_repainted(scenario):
    spec = segmentation_spec(scenario)
    environments = [make(scenario, frame_skip=8), make(scenario, appearance="held_out", frame_skip=8)]
    seen, changed = set(), []
    for (image, info), (other, _) in lockstep(environments, 12, 11):
        seen |= set(np.unique(info["segmentation"]).tolist())
        changed.append((image != other).any(axis=-1).mean())
    for env in environments:
        env.close()
    assert max(seen) < len(spec.names)
    assert spec.names.index("other") not in seen
    if scenario != "MyWayHome":
        assert seen & set(ids(spec, spec.relevant))
    assert np.mean(changed) > 0.85


def test_no_texture_is_shown_instead_of_itself_or_where_it_was_before():
    assert not set(HELD_OUT_TEXTURES) & set(HELD_OUT_TEXTURES.values())


def test_objects_have_classes_by_name_and_category():
    assert class_of_object("DoomImp", "Monster") == "imp"
    assert class_of_object("DeadDoomImp", "Gore") == "corpse"
    assert class_of_object("DoomPlayer", "Self") == "self"
    assert class_of_object("DoomPlayer", "Player") == "player"
    assert class_of_object("Cyberdemon", "Monster") == "other"


def test_painting_by_hand():
    """Values are the engine's, per frame; a class that the scenario has no id for is ``other``."""
    spec = SegmentationSpec(("background", "imp", "medikit", "other"), ("imp",))
    labels = [
        SimpleNamespace(value=200, object_name="DoomImp", object_category="Monster"),
        SimpleNamespace(value=40, object_name="Medikit", object_category="Health"),
        SimpleNamespace(value=7, object_name="Demon", object_category="Monster"),
    ]
    buffer = np.array([[200, 0, 40, 40], [0, 0, 40, 200], [7, 7, 99, 0], [7, 200, 0, 0]], dtype=np.uint8)
    full = LabelPainter(spec, (4, 4)).paint(buffer, labels)
    np.testing.assert_array_equal(full, [[1, 0, 2, 2], [0, 0, 2, 1], [3, 3, 0, 0], [3, 1, 0, 0]])
    np.testing.assert_array_equal(LabelPainter(spec, (2, 2)).paint(buffer, labels), [[1, 2], [3, 0]])
