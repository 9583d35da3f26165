"""The contract: class names, relevant sets, and finding segmentation in a chain of wrappers."""

from collections import UserDict

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecMonitor, VecTransposeImage

from camal_rl.agents import CAMALPPO, CamalConfig
from camal_rl.envs import (
    SegmentationSpec,
    SegmentedGymVecEnv,
    find_segmented,
    make_segmented_vec,
    make_vec,
    wrap_vec,
)
from camal_rl.envs.segmentation import as_spec
from camal_rl.envs.toy_grid.env import ToyGridEnv
from camal_rl.envs.wrappers import SegmentedFrameStack
from tests.agents.fakes import CountingEnv

SPEC = SegmentationSpec(names=("background", "agent", "goal"), relevant=("goal",))


def test_lookup_marks_the_relevant_ids_only():
    lookup = SPEC.relevant_lookup()
    assert (lookup.shape, lookup.dtype) == ((256,), np.bool_)
    assert np.flatnonzero(lookup).tolist() == [2]
    labels = np.array([[0, 1], [2, 255]], dtype=np.uint8)
    np.testing.assert_array_equal(lookup[labels], [[False, False], [True, False]])


def test_an_empty_relevant_set_marks_nothing():
    assert not SegmentationSpec(names=("background",), relevant=()).relevant_lookup().any()


def test_relevant_set_can_be_replaced():
    assert SPEC.with_relevant(["agent", "goal"]).relevant == ("agent", "goal")
    assert SPEC.with_relevant(None) is SPEC
    with pytest.raises(ValueError, match="unknown relevant class 'gaol'; the classes are background, agent, goal"):
        SPEC.with_relevant(["gaol"])


@pytest.mark.parametrize("names", [(), tuple(str(item) for item in range(257))])
def test_number_of_classes_is_checked(names):
    with pytest.raises(ValueError, match="1 to 256 classes"):
        SegmentationSpec(names=names, relevant=())


def test_names_are_unique():
    with pytest.raises(ValueError, match="unique"):
        SegmentationSpec(names=("a", "b", "a"), relevant=())


def test_found_through_wrappers():
    env = make_vec("toy_grid/default", 2, 0)
    assert find_segmented(env) is env
    assert find_segmented(VecFrameStack(VecTransposeImage(env), 2)) is env


def test_not_found_where_there_is_none():
    assert find_segmented(VecTransposeImage(DummyVecEnv([ToyGridEnv]))) is None


AS_YAML_HAS_IT = {"names": ["background", "agent", "goal"], "relevant": ["goal"]}


def test_lists_and_dictionaries_become_specs():
    assert SegmentationSpec(["background", "agent", "goal"], ["goal"]) == SPEC == as_spec(AS_YAML_HAS_IT)
    assert as_spec(UserDict(AS_YAML_HAS_IT)) == SPEC
    assert as_spec(SPEC) is SPEC
    assert hash(as_spec(AS_YAML_HAS_IT)) == hash(SPEC)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"names": ["a"]}, TypeError, "relevant is missing"),
        ({**AS_YAML_HAS_IT, "relevants": []}, TypeError, "unknown key 'relevants' in a spec; did you mean 'relevant'"),
        ({"names": "agent", "relevant": []}, TypeError, "names must be a list of class names, got 'agent'"),
        ({"names": ["a", "b"], "relevant": "b"}, TypeError, "relevant must be a list of class names, got 'b'"),
        ({"names": ["a", "b"], "relevant": [1]}, TypeError, r"relevant must be a list of class names, got \[1\]"),
        ({"names": {0: "a"}, "relevant": []}, TypeError, "names must be a list of class names"),
        ({"names": None, "relevant": []}, TypeError, "names must be a list of class names, got None"),
        ({"names": ["a"], "relevant": ["b"]}, ValueError, "unknown relevant class 'b'"),
        (("a", "b"), TypeError, r"SegmentationSpec\(names, relevant\), or a dictionary"),
        (None, TypeError, "got None"),
    ],
)
def test_what_is_no_spec_is_refused_in_one_line(given, error, message):
    with pytest.raises(error, match=message) as caught:
        as_spec(given)
    assert "\n" not in str(caught.value)


