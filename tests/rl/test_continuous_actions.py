"""Agents with continuous actions: random frames, answers, and how a decision is told."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from camal_rl.agents import CamalConfig, CamPolicy
from camal_rl.agents.attributions import explain
from camal_rl.agents.heads import heads
from camal_rl.envs import SegmentationSpec, make_segmented_vec
from camal_rl.rl.evaluate.attention import attention_report
from camal_rl.rl.evaluate.counterfactuals import counterfactual_report
from camal_rl.rl.explain.contact_sheet import SheetText, contact_sheet
from camal_rl.rl.explain.decision import bar_shares, flips, preferred_words, taken_words
from camal_rl.rl.explain.episode import record_episode
from camal_rl.rl.explain.episode_page import PageText, write_episode_page
from camal_rl.rl.explain.episode_video import VideoText, episode_pictures
from camal_rl.rl.frames import random_actions, random_frames
from camal_rl.rl.policy_outputs import PolicyOutputs, policy_outputs
from tests.rl.test_episode_page import data_of

SIDE, NAMES = 40, ("gas", "turn")


class Slide(gymnasium.Env):
    """A square goes where two numbers push it, for eight steps."""

    segmentation_spec = SegmentationSpec(("background", "square"), ("square",))
    action_names = NAMES
    action_space = spaces.Box(-1, 1, (2,), np.float32)
    observation_space = spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps = self.np_random.integers(8, 24, 2).astype(float), 0
        return self.picture()

    def step(self, action):
        assert self.action_space.contains(action)
        self.place, self.steps = np.clip(self.place + 3 * action, 0, SIDE - 9), self.steps + 1
        image, info = self.picture()
        return image, float(action[0]), False, self.steps == 8, info

    def picture(self):
        row, column = self.place.astype(int)
        labels = np.zeros((SIDE, SIDE), np.uint8)
        labels[row : row + 8, column : column + 8] = 1
        return np.repeat(200 * labels[..., None], 3, axis=2), {"segmentation": labels}


@pytest.fixture(scope="module")
def policy():
    torch.manual_seed(0)
    space = spaces.Box(0, 255, (3, SIDE, SIDE), np.uint8)
    made = CamPolicy(space, Slide.action_space, lambda _: 1e-3, encoder="compact")
    made.set_training_mode(False)
    return made


class Agent:
    """What SB3's models are to an evaluation: actions of images, clipped to their space."""

    def __init__(self, policy):
        self.policy = policy

    def predict(self, observation, *, deterministic=False):
        return self.policy.predict(observation, deterministic=deterministic)


@pytest.fixture(scope="module")
def recording(policy):
    return record_episode(Agent(policy), make_segmented_vec(Slide, 1), deterministic=False, seed=0)


@pytest.fixture(scope="module")
def outputs(policy, recording):
    return policy_outputs(policy, recording.frames, None, recording.actions)


def test_random_actions_are_the_spaces_follow_the_seed_and_leave_its_generator_alone():
    venv = make_segmented_vec(Slide, 3)
    before = venv.action_space.np_random.bit_generator.state
    first, again, other = (np.stack(list(random_actions(venv, 50, seed))) for seed in (1, 1, 2))
    assert (first.shape, first.dtype) == ((50, 3, 2), np.float32)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.min() < -0.9 < 0.9 < first.max()
    assert venv.action_space.np_random.bit_generator.state == before
    assert len(random_frames(venv, 3, 0)) == 3


def test_answers_are_the_gaussians_of_the_policy_and_the_actions_that_were_taken(policy, recording, outputs):
    images = torch.from_numpy(recording.frames).permute(0, 3, 1, 2)
    with torch.no_grad():
        inner = policy.get_distribution(images).distribution
    np.testing.assert_allclose(outputs.gaussians, torch.cat([inner.mean, inner.stddev], 1), atol=1e-4)
    np.testing.assert_array_equal(outputs.actions, recording.actions)
    np.testing.assert_array_equal(outputs.action_scores, outputs.gaussians[:, :2])
    assert (outputs.probabilities, outputs.score_name, len(outputs)) == (None, "mean", 8)
    preferred = policy_outputs(policy, recording.frames)
    np.testing.assert_allclose(preferred.actions, preferred.action_scores, atol=1e-5)


def test_decisions_are_told_by_their_numbers():
    gaussians = np.array([[0.5, -0.25, 1, 1], [np.nan, 0.0, 1, 1]], np.float32)
    actions = np.array([[1.0, -0.004], [0, 0]], np.float32)
    answers = PolicyOutputs(np.zeros(2, np.float32), None, actions, {}, gaussians=gaussians)
    assert taken_words(answers, NAMES) == ["gas +1.00, turn -0.00", "gas +0.00, turn +0.00"]
    assert preferred_words(answers, NAMES) == ["gas +0.50, turn -0.25", "gas not finite, turn +0.00"]
    shares = bar_shares(answers, answers)
    assert (shares.min(), shares.max()) == (0, 1)
    many = PolicyOutputs(np.zeros(1), None, np.zeros((1, 5)), {}, gaussians=np.ones((1, 10), np.float32))
    assert preferred_words(many, "abcde") == ["+1.0 +1.0 +1.0 +1.0 +1.0"]


def test_a_decision_flips_beyond_a_standard_deviation(outputs):
    nearer, farther = (
        PolicyOutputs(outputs.values, None, outputs.actions, outputs.maps, gaussians=outputs.gaussians + shift)
        for shift in (np.array([0.4, 0.4, 0, 0], np.float32), np.array([0, 9, 0, 0], np.float32))
    )
    assert not flips(nearer, outputs).any()
    assert flips(farther, outputs).all()


def test_sheet_video_and_page_show_continuous_actions(policy, recording, outputs, tmp_path):
    frames = random_frames(make_segmented_vec(Slide, 2), 2, 0)
    sheet = contact_sheet(frames, policy_outputs(policy, frames.images), SheetText("", "", NAMES, None))
    assert sum("gas " in text.get_text() and " ± " in text.get_text() for text in sheet.texts) == 2
    pictures = list(episode_pictures(recording, outputs, VideoText("", "", NAMES)))
    assert len(pictures) == 8
    write_episode_page(tmp_path / "a.html", recording, outputs, None, [], PageText("t", "m", NAMES))
    data = data_of(tmp_path / "a.html")
    assert (data["taken"], data["takes"]) == (None, taken_words(outputs, NAMES))
    assert data["answers"]["prefers"] == preferred_words(outputs, NAMES)


def test_evaluation_measures_densities(policy):
    frames = random_frames(make_segmented_vec(Slide, 4), 3, 0)
    report = attention_report(policy, frames, CamalConfig(), 0)
    assert "density of the preferred action" in report.maps["policy"].score
    assert heads(policy)["policy"].kind == "gaussian"
    found = [each for each in report.results if each.figure == "deletion_effect" and each.target == "policy"]
    assert {each.map for each in found} == {"own", "random", "mask"}
    assert all(np.isfinite(each.value) and each.value <= 1 for each in found)
    report = counterfactual_report(Agent(policy), make_segmented_vec(Slide, 1), 1, 1, CamalConfig(), 0)
    assert not list(report), "the environment redraws nothing"


def test_maps_by_perturbation_follow_the_divergence_of_the_gaussians(policy):
    frames = random_frames(make_segmented_vec(Slide, 2), 2, 0)
    maps = explain(policy, frames.images, "perturbation", "policy")
    assert maps.shape == (2, SIDE, SIDE)
    assert maps.amax() == 1
