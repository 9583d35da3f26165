"""Environments that fail, or give what cannot be trained on, end in one line, with every worker closed."""

import multiprocessing
import os
import re
import signal
import sys
from functools import partial

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from camal_rl.agents import CAMALPPO
from camal_rl.envs import SegmentationSpec, check_segmented_env, make_segmented_vec, wrap_vec
from camal_rl.failures import DivergedError, NotFiniteError, RunFailure

SPEC = SegmentationSpec(("background", "dot"), ("dot",))
BAD_AT = 3


class Dot(gymnasium.Env):
    """A dot that walks; at its third step something is wrong."""

    segmentation_spec = SPEC
    observation_space = gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, fault=None, at_reset=False):
        self.fault, self.at_reset, self.count = fault, at_reset, 0

    def _seen(self):
        image, labels = np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), np.uint8)
        labels[self.count % 16, 3] = 1
        image[labels == 1] = 255
        return image, {"segmentation": labels}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        image, info = self._seen()
        if self.fault and self.at_reset:
            image, _, _, _, info = FAULTS[self.fault](image, info)
        return image, info

    def step(self, action):
        self.count += 1
        image, info = self._seen()
        if self.fault and not self.at_reset and self.count == BAD_AT:
            return FAULTS[self.fault](image, info)
        return image, 1.0, False, False, info


def raising(image, info):
    raise KeyError("no such level")


def exiting(image, info):
    sys.exit(5)


def leaving(image, info):
    os._exit(7)


def killed(image, info):
    os.kill(os.getpid(), signal.SIGKILL)


def changed(image, info, reward=1.0, terminated=False, truncated=False, image_as=None, labels_as=None):
    image = image if image_as is None else image_as(image)
    if labels_as is not None:
        info = {"segmentation": labels_as(info["segmentation"])}
    return image, reward, terminated, truncated, info


FAULTS = {
    "raises": raising,
    "exits": exiting,
    "leaves": leaving,
    "killed": killed,
    "float image": partial(changed, image_as=lambda image: image / 255.0),
    "int64 image": partial(changed, image_as=lambda image: image.astype(np.int64)),
    "small image": partial(changed, image_as=lambda image: image[:8]),
    "list": partial(changed, image_as=lambda image: image.tolist()),
    "reward none": partial(changed, reward=None),
    "reward text": partial(changed, reward="1"),
    "terminated none": partial(changed, terminated=None),
    "truncated none": partial(changed, truncated=None),
    "terminated 1.0": partial(changed, terminated=1.0),
    "info none": lambda image, info: (image, 1.0, False, False, None),
    "four": lambda image, info: (image, 1.0, False, info),
    "int labels": partial(changed, labels_as=lambda labels: labels.astype(np.int64)),
    "small labels": partial(changed, labels_as=lambda labels: labels[:8]),
    "unnamed labels": partial(changed, labels_as=lambda labels: labels + np.uint8(7)),
    "no labels": lambda image, info: (image, 1.0, False, False, {}),
    "reward nan": partial(changed, reward=np.nan),
    "reward inf": partial(changed, reward=-np.inf),
    "reward 1e300": partial(changed, reward=1e300),
}
MESSAGES = {
    "raises": "environment 0: step() raised KeyError: 'no such level' (test_failing_envs.py, line",
    "exits": "environment 0: step() ended the process with sys.exit(5)",
    "float image": "environment 0: step() returned an observation of float64, but the observation space has uint8",
    "int64 image": "environment 0: step() returned an observation of int64",
    "small image": "environment 0: step() returned an observation of shape (8, 16, 3)",
    "list": "environment 0: observations from step() must be NumPy arrays",
    "reward none": "environment 0: the reward from step() must be a number, got None",
    "reward text": "environment 0: the reward from step() must be a number, got '1'",
    "terminated none": "environment 0: terminated from step() must be True or False, got None",
    "truncated none": "environment 0: truncated from step() must be True or False, got None",
    "terminated 1.0": "environment 0: terminated from step() must be True or False, got 1.0",
    "info none": "environment 0: the info from step() must be a dictionary, got None",
    "four": "environment 0: step() must return observation, reward, terminated, truncated, info, got a tuple of 4",
    "int labels": "info['segmentation'] of environment 0 at step() must have dtype uint8",
    "small labels": (
        "info['segmentation'] of environment 0 at step() must have the observation's height and width (16, 16)"
    ),
    "unnamed labels": "the label map of environment 0 contains ids without a name: [7, 8]",
    "no labels": "environment 0 returned no info['segmentation'] from step()",
    "reward nan": "environment 0: step() returned the reward nan",
    "reward inf": "environment 0: step() returned the reward -inf",
    "reward 1e300": "environment 0: step() returned the reward 1e+300",
}
DEATHS = {
    "leaves": ": its worker process ended with exit code 7; every environment was closed",
    "killed": ": its worker process was ended by SIGKILL, as the system does when memory runs out",
}


