"""The page of an episode: what is in it is exact, and a browser shows it without asking anybody."""

import base64
import json
import re
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from camal_rl.envs import find_counterfactual, make_vec
from camal_rl.overlays import class_colors, enlarged, heatmap_overlay, to_grayscale
from camal_rl.rl.explain import explanation as explanation_module
from camal_rl.rl.explain.episode import Recording, record_episode
from camal_rl.rl.explain.episode_page import Labels, PageText, write_episode_page
from camal_rl.rl.explain.what_if import Witness
from camal_rl.rl.model_file import load_model
from camal_rl.rl.policy_outputs import PolicyOutputs, policy_outputs
from tests.command_line import run_main

ACTIONS = ("up", "right", "down", "left")


@pytest.fixture(scope="module")
def episode(trained):
    """Return an episode of the toy grid with everything that is known of it."""
    model, venv = load_model(trained), make_vec("toy_grid/default", 1, 3)
    witness = Witness(venv, with_labels=True)
    recording = record_episode(model, venv, False, 3, 4, on_frame=witness)
    outputs = policy_outputs(model.policy, recording.frames, None, recording.actions)
    labels = Labels(np.stack(witness.labels), venv.spec.names, venv.spec.relevant_lookup())
    return recording, outputs, labels, witness.redrawn(model.policy, recording.actions)


@pytest.fixture(scope="module")
def page(episode, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "new" / "episode.html"
    write_episode_page(path, *episode, PageText("</script><b>title", "the maps", ACTIONS, ["a note"]))
    return path


def data_of(path):
    return json.loads(re.search(r'type="application/json">(.*?)</script>', path.read_text()).group(1))


def png(text):
    return cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED)


def image_of(data, step, intervention=None):
    """Return the frame of a step, as it was or redrawn."""
    image = png(data["frames"][step])
    if intervention is not None:
        piece = intervention["pieces"][intervention["places"][step]]
        patch = png(piece["png"])
        image[piece["y"] : piece["y"] + patch.shape[0], piece["x"] : piece["x"] + patch.shape[1]] = patch
    return image[..., ::-1]


def test_the_page_holds_frames_labels_maps_and_answers_exactly(episode, page):
    recording, outputs, labels, _ = episode
    data = data_of(page)
    assert (data["taken"], data["actions"], data["ended"]) == (
        recording.actions.tolist(),
        list(ACTIONS),
        recording.ended,
    )
    np.testing.assert_array_equal([image_of(data, step) for step in range(4)], recording.frames)
    np.testing.assert_array_equal([png(each) for each in data["labels"]], labels.maps)
    np.testing.assert_allclose(data["returns"], recording.returns, atol=1e-4)
    np.testing.assert_allclose(data["answers"]["scores"], outputs.probabilities, atol=1e-4)
    for name, maps in outputs.maps.items():
        shown = np.frombuffer(base64.b64decode(data["answers"]["maps"][name]), np.uint8).reshape(maps.shape)
        np.testing.assert_allclose(shown / 255, maps, atol=1 / 255)
    relevant = {each["name"] for each in data["classes"] if each["relevant"]}
    assert {"agent", "goal"} <= relevant <= {"agent", "goal", "hazard", "wall"}
    assert data["classes"][-1]["name"] == "background"


def test_redrawn_frames_are_the_simulators_and_the_answers_those_of_the_policy(trained, page):
    model, venv = load_model(trained), make_vec("toy_grid/default", 1, 3)
    simulator, data = find_counterfactual(venv), data_of(page)
    compared = []

    def compare(step):
        for intervention in simulator.interventions():
            told = {each["name"]: each for each in data["interventions"]}.get(intervention.name.replace("_", " "))
            drawn = simulator.counterfactual(intervention)
            assert drawn.applies[0] == (told is not None and told["places"][step] >= 0)
            if drawn.applies[0]:
                np.testing.assert_array_equal(image_of(data, step, told), drawn.images[0])
                compared.append((told, step, drawn.images))

    record_episode(model, venv, False, 3, 4, on_frame=compare)
    assert len(compared) > 12
    for told, step, images in compared:
        place = told["places"][step]
        found = policy_outputs(model.policy, images)
        np.testing.assert_allclose(told["answers"]["values"][place], found.values[0], atol=2e-3)
        np.testing.assert_allclose(told["answers"]["scores"][place], found.probabilities[0], atol=2e-3)