def with_spec(spec):
    return type("WithSpec", (CountingEnv,), {"spec": spec})


def test_a_spec_is_checked_wherever_it_is_given():
    wrong = {"names": ["background"], "relevant": ["dot"]}
    right = {"names": ["background", "dot"], "relevant": ["dot"]}
    dot = SegmentationSpec(("background", "dot"), ("dot",))
    own = type("Own", (ToyGridEnv,), {"segmentation_spec": property(lambda self: right, lambda self, spec: None)})
    for give in (
        lambda spec: wrap_vec(DummyVecEnv([ToyGridEnv]), spec),
        lambda spec: make_segmented_vec(ToyGridEnv, 1, spec),
        lambda spec: SegmentedGymVecEnv(DummyVecEnv([ToyGridEnv]), spec),
        lambda spec: with_spec(spec)(),
    ):
        assert give(right).spec == dot
        with pytest.raises(ValueError, match="unknown relevant class 'dot'"):
            give(wrong)
    assert make_segmented_vec(own, 1).spec == wrap_vec(DummyVecEnv([own])).spec == dot
    env = CountingEnv()
    env.spec = right
    assert env.spec == dot
    with pytest.raises(ValueError, match="unknown relevant class 'dot'"):
        env.spec = wrong


def test_relevant_classes_are_a_list():
    with pytest.raises(TypeError, match="relevant must be a list of class names, got 'goal'"):
        SPEC.with_relevant("goal")


def test_wrap_vec_takes_the_environments_own_spec():
    env = wrap_vec(VecMonitor(DummyVecEnv([ToyGridEnv])))
    assert env.spec.names[2] == "goal"
    with pytest.raises(ValueError, match="no attribute segmentation_spec; give spec="):
        wrap_vec(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]))
    with pytest.raises(TypeError, match=r"wrap_vec needs an SB3 VecEnv, got ToyGridEnv; .*make_segmented_vec"):
        wrap_vec(ToyGridEnv())


class Named(ToyGridEnv):
    def __init__(self, **given):
        super().__init__(**given)
        self.action_names = ["hop", "right", "duck", "left"]


class AleStyle(ToyGridEnv):
    def __init__(self, **given):
        super().__init__(**given)
        del self.action_names

    def get_action_meanings(self):
        return ["NOOP", "UP", "DOWN", "FIRE"]


class TwoOfThem(gymnasium.ActionWrapper):
    action_space = gymnasium.spaces.Discrete(2)

    def action(self, action):
        return action + 1


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (Named, ("hop", "right", "duck", "left")),
        (lambda: SegmentedFrameStack(Named(), 2), ("hop", "right", "duck", "left")),
        (AleStyle, ("NOOP", "UP", "DOWN", "FIRE")),
        (lambda: TwoOfThem(Named()), None),
    ],
    ids=["own", "through a wrapper", "as ALE has them", "other actions"],
)
def test_names_of_actions_come_from_the_environment(make, names):
    env = make_segmented_vec(make, 1)
    assert env.action_names == names
    assert find_segmented(VecTransposeImage(VecMonitor(env))).action_names == names


@pytest.mark.parametrize("make", [ToyGridEnv, lambda: DummyVecEnv([ToyGridEnv])])
def test_training_on_an_environment_without_segmentation_names_what_makes_one_with(make):
    with pytest.raises(ValueError, match=r"make_vec.*make_segmented_vec\(MyEnv, num_envs\).*wrap_vec") as caught:
        CAMALPPO("CamPolicy", make(), camal=CamalConfig(weight=0.1), policy_kwargs={"encoder": "compact"})
    assert "\n" not in str(caught.value)
