import cv2
import numpy as np
import pytest
import torch

from camal_rl.agents import CamalConfig
from camal_rl.envs import make_vec
from camal_rl.overlays import heatmap_overlay, to_grayscale
from camal_rl.rl.explain.episode import Recording, record_episode
from camal_rl.rl.explain.episode_video import VideoText, episode_pictures
from camal_rl.rl.explain.video_file import even_sized, write_mp4
from camal_rl.rl.frames import random_frames
from camal_rl.rl.model_file import load_model
from camal_rl.rl.policy_outputs import PolicyOutputs, policy_outputs
from tests.rl.test_returns import CoinActor, ScriptedVecEnv

ORANGE = (255, 170, 60)
TOY = ("up", "right", "down", "left")


class Script:
    """Plays a list of actions, the same in every environment."""

    def __init__(self, actions):
        self.actions = iter(actions)

    def predict(self, observation, *, deterministic=False):
        return np.full(len(observation), next(self.actions)), None


@pytest.fixture(scope="module")
def model(trained):
    return load_model(trained)


@pytest.fixture(scope="module")
def recording(model):
    return record_episode(model, make_vec("toy_grid/default", 1, 5), deterministic=False, seed=0)


@pytest.fixture(scope="module")
def outputs(model, recording):
    return policy_outputs(model.policy, recording.frames, actions=recording.actions)


def empty_toy(num_envs=1, seed=4):
    """Return a toy grid with nothing in the way; with seed 4 the agent starts at (3, 4), the goal is at (1, 3)."""
    return make_vec("toy_grid/default", num_envs, seed, num_walls=0, num_hazards=0, num_distractors=0)


def changed_cells(before, after):
    cells = (before != after).reshape(8, 8, 8, 8, 3).any(axis=(1, 3, 4))
    return {tuple(cell) for cell in np.argwhere(cells).tolist()}


def decoded(path):
    """Return the pictures of a video, RGB, by another decoder than the one that wrote it."""
    capture = cv2.VideoCapture(str(path))
    pictures = []
    while True:
        more, picture = capture.read()
        if not more:
            return pictures
        pictures.append(picture[..., ::-1])


def test_an_episode_to_the_goal_is_recorded_step_by_step():
    # Up to (2, 4), up to (1, 4), left onto the goal; the fourth action would be that of the next episode.
    recorded = record_episode(Script([0, 0, 3, 1]), empty_toy(), deterministic=True, seed=0)
    assert recorded.actions.tolist() == [0, 0, 3]
    assert recorded.rewards.tolist() == pytest.approx([-0.02, -0.02, 1.0])
    assert recorded.returns.tolist() == pytest.approx([-0.02, -0.04, 0.96])
    assert recorded.ended
    assert recorded.frames.shape == (3, 64, 64, 3)
    np.testing.assert_array_equal(recorded.frames[0], empty_toy().reset()[0])
    assert changed_cells(recorded.frames[0], recorded.frames[1]) == {(3, 4), (2, 4)}
    assert changed_cells(recorded.frames[1], recorded.frames[2]) == {(2, 4), (1, 4)}


def test_frames_after_the_end_belong_to_the_next_episode_and_are_left_out():
    venv = ScriptedVecEnv([[3, 2], [1]])
    recorded = record_episode(CoinActor(), venv, deterministic=True, seed=0)
    # Pixels hold (episode, time); the second environment, whose episodes last one step, plays along.
    assert recorded.frames[:, 0, :2, 0].tolist() == [[0, 0], [0, 1], [0, 2]]
    assert recorded.ended
    cut = record_episode(CoinActor(), venv, deterministic=True, seed=0, max_steps=2)
    assert (len(cut), cut.ended) == (2, False)
    with pytest.raises(ValueError, match="max_steps must be at least 1, got 0"):
        record_episode(CoinActor(), venv, True, 0, max_steps=0)


def test_sampled_actions_depend_on_the_seed_and_global_randomness_is_left_alone():
    def actions(seed):
        return record_episode(CoinActor(), ScriptedVecEnv([[20]]), False, seed).actions.tolist()

    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert actions(1) == actions(1) != actions(2)
    assert torch.equal(torch.get_rng_state(), before)


