"""Agents that see objects only see them aligned: after automatic resets, at ends of episodes, in stacks of frames."""

import copy
import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

from camal_rl.envs import IDENTITY, MaskedVecEnv, SegmentationSpec, make_segmented_vec, make_vec
from camal_rl.envs.masked_vec import images_seen
from camal_rl.envs.procgen.libraries import MODULE
from camal_rl.envs.saved_states import restore_env, save_env
from camal_rl.envs.segmentation import find_segmented, masking_of
from camal_rl.envs.wrappers import SegmentedFrameStack
from tests.agents.fakes import CountingEnv

SIZE = 6


class Walker(gymnasium.Env):
    """Frame ``n`` is filled with ``n``, and pixel ``n % 6`` of row 0 is an object; arrays are used again and again."""

    observation_space = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
    action_space = spaces.Discrete(2)
    segmentation_spec = SegmentationSpec(("background", "dot"), ("dot",))

    def __init__(self, length=100):
        self.number, self.length = 0, length
        self.image, self.labels = np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((SIZE, SIZE), np.uint8)

    def frame(self):
        self.number += 1
        self.image[:], self.labels[:] = self.number, 0
        self.labels[0, self.number % SIZE] = 1
        return self.image, {"segmentation": self.labels}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.frame()

    def step(self, action):
        self.steps += 1
        image, info = self.frame()
        return image, 1.0, self.steps == self.length, False, info

    def get_state(self):
        return {"number": self.number, "steps": self.steps}

    def set_state(self, state):
        self.number, self.steps = state["number"], state["steps"]


def drawn(*numbers):
    """Return a stack of masked frames of a Walker, by their numbers."""
    image = np.zeros((SIZE, SIZE, 3 * len(numbers)), np.uint8)
    for place, number in enumerate(numbers):
        image[0, number % SIZE, 3 * place : 3 * place + 3] = number
    return image


STEP = np.zeros(1, dtype=np.int64)


@pytest.mark.parametrize("make", [lambda: Walker(3), lambda: TimeLimit(Walker(), 3)], ids=["terminated", "truncated"])
def test_every_frame_is_masked_by_its_own_labels_at_both_sides_of_a_reset(make):
    env = MaskedVecEnv(make_segmented_vec(make, 1), "object_mask")
    seen, last = [env.reset()[0]], []
    for _ in range(7):
        observations, _, _, infos = env.step(STEP)
        seen.append(observations[0])
        if "terminal_observation" in infos[0]:
            last.append(infos[0]["terminal_observation"])
            assert "terminal_segmentation" not in infos[0]
    np.testing.assert_array_equal(seen, [drawn(number) for number in (1, 2, 3, 5, 6, 7, 9, 10)])
    np.testing.assert_array_equal(last, [drawn(4), drawn(8)])


def test_frames_of_a_stack_are_masked_first_and_stacked_then():
    env = MaskedVecEnv(make_segmented_vec(lambda: SegmentedFrameStack(Walker(3), 2), 1), "object_mask")
    seen, last = [env.reset()[0]], []
    for _ in range(4):
        observations, _, _, infos = env.step(STEP)
        seen.append(observations[0])
        last += [infos[0]["terminal_observation"]] if "terminal_observation" in infos[0] else []
    np.testing.assert_array_equal(seen, [drawn(*pair) for pair in ((1, 1), (1, 2), (2, 3), (5, 5), (5, 6))])
    np.testing.assert_array_equal(last, [drawn(3, 4)])


def test_a_stack_around_it_stacks_masked_frames():
    env = VecFrameStack(MaskedVecEnv(make_segmented_vec(lambda: Walker(3), 1), "object_mask"), 2)
    env.reset()
    np.testing.assert_array_equal(env.step(STEP)[0][0], drawn(1, 2))
    np.testing.assert_array_equal(env.step(STEP)[0][0], drawn(2, 3))
    assert (find_segmented(env), masking_of(VecNormalize(env, norm_obs=False))) == (env.venv, "object_mask")


