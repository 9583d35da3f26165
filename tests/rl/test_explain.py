import sys

import cv2
import numpy as np
import pytest
from gymnasium import spaces

from camal_rl.agents import CamalConfig
from camal_rl.envs import make_vec
from camal_rl.envs.procgen.libraries import MODULE
from camal_rl.overlays import enlarged, heatmap_overlay, to_grayscale
from camal_rl.rl.action_names import action_names
from camal_rl.rl.explain import explanation as explanation_module
from camal_rl.rl.explain.contact_sheet import SheetText, contact_sheet, write_contact_sheet
from camal_rl.rl.explain.episode import record_episode
from camal_rl.rl.explain.explanation import explain, explanation_settings, prepare_explanation
from camal_rl.rl.frames import FrameSet, sample_frames
from camal_rl.rl.model_file import load_model
from camal_rl.rl.policy_outputs import PolicyOutputs, policy_outputs
from camal_rl.rl.training import prepare, run
from camal_rl.runs.loading import load_config
from camal_rl.runs.run_folder import RunFolder
from tests.agents.fakes import CountingEnv
from tests.command_line import refusal, run_main
from tests.conftest import TINY
from tests.rl.test_episode_video import decoded

TOY = ("up", "right", "down", "left")


@pytest.fixture(scope="module")
def model(trained):
    return load_model(trained)


def test_the_sheet_shows_frames_exactly_and_maps_in_their_columns(tmp_path, model):
    frames = sample_frames(model, make_vec("toy_grid/default", 2, 3), 2, 2, 0)
    outputs = policy_outputs(model.policy, frames.images, CamalConfig())
    names = make_vec("toy_grid/default", 1, 0).spec.names
    write_contact_sheet(tmp_path / "new" / "a.png", frames, outputs, SheetText("title", "maps", TOY, names))
    picture = cv2.imread(str(tmp_path / "new" / "a.png"))[..., ::-1]
    # Margin 16, text 132, four columns of 192 with gaps of 8 between them, margin 16; the head is 76 high.
    assert picture.shape[1] == 16 + 132 + 4 * 192 + 3 * 8 + 16
    for row in range(2):
        top = 76 + row * 200
        image = enlarged(frames.images[row], 192)
        np.testing.assert_array_equal(picture[top : top + 192, 148:340], image)
        value = heatmap_overlay(to_grayscale(image), outputs.maps["value"][row])
        np.testing.assert_array_equal(picture[top : top + 192, 548:740], value)
        policy = heatmap_overlay(to_grayscale(image), outputs.maps["policy"][row])
        np.testing.assert_array_equal(picture[top : top + 192, 748:940], policy)
    # Nothing is cut off: the outermost pixels are white.
    border = np.concatenate(
        [picture[:3].ravel(), picture[-3:].ravel(), picture[:, :3].ravel(), picture[:, -3:].ravel()]
    )
    assert (border == 255).all()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


def test_the_sheet_says_what_the_policy_decides(model):
    frames = sample_frames(model, make_vec("toy_grid/default", 2, 3), 2, 2, 0)
    cams = np.stack([np.zeros((4, 4)), np.full((4, 4), np.nan)]).astype(np.float32)
    probabilities = np.array([[0.1, 0.2, 0.65, 0.05], [0.7, 0.1, 0.1, 0.1]], np.float32)
    maps = {"value": cams, "policy": np.ones((2, 4, 4), np.float32)}
    outputs = PolicyOutputs(np.array([0.5, -1.25], np.float32), probabilities, np.array([2, 0]), maps)
    names = ("background", "agent", "goal", "hazard", "wall", "distractor", "cue")
    figure = contact_sheet(frames, outputs, SheetText("the title", "the maps", TOY, names))
    texts = [text.get_text() for text in figure.texts]
    assert "value 0.50\nprefers down\nwith p = 0.65\nvalue map: all zero" in texts
    assert "value -1.25\nprefers up\nwith p = 0.70\nvalue map: not finite" in texts
    assert {"the title", "the maps", "frame", "segmentation", "value map", "policy map: preferred action"} <= set(texts)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"background", "agent *", "goal *", "cue", "* relevant"} <= set(legend)
    bare = contact_sheet(frames, outputs, SheetText("", "", TOY, None))
    assert "segmentation" not in [text.get_text() for text in bare.texts]
    assert bare.legends == []
    nobody = FrameSet(frames.images[:0], frames.labels[:0], frames.relevant)
    with pytest.raises(ValueError, match="got 0 and 2"):
        contact_sheet(nobody, outputs, SheetText("", "", TOY, None))


def test_actions_have_names_where_the_family_knows_them():
    assert action_names(make_vec("toy_grid/no_cue", 1, 0)) == TOY
    nameless = CountingEnv()
    nameless.action_space = spaces.Discrete(2)
    assert action_names(nameless) == ("action 0", "action 1")
    nameless.action_space = spaces.Box(0, 1, (3,))
    assert action_names(nameless) == ("action 0", "action 1", "action 2")
    nameless.action_space = spaces.MultiDiscrete([2, 2])
    with pytest.raises(ValueError, match="discrete"):
        action_names(nameless)


@pytest.mark.parametrize("segmentation", ["box", None])
def test_the_names_are_the_environments_own_with_and_without_masks(segmentation):
    venv = make_vec("toy_grid/default", 1, 0, segmentation=segmentation)
    assert action_names(explanation_module._WithoutSegmentation(venv)) == TOY