def test_outputs_are_the_policys_own_frame_by_frame(model, recording, outputs):
    for step, action in enumerate(recording.actions):
        frame = recording.frames[step : step + 1]
        batch = torch.from_numpy(frame.transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            value = model.policy.predict_values(batch).item()
            probabilities = model.policy.get_distribution(batch).distribution.probs[0].numpy()
        assert outputs.values[step] == pytest.approx(value, abs=1e-5)
        np.testing.assert_allclose(outputs.probabilities[step], probabilities, atol=1e-5)
        assert outputs.action_probabilities[step] == pytest.approx(probabilities[action], abs=1e-5)
        maps = model.policy.attention(frame, torch.tensor([action]))
        for name, cam in maps.items():
            np.testing.assert_allclose(outputs.maps[name][step], cam[0].numpy(), atol=1e-4)


def test_outputs_prefer_the_likeliest_action_and_do_not_depend_on_chunks(model, monkeypatch):
    images = random_frames(make_vec("toy_grid/default", 5, 0), 3, 0).images
    whole = policy_outputs(model.policy, images, CamalConfig(method="layercam"))
    assert whole.actions.tolist() == whole.probabilities.argmax(axis=1).tolist()
    monkeypatch.setattr("camal_rl.rl.policy_outputs._OUTPUTS_CHUNK", 2)
    parts = policy_outputs(model.policy, images, CamalConfig(method="layercam"))
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-5)
    np.testing.assert_allclose(parts.maps["policy"], whole.maps["policy"], atol=1e-4)
    with pytest.raises(ValueError, match="at least one"):
        policy_outputs(model.policy, images[:0], CamalConfig())
    with pytest.raises(ValueError, match="one action for each of 5 images, got 2"):
        policy_outputs(model.policy, images, CamalConfig(), np.zeros(2, np.int64))


def test_outputs_leave_the_training_mode_as_it_was(model):
    model.policy.set_training_mode(True)
    policy_outputs(model.policy, np.zeros((1, 64, 64, 3), np.uint8), CamalConfig())
    assert model.policy.training
    model.policy.set_training_mode(False)


