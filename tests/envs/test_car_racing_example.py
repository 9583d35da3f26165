"""The documented example of a simulator of one's own: CarRacing with label maps."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from camal_rl.agents import CAMALPPO, CamalConfig
from camal_rl.envs import check_segmented_env, make_segmented_vec
from tests.docs.pages import blocks

if importlib.util.find_spec("Box2D") is None and "CI" not in os.environ:
    pytest.skip("Box2D is not installed", allow_module_level=True)

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
DOCS = Path(__file__).parents[2] / "docs"
SOURCE = DOCS / "examples" / "car_racing.py"
GRASS, ROAD, KERB, CAR, DASHBOARD = range(5)
GAS = np.int64(3)


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("car_racing_example", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def near(frame, color, tolerance):
    return np.abs(frame.astype(int) - np.asarray(color).astype(int)).max(axis=-1) <= tolerance


def driven(env, steps):
    """Drive, mostly straight on, and give every frame with its label map."""
    yield env.reset(seed=1)
    for step in range(steps):
        observation, _, _, _, info = env.step(np.int64((step // 15) % 3) if step % 3 == 0 else GAS)
        yield observation, info


def test_the_example_is_short():
    assert len(SOURCE.read_text().splitlines()) < 80


@pytest.mark.parametrize("randomize", [False, True])
def test_label_maps_lie_on_the_colors_of_the_frame(example, randomize):
    env = example.make_env(domain_randomize=randomize)
    hits = {GRASS: 0, ROAD: 0}
    pixels = {GRASS: 0, ROAD: 0}
    for observation, info in driven(env, 75):
        game, labels = env.unwrapped, info["segmentation"]
        assert (labels.dtype, labels.shape) == (np.uint8, (96, 96))
        assert np.array_equal(labels == DASHBOARD, np.arange(96)[:, None].repeat(96, axis=1) >= 84)
        frame, labels = observation[:84], labels[:84]
        field = near(frame, game.bg_color, 3) | near(frame, game.grass_color, 3)
        road = near(frame, game.road_color + 2.55, 6)
        for label, seen, other in ((GRASS, field, road), (ROAD, road, field)):
            seen = seen & ~other
            hits[label] += int((labels[seen] == label).sum())
            pixels[label] += int(seen.sum())
    assert min(pixels.values()) > 40_000
    assert all(hits[label] / pixels[label] > 0.999 for label in hits)


def before_the_first_kerb(example):
    """Put a new car a few tiles before the first kerb of a track, with the camera as after the first second."""
    env = example.make_env(3, 1)
    env.reset()
    game = env.unwrapped
    kerbs = [tuple(color) in ((255, 255, 255), (255, 0, 0)) for _, color in game.road_poly]
    game.car.destroy()
    game.car = type(game.car)(game.world, *game.track[kerbs.index(True) - 5][1:4])
    game.t = 1.0
    return env


def test_kerbs_and_car_lie_on_their_colors(example):
    env = before_the_first_kerb(example)
    hits, pixels = {KERB: 0, CAR: 0}, {KERB: 0, CAR: 0}
    for _ in range(30):
        observation, _, _, _, info = env.step(GAS)
        frame, labels = observation[:84].astype(int), info["segmentation"][:84]
        red, green, blue = np.moveaxis(frame, -1, 0)
        # Nothing else is white or red, but the car's hull, which is a darker red.
        for label, seen in ((KERB, (red > 230) & (green == blue)), (CAR, near(frame, (204, 0, 0), 20))):
            hits[label] += int((labels[seen] == label).sum())
            pixels[label] += int(seen.sum())
    assert min(pixels.values()) > 200
    assert all(hits[label] / pixels[label] > 0.99 for label in hits)


def test_the_checker_finds_no_mistake(example):
    with pytest.warns(UserWarning, match="never visible: car"):  # From afar, in the first frames of an episode.
        check_segmented_env(example.make_env(), steps=20)


def test_it_trains_and_a_held_out_appearance_differs_in_color(example):
    env = make_segmented_vec(example.make_env, num_envs=2, seed=0)
    model = CAMALPPO(
        "CamPolicy",
        env,
        camal=CamalConfig(weight=0.3),
        n_steps=4,
        batch_size=8,
        n_epochs=1,
        policy_kwargs={"encoder": "compact"},
    )
    model.learn(8)
    maps = model.policy.attention(env.reset())
    assert {name: tuple(cam.shape) for name, cam in maps.items()} == {"value": (2, 24, 24), "policy": (2, 24, 24)}
    assert env.spec.relevant == ("road", "kerb", "car")
    colors = [example.make_env(domain_randomize=randomize) for randomize in (False, True, True)]
    roads = []
    for seed, each in enumerate(colors):
        each.reset(seed=seed)
        roads.append(tuple(each.unwrapped.road_color))
    assert len(set(roads)) == 3


def test_the_snippets_of_the_page_give_what_they_say(tmp_path, monkeypatch):
    assert SOURCE.relative_to(DOCS).as_posix() in DOCS.joinpath("own_environment.md").read_text()
    snippets = [block for block in blocks("docs/own_environment.md") if block.language == "python"]
    for snippet in snippets:
        tmp_path.joinpath(snippet.file_name).write_text(snippet.text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names = {}
    for snippet in snippets:
        exec(snippet.text.replace("learn(20_000)", "learn(512)"), names)
    assert len(snippets) == 6
    assert names["model"].num_timesteps == 512
    assert {name: cam.shape for name, cam in names["maps"].items()} == {"value": (8, 8, 8), "policy": (8, 8, 8)}
    assert tmp_path.joinpath("sheet.png").exists()
    asked = names["asked"]
    coin = next(item for item in asked.interventions() if item.class_name == "coin")
    assert asked.counterfactual(coin).changed.sum(axis=(1, 2)).tolist() == [16] * 8