def test_asking_the_simulator_leaves_the_episode_as_it_would_have_been(trained, episode):
    model = load_model(trained)
    alone = record_episode(model, make_vec("toy_grid/default", 1, 3), False, 3, 4)
    np.testing.assert_array_equal(alone.frames, episode[0].frames)
    np.testing.assert_array_equal(alone.actions, episode[0].actions)


def test_a_redrawn_frame_that_looks_the_same_to_the_agent_is_shown_as_it_is(tmp_path, episode):
    recording, outputs, labels, redrawn = episode
    same = replace(redrawn[0], images=recording.frames[redrawn[0].steps])
    write_episode_page(tmp_path / "a.html", recording, outputs, labels, [same], PageText("t", "m", ACTIONS))
    data = data_of(tmp_path / "a.html")
    (told,) = data["interventions"]
    for step in same.steps:
        np.testing.assert_array_equal(image_of(data, step, told), recording.frames[step])


def test_numbers_that_json_has_no_sign_for_are_told_as_not_finite(tmp_path):
    recording = Recording(np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 1]), np.array([0.0, np.inf]), True)
    maps = np.stack([np.full((2, 2), np.nan), np.ones((2, 2))]).astype(np.float32)
    q_values = np.array([[np.nan, -1.0], [3.0, 1.0]], np.float32)
    outputs = PolicyOutputs(np.array([np.nan, 3.0], np.float32), None, recording.actions, {"q": maps}, q_values)
    text = PageText("t", "m", ("a", "b"))
    write_episode_page(tmp_path / "a.html", recording, outputs, None, [], text)
    data = data_of(tmp_path / "a.html")
    assert data["answers"]["values"] == [None, 3.0]
    assert data["answers"]["scores"] == [[None, -1.0], [3.0, 1.0]]
    assert data["answers"]["shares"] == [[0.25, 0.0], [1.0, 0.5]]
    assert data["answers"]["prefers"] == ["b", "a"]
    assert data["returns"] == [0.0, None]
    assert data["answers"]["undefined"] == {"q": [0]}
    assert base64.b64decode(data["answers"]["maps"]["q"]) == bytes([0, 0, 0, 0, 255, 255, 255, 255])
    assert (data["labels"], data["classes"], data["interventions"]) == (None, None, [])
    assert data["map_titles"] == {"q": "Q map: action taken"}


def test_what_does_not_belong_together_is_refused(tmp_path, episode):
    recording, outputs, labels, redrawn = episode
    text = PageText("t", "m", ACTIONS)
    cut = Labels(labels.maps[:2], labels.names, labels.relevant)
    with pytest.raises(ValueError, match="expected 4 label maps, one for each frame, got 2"):
        write_episode_page(tmp_path / "a.html", recording, outputs, cut, redrawn, text)
    with pytest.raises(ValueError, match="expected 4 action names, got 1"):
        write_episode_page(tmp_path / "a.html", recording, outputs, labels, redrawn, PageText("t", "m", ("up",)))
    other = Recording(recording.frames, (recording.actions + 1) % 4, recording.rewards, True)
    with pytest.raises(ValueError, match="actions that were taken"):
        write_episode_page(tmp_path / "a.html", other, outputs, labels, redrawn, text)
    assert list(tmp_path.iterdir()) == []


def test_a_simulator_without_masks_and_a_long_episode_are_told_on_the_page(tmp_path, trained, maskless, monkeypatch):
    monkeypatch.setattr(explanation_module, "PAGE_STEPS", 1)
    arguments = ("--no-video", "--frames", "1", "--out", str(tmp_path), "--set", "train")
    assert run_main("explain", str(trained.path), *arguments) == 0
    page = (tmp_path / "episode-train.html").read_text()
    assert "No segmentation: this simulator gives no masks." in page
    assert "The first 1 steps of a longer episode." in page
    assert len(data_of(tmp_path / "episode-train.html")["frames"]) == 1