def play(env, steps):
    env.reset()
    for step in range(1, steps):
        env.step(np.zeros(env.num_envs, np.int64))
        assert step < BAD_AT


def failing(env, steps=10):
    """Return the line with which an environment ends."""
    with pytest.raises(RunFailure) as caught:
        play(env, steps)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("fault", MESSAGES)
def test_what_an_environment_does_wrong_ends_at_the_step_it_appears(fault):
    env = make_segmented_vec(partial(Dot, fault), 1)
    error = failing(env)
    assert MESSAGES[fault] in str(error)
    assert isinstance(error, NotFiniteError) == fault.startswith(("reward nan", "reward inf", "reward 1e300"))


@pytest.mark.parametrize("fault", ["float image", "terminated none", "reward nan", "raises"])
def test_environments_that_a_user_has_vectorized_are_watched_too(fault):
    assert MESSAGES[fault] in str(failing(wrap_vec(DummyVecEnv([partial(Dot, fault)]))))


@pytest.mark.parametrize("fault", ["raises", "exits", "float image"])
def test_a_reset_that_fails_is_one_line(fault):
    env = make_segmented_vec(partial(Dot, fault, at_reset=True), 1)
    assert MESSAGES[fault].partition("step()")[2][:20] in str(failing(env))


@pytest.mark.parametrize("fault", ["raises", "exits", "leaves", "killed", "float image", "unnamed labels"])
def test_a_worker_that_fails_says_how_and_leaves_no_process(fault, capfd):
    before = multiprocessing.active_children()
    env = make_segmented_vec(partial(Dot, fault), 2, subproc=True)
    pids = [process.pid for process in env.venv.processes]
    error = failing(env)
    assert {**MESSAGES, **DEATHS}[fault] in str(error)
    env.close()
    assert multiprocessing.active_children() == before
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert "Traceback" not in capfd.readouterr().err


def test_workers_of_stable_baselines3s_own_say_how_they_ended():
    env = wrap_vec(SubprocVecEnv([partial(Dot, "leaves")] * 2, start_method="spawn"))
    assert "its worker process ended with exit code 7" in str(failing(env))


def test_the_checker_finds_what_sb3_would_cast_away():
    for fault in ("float image", "terminated none", "reward nan"):
        with pytest.raises(ValueError, match=re.escape(MESSAGES[fault])):
            check_segmented_env(make_segmented_vec(partial(Dot, fault), 1))


def test_training_says_at_which_step_a_reward_was_not_finite():
    env = make_segmented_vec(partial(Dot, "reward nan"), 2)
    model = CAMALPPO("CamPolicy", env, n_steps=8, batch_size=8, policy_kwargs={"encoder": "compact"}, device="cpu")
    with pytest.raises(DivergedError, match=r"at step 4: the reward is not finite \(environment 0: step\(\) returned"):
        model.learn(16)


def test_attributes_are_set_on_the_environment_that_is_watched():
    venv = wrap_vec(DummyVecEnv([Dot]))
    venv.set_attr("count", 9)
    assert venv.unwrapped.envs[0].unwrapped.count == 9