def test_procgens_own_order_of_actions_is_that_of_the_names():
    simulator = pytest.importorskip(f"{MODULE}.env")
    combos = getattr(simulator, "KEY_COMBOS", None) or simulator.BaseProcgenEnv.get_combos(None)
    expected = [" ".join(keys).lower() or "none" for keys in combos]
    names = action_names(make_vec("procgen/maze", 1, 0, segmentation=None))
    assert (names[1], names[4], names[7], names[9]) == ("left", "none", "right", "key D")
    shown = [name.removeprefix("key ").lower() for name in names]
    assert shown == expected


def test_the_verb_writes_a_sheet_and_a_video_of_whole_episodes(tmp_path, trained, model, capsys):
    pytest.importorskip("av")
    out = tmp_path / "pictures"
    arguments = ("explain", str(trained.path), "--set", "train", "--frames", "2", "--episodes", "2", "--seed", "7")
    assert run_main(*arguments, "--out", str(out), "--no-progress") == 0
    printed = capsys.readouterr()
    assert printed.out == (
        f"contact sheet: {out}/attention-train.png\npage: {out}/episode-train.html\nvideo: {out}/episodes-train.mp4\n"
    )
    assert printed.err == ""
    written = sorted(path.name for path in out.iterdir())
    assert written == ["attention-train.png", "episode-train.html", "episodes-train.mp4"]
    assert cv2.imread(str(out / "attention-train.png")).shape[1] == 956
    # The oracle plays the same episodes; each last picture stays for a second, ten pictures.
    venv = make_vec("toy_grid/default", 1, 7)
    episodes = [record_episode(model, venv, False, seed) for seed in (7, 8)]
    pictures = decoded(out / "episodes-train.mp4")
    assert len(pictures) == sum(len(episode) + 10 for episode in episodes)
    frames = [frame for e in episodes for frame in [*e.frames, *[e.frames[-1]] * 10]]
    for picture, frame in zip(pictures, frames, strict=True):
        panel = picture[102:356:4, 14:268:4].astype(int)
        assert np.abs(panel - frame).mean() < 8
    first = (out / "attention-train.png").read_bytes()
    assert run_main(*arguments, "--out", str(out), "--no-video", "--method", "gradcam++", "--deterministic") == 0
    assert (out / "attention-train.png").read_bytes() != first
    assert len(decoded(out / "episodes-train.mp4")) == len(pictures)


def test_a_ppo_run_without_masks_gets_a_sheet_with_segmentation(tmp_path):
    folder = RunFolder(tmp_path / "ppo")
    options = [*TINY, "camal.weight=0", "env.segmentation=null", "log.overlay_every=0"]
    run(prepare(load_config("toy_grid", options), folder), ["test"])
    assert run_main("explain", str(folder.path), "--no-video", "--no-page", "--frames", "1") == 0
    assert [path.name for path in (folder.path / "explain").iterdir()] == ["attention-held_out.png"]
    assert cv2.imread(str(folder.path / "explain" / "attention-held_out.png")).shape[1] == 956


def test_a_simulator_without_masks_gets_a_sheet_without_segmentation(tmp_path, trained, maskless, capsys):
    assert run_main("explain", str(trained.path), "--no-video", "--frames", "1", "--out", str(tmp_path)) == 0
    assert "no segmentation: this simulator gives no masks\n" in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "attention-held_out.png")).shape[1] == 956 - 200


@pytest.mark.parametrize(("deterministic", "actions"), [(False, "sampled"), (True, "preferred")])
def test_sheet_and_video_are_of_the_same_kind_of_actions(trained, deterministic, actions, tmp_path, monkeypatch):
    asked = []
    settings = explanation_settings(trained.config(), frames=1, episodes=0, deterministic=deterministic)
    explanation = prepare_explanation(trained, settings)
    predict = explanation.model.predict

    def watched(observation, *, deterministic=False):
        asked.append(deterministic)
        return predict(observation, deterministic=deterministic)

    monkeypatch.setattr(explanation.model, "predict", watched)
    explain(explanation, tmp_path)
    assert set(asked) == {deterministic}
    assert actions in explanation_module._title(explanation)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is not a run folder"),
        (["RUN", "--set", "heldout"], "unknown level set 'heldout' of toy_grid/default; did you mean 'held_out'?"),
        (["RUN", "--method", "gradcma"], "must be one of gradcam, hirescam"),
        (["RUN", "--episodes", "0"], "Invalid value for '--episodes'"),
        (["RUN", "--frames", "0"], "Invalid value for '--frames'"),
        (["RUN", "--seed", "-1"], "Invalid value for '--seed'"),
        (["RUN", "--no-video", "--out", "mine.txt"], "mine.txt"),
        ([], "Missing argument"),
    ],
)
def test_bad_input_is_one_line_and_leaves_everything_as_it_was(
    tmp_path, monkeypatch, capsys, trained, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("precious")
    before = sorted(trained.path.rglob("*"))
    assert run_main("explain", *(str(trained.path) if part == "RUN" else part for part in arguments)) == 2
    assert message in refusal(capsys)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"mine.txt": "precious"}
    assert sorted(trained.path.rglob("*")) == before


def test_without_pyav_the_install_line_is_named_and_the_sheet_still_works(tmp_path, trained, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "av", None)
    assert run_main("explain", str(trained.path), "--out", str(tmp_path / "a")) == 2
    err = capsys.readouterr().err
    assert err == "camal-rl: videos need PyAV; install it with: pip install 'av>=12'\n"
    assert not (tmp_path / "a").exists()
    assert run_main("explain", str(trained.path), "--out", str(tmp_path), "--no-video", "--frames", "1") == 0


def test_help_has_an_example(capsys):
    assert run_main("explain", "--help") == 0
    assert "camal-rl explain" in capsys.readouterr().out.split("For example:")[1]