@pytest.fixture(scope="module")
def browser():
    """Return headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def opened(browser, page):
    """Return the page in a tab, with the requests that it makes and the errors of its script."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.requests, tab.errors = [], []
    tab.on("request", lambda request: tab.requests.append(request.url))
    tab.on("pageerror", lambda error: tab.errors.append(str(error)))
    tab.on("console", lambda message: tab.errors.append(message.text) if message.type == "error" else None)
    tab.goto(page.as_uri())
    yield tab
    assert tab.errors == []
    assert [url for url in tab.requests if not url.startswith("data:")] == [page.as_uri()]
    tab.close()


def shown(tab):
    """Return the picture that the tab shows, ``uint8 (H, W, 3)``, once it is complete."""
    tab.wait_for_function("() => (({wanted, drawn}) => wanted === drawn)(document.getElementById('stage').dataset)")
    uri = tab.evaluate("document.getElementById('stage').toDataURL()")
    return png(uri.partition(",")[2])[..., 2::-1]


def test_the_browser_shows_the_frames_that_one_scrubs_to(opened, episode):
    frames = [enlarged(frame, 512) for frame in episode[0].frames]
    np.testing.assert_array_equal(shown(opened), frames[0])
    opened.locator("#step").fill("3")
    np.testing.assert_array_equal(shown(opened), frames[3])
    assert opened.locator("#where").inner_text() == "step 4 of 4"
    opened.locator("#curve").click(position={"x": 1, "y": 5})
    np.testing.assert_array_equal(shown(opened), frames[0])
    assert opened.title() == "</script><b>title"
    assert opened.locator(".note:visible").all_inner_texts() == ["a note"]


def test_the_browser_shows_maps_and_classes_that_are_switched_on(opened, episode):
    recording, outputs, labels, _ = episode
    image = enlarged(recording.frames[0], 512)
    opened.get_by_label("policy map: action taken").check()
    expected = heatmap_overlay(to_grayscale(image), outputs.maps["policy"][0])
    assert np.abs(shown(opened).astype(int) - expected).max() <= 4
    opened.get_by_label("none").check()
    opened.get_by_label("goal *").check()
    goal = enlarged((labels.maps[0] == labels.names.index("goal"))[..., None].repeat(3, 2).astype(np.uint8), 512) > 0
    mixed = 0.35 * image + 0.65 * class_colors()[labels.names.index("goal")]
    assert np.abs(shown(opened) - np.where(goal, mixed, image)).max() <= 2


def test_the_browser_shows_what_the_simulator_redraws_and_what_the_agent_then_decides(opened, page):
    data = data_of(page)
    each = next(each for each in data["interventions"] if each["places"][0] >= 0 and each["kind"] == "remove")
    opened.get_by_label(each["name"], exact=True).check()
    np.testing.assert_array_equal(shown(opened), enlarged(image_of(data, 0, each), 512))
    value, before = each["answers"]["values"][each["places"][0]], data["answers"]["values"][0]
    told = opened.locator("#facts dd").first.inner_text().replace("\N{MINUS SIGN}", "-")
    assert told == f"{value:.2f} ({value - before:+.2f})"
    chosen = opened.locator("#what-if tr.chosen td").nth(1).inner_text().replace("\N{MINUS SIGN}", "-")
    assert chosen == told
    bar = opened.locator("#bars .number").first.inner_text()
    assert bar == f"{each['answers']['scores'][each['places'][0]][0]:.2f}"


def test_everything_can_be_done_by_the_keyboard(opened, episode):
    def state():
        shown(opened)
        return json.loads(opened.locator("#stage").get_attribute("data-drawn"))

    assert state() == [0, None, [], None]
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "1"):
        opened.keyboard.press(key)
    assert state() == [1, "value", [], None]
    opened.keyboard.press("s")
    assert len(state()[2]) == len(np.unique(episode[2].maps))
    for key in ("s", "n", "w", "End"):
        opened.keyboard.press(key)
    assert state()[:3] == [3, None, []]
    assert state()[3] is not None
    opened.keyboard.press("0")
    opened.keyboard.press("Home")
    assert state() == [0, None, [], None]
    opened.keyboard.press(" ")
    opened.wait_for_function("() => document.getElementById('step').value === '3'")
    opened.wait_for_function("() => document.getElementById('play').textContent === 'Play'")
    assert opened.locator("#stage").get_attribute("aria-label").startswith("Frame at step 4 of 4: value ")


def test_a_narrow_screen_needs_no_sideways_scrolling(opened):
    opened.set_viewport_size({"width": 390, "height": 800})
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