@pytest.mark.parametrize(("masking", "channels"), [("object_mask", 6), ("binary_mask", 2), ("class_mask", 2)])
def test_the_space_says_what_is_drawn_of_a_stack(masking, channels):
    env = MaskedVecEnv(make_segmented_vec(lambda: SegmentedFrameStack(Walker(), 2), 2), masking)
    observations = env.reset()
    assert env.observation_space == spaces.Box(0, 255, (SIZE, SIZE, channels), np.uint8)
    assert observations.shape == (2, SIZE, SIZE, channels)


SIMULATORS = [
    ("toy_grid/default", {"max_steps": 5}, None),
    ("procgen/starpilot", {}, MODULE),
    ("procgen/coinrun", {"segmentation": "silhouette"}, MODULE),
    ("minigrid/DoorKey-5x5", {}, "minigrid"),
    ("crafter/Reward", {"length": 5}, "crafter"),
]


def simulator(env_id, options, module, num_envs=3):
    if module is not None:
        pytest.importorskip(module)
    return make_vec(env_id, num_envs, 0, **options)


@pytest.mark.parametrize(("env_id", "options", "module"), SIMULATORS)
@pytest.mark.parametrize("masking", ["object_mask", "binary_mask"])
def test_simulators_are_masked_by_the_label_maps_they_give(env_id, options, module, masking):
    twin, env = simulator(env_id, options, module), MaskedVecEnv(simulator(env_id, options, module), masking)
    rng = np.random.default_rng(0)
    images, observations, dones = twin.reset(), env.reset(), np.zeros(3, bool)
    for _ in range(12):
        shown = twin.segmentation()[..., None] > 0
        expected = np.where(shown, images, 0) if masking == "object_mask" else np.where(shown, 255, 0)
        np.testing.assert_array_equal(observations, expected)
        np.testing.assert_array_equal(env.images, images)
        np.testing.assert_array_equal(env.segmentation(), twin.segmentation())
        actions = rng.integers(env.action_space.n, size=3)
        images, rewards, dones, _ = twin.step(actions)
        observations, ours, ended, _ = env.step(actions)
        np.testing.assert_array_equal((ours, ended), (rewards, dones))
    assert (env.spec, env.action_names) == (twin.spec, twin.action_names)
    env.close()
    twin.close()


@pytest.mark.parametrize(("env_id", "options", "module"), SIMULATORS)
def test_redrawn_frames_are_masked_by_label_maps_of_their_own(env_id, options, module):
    inner = simulator(env_id, options, module)
    env = MaskedVecEnv(inner, "binary_mask")
    observations = env.reset()
    np.testing.assert_array_equal(env.counterfactual(IDENTITY).images, observations)
    assert {each.kind for each in env.interventions()} >= {"background", "remove"}
    for intervention in env.interventions():
        found = env.counterfactual(intervention)
        np.testing.assert_array_equal(found.changed, inner.counterfactual(intervention).changed)
        np.testing.assert_array_equal(found.images[..., 0] > 0, inner.redrawn_labels(intervention) > 0)
        if intervention.kind == "background":
            assert found.applies.any()
            np.testing.assert_array_equal(found.images, observations)
        if intervention.name == "remove_agent":
            agent = inner.spec.names.index("agent")
            assert not (inner.redrawn_labels(intervention) == agent).any()
    env.close()


def test_another_background_changes_nothing_that_is_seen_of_opaque_objects():
    env = MaskedVecEnv(make_vec("toy_grid/default", 4, 0), "object_mask")
    observations = env.reset()
    backgrounds = [each for each in env.interventions() if each.kind == "background"]
    assert backgrounds
    for each in backgrounds:
        found = env.counterfactual(each)
        assert found.applies.all()
        np.testing.assert_array_equal(found.images, observations)


def test_without_label_maps_of_redrawn_frames_there_are_no_interventions():
    assert MaskedVecEnv(CountingEnv(), "object_mask").interventions() == ()