def bars(picture, actions=4):
    """Return the width of each action's bar, and which are drawn as taken, read from the pixels."""
    # Header 76, title 24, panel 256, margin 12, title 24: the first row; a row of four is 36 high.
    height = {4: 36}[actions]
    rows = [picture[392 + action * height + height // 2, 12 + 96 : 12 + 256 - 44] for action in range(actions)]
    widths = [int((row != 24).any(axis=1).sum()) for row in rows]
    return widths, [tuple(row[0]) == ORANGE for row in rows]


def test_every_picture_shows_the_frame_map_and_action_of_its_step(recording, outputs):
    pictures = list(episode_pictures(recording, outputs, VideoText("title", "maps", TOY)))
    assert len(pictures) == len(recording)
    for step, picture in enumerate(pictures):
        frame = recording.frames[step].repeat(4, axis=0).repeat(4, axis=1)
        np.testing.assert_array_equal(picture[100:356, 12:268], frame)
        for left, name in ((280, "value"), (548, "policy")):
            expected = heatmap_overlay(to_grayscale(frame), outputs.maps[name][step])
            np.testing.assert_array_equal(picture[100:356, left : left + 256], expected)
        widths, taken = bars(picture)
        assert taken == [action == recording.actions[step] for action in range(4)]
        # 256 - 96 - 44 = 116 pixels are probability 1; a bar's last column counts too.
        np.testing.assert_allclose(widths, outputs.probabilities[step] * 116 + 1, atol=0.6)


def test_the_curve_grows_to_the_step_that_is_shown():
    values = np.array([0, 1, 0, 1, 0], np.float32)
    frames = np.zeros((5, 64, 64, 3), np.uint8)
    flat = np.full((5, 4), 0.25, np.float32)
    maps = {name: np.ones((5, 4, 4), np.float32) for name in ("value", "policy")}
    taken = np.zeros(5, np.int64)
    episode = Recording(frames, taken, np.zeros(5), True)
    pictures = episode_pictures(episode, PolicyOutputs(values, flat, taken, maps), VideoText("", "", TOY))
    # The plot reaches from column 332 to 803: steps are 471 / 4 columns apart.
    for step, picture in enumerate(pictures):
        plot = picture[393:541, 333:803]
        dot = np.argwhere((plot == ORANGE).all(axis=2)).mean(axis=0)
        assert dot[1] + 333 == pytest.approx(332 + step * 471 / 4, abs=3)
        assert (dot[0] < 74) == (values[step] == 1)
        line = np.argwhere((plot == 235).all(axis=2))[:, 1]
        assert line.max(initial=0) + 333 <= 332 + step * 471 / 4 + 1


def test_only_the_last_picture_says_that_it_is_the_last(recording, outputs):
    pictures = list(episode_pictures(recording, outputs, VideoText("title", "maps", TOY)))
    titles = [picture[76:100, :268].astype(int) for picture in pictures]
    orange = [(title[..., 0] - title[..., 2] > 60).any() for title in titles]
    assert orange == [False] * (len(pictures) - 1) + [True]


def test_maps_that_say_nothing_are_not_drawn_as_attention():
    frames = np.full((2, 64, 64, 3), 90, np.uint8)
    cams = np.stack([np.zeros((4, 4)), np.full((4, 4), np.nan)]).astype(np.float32)
    nothing = PolicyOutputs(np.zeros(2, np.float32), np.full((2, 4), 0.25, np.float32), np.zeros(2, np.int64), {})
    nothing.maps.update(value=cams, policy=cams)
    episode = Recording(frames, np.zeros(2, np.int64), np.zeros(2), False)
    zero, undefined = episode_pictures(episode, nothing, VideoText("", "", TOY))
    assert (undefined[100:356, 280:536] == 90).all()
    assert (zero[100:356, 280:536] < 90).all()
    # The remarks make the titles longer than "value map", which ends before column 350.
    assert (zero[76:100, 370:536] != 24).any()
    assert (undefined[76:100, 370:536] != 24).any()


def test_outputs_of_another_episode_are_refused(recording, outputs):
    other = Recording(recording.frames, (recording.actions + 1) % 4, recording.rewards, True)
    with pytest.raises(ValueError, match="the actions that were taken"):
        next(episode_pictures(other, outputs, VideoText("", "", TOY)))
    with pytest.raises(ValueError, match="expected 4 action names, got 1"):
        next(episode_pictures(recording, outputs, VideoText("", "", ["up"])))


def test_a_video_has_every_picture_in_order_and_an_even_size(tmp_path):
    pytest.importorskip("av")
    pictures = [np.full((51, 33, 3), 20 * step, np.uint8) for step in range(12)]
    assert write_mp4(tmp_path / "new" / "a.mp4", pictures, fps=7) == 12
    shown = decoded(tmp_path / "new" / "a.mp4")
    assert [picture.shape for picture in shown] == [(52, 34, 3)] * 12
    np.testing.assert_allclose([picture.mean() for picture in shown], np.arange(12) * 20, atol=3)
    assert cv2.VideoCapture(str(tmp_path / "new" / "a.mp4")).get(cv2.CAP_PROP_FPS) == 7


def test_a_video_is_of_the_kind_that_browsers_play_and_keeps_colors(tmp_path):
    av = pytest.importorskip("av")
    colors = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (250, 170, 60)]
    pictures = [np.full((64, 64, 3), color, np.uint8) for color in colors]
    write_mp4(tmp_path / "a.mp4", pictures, fps=10)
    for picture, color in zip(decoded(tmp_path / "a.mp4"), colors, strict=True):
        np.testing.assert_allclose(picture[32, 32], color, atol=8)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        # ITU-T H.273: 6 is the matrix of BT.601; 1 is the limited range.
        assert (int(stream.codec_context.colorspace), int(stream.codec_context.color_range)) == (6, 1)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_padding_repeats_the_edge():
    picture = np.arange(15, dtype=np.uint8).reshape(1, 5, 3)
    padded = even_sized(picture)
    assert padded.shape == (2, 6, 3)
    assert padded[1, 5].tolist() == padded[0, 4].tolist() == [12, 13, 14]


def test_a_video_that_fails_leaves_the_earlier_one(tmp_path):
    pytest.importorskip("av")
    (tmp_path / "a.mp4").write_bytes(b"earlier")

    def broken():
        yield np.zeros((32, 32, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_mp4(tmp_path / "a.mp4", broken(), 10)
    with pytest.raises(ValueError, match="must have the size"):
        write_mp4(tmp_path / "a.mp4", [np.zeros((32, 32, 3), np.uint8), np.zeros((32, 30, 3), np.uint8)], 10)
    with pytest.raises(ValueError, match="at least one picture"):
        write_mp4(tmp_path / "a.mp4", [], 10)
    with pytest.raises(ValueError, match="fps must be at least 1, got 0"):
        write_mp4(tmp_path / "a.mp4", [], 0)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.mp4": b"earlier"}
