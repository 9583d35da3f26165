"""The contract: class names, relevant sets, and finding segmentation in a chain of wrappers."""

import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecTransposeImage

from camal_rl.envs import SegmentationSpec, find_segmented, make_vec
from camal_rl.envs.toy_grid.env import ToyGridEnv

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