def test_other_agents_can_be_shown_what_they_see_of_the_same_frames():
    env = MaskedVecEnv(make_vec("toy_grid/default", 2, 0), "binary_mask")
    observations = env.reset()
    np.testing.assert_array_equal(images_seen(env, observations, None), make_vec("toy_grid/default", 2, 0).reset())
    np.testing.assert_array_equal(images_seen(env, observations, "binary_mask"), observations)
    other = MaskedVecEnv(make_vec("toy_grid/default", 2, 0), "object_mask").reset()
    np.testing.assert_array_equal(images_seen(env, observations, "object_mask"), other)
    assert images_seen(CountingEnv(), observations, None) is observations


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_vec("toy_grid/default", 2, 3),
        lambda: make_segmented_vec(lambda: SegmentedFrameStack(Walker(4), 3), 2),
    ],
    ids=["toy grid", "stack"],
)
def test_a_saved_state_goes_on_with_the_same_frames(make):
    env, other = (MaskedVecEnv(make(), "object_mask") for _ in range(2))
    actions = np.zeros(2, dtype=np.int64)
    env.reset()
    env.step(actions)
    saved = save_env(env)
    assert restore_env(other, saved) is None
    for _ in range(6):
        np.testing.assert_array_equal(other.step(actions)[0], env.step(actions)[0])


def test_the_state_of_another_masking_is_refused():
    env, other = (MaskedVecEnv(make_vec("toy_grid/default", 2, 3), each) for each in ("object_mask", "relevant_mask"))
    env.reset()
    with pytest.raises(ValueError, match=r"masking of .*MaskedVecEnv is"):
        restore_env(other, save_env(env))


def test_states_put_back_show_what_was_seen():
    env = MaskedVecEnv(make_vec("toy_grid/default", 2, 3), "object_mask")
    env.reset()
    seen = env.step(np.array([1, 2]))[0]
    states = env.get_state()
    following = env.step(np.array([0, 0]))[0]
    np.testing.assert_array_equal(env.set_state(states), seen)
    np.testing.assert_array_equal(env.images, env.venv._games.images)
    np.testing.assert_array_equal(env.step(np.array([0, 0]))[0], following)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_by_itself(copied):
    env = MaskedVecEnv(make_vec("toy_grid/default", 2, 3), "object_mask")
    env.reset()
    twin = copied(env)
    np.testing.assert_array_equal(twin.step(np.array([1, 2]))[0], env.step(np.array([1, 2]))[0])


class WithoutTerminalLabels(CountingEnv):
    def step_wait(self):
        observations, rewards, dones, _ = super().step_wait()
        return (
            observations,
            rewards,
            dones,
            [{"terminal_observation": each} if dones[0] else {} for each in observations],
        )


def test_a_terminal_observation_without_its_label_map_is_one_line():
    env = MaskedVecEnv(WithoutTerminalLabels(episode_length=1), "object_mask")
    env.reset()
    with pytest.raises(
        ValueError, match=r"terminal_observation without its label map; put the label map into infos\[0\]"
    ):
        env.step(np.zeros(2))


class Plain(Walker):
    observation_space = spaces.Box(-1, 1, (4,), np.float32)


@pytest.mark.parametrize(
    ("make", "masking", "message"),
    [
        (lambda: DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]), "object_mask", "needs an environment with segm"),
        (
            lambda: make_vec("toy_grid/default", 1, 0, segmentation=None),
            "object_mask",
            "needs an environment with segm",
        ),
        (lambda: make_segmented_vec(Plain, 1), "object_mask", "needs image observations uint8"),
        (lambda: make_vec("toy_grid/default", 1, 0), "binarymask", "did you mean 'binary_mask'"),
        (
            lambda: make_segmented_vec(lambda: SegmentedFrameStack(Walker(), 2, "union"), 1),
            "object_mask",
            "needs the label map of each frame",
        ),
    ],
)
def test_environments_that_cannot_be_masked_are_one_line(make, masking, message):
    with pytest.raises(ValueError, match=message) as caught:
        MaskedVecEnv(make(), masking)
    assert "\n" not in str(caught.value)
