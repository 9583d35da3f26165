"""Properties that hold for all drawn nested states, label maps, levels, and truncated or changed bytes."""

import gymnasium
import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn_numpy

from camal_rl.envs import SegmentationSpec, make_segmented_vec, make_vec
from camal_rl.failures import RunFailure
from camal_rl.state_tree import from_bytes, pack, to_bytes, unpack

SPEC = SegmentationSpec(names=("background", "ball"), relevant=("ball",))
bounded = hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)

ARRAYS = drawn_numpy.arrays(
    st.sampled_from([np.uint8, np.int64, np.float32, np.float64, np.bool_, np.uint32]),
    drawn_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(max_size=20))
TREES = st.recursive(
    st.one_of(PLAIN, ARRAYS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.one_of(st.text(), st.integers(), st.sampled_from(["$tensor", "a.b"])), inner, max_size=4),
    ),
    max_leaves=12,
)


def equal(first, second):
    if isinstance(first, dict):
        return list(first) == list(second) and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()
    return repr(first) == repr(second)


def refusal(call):
    """Return the message with which a call refuses its input, or an empty text if it accepts it."""
    try:
        call()
    except (RunFailure, ValueError, TypeError) as error:
        return str(error) or "an error without a message\n"
    return ""


@bounded
@hypothesis.given(TREES)
def test_a_state_comes_back_with_every_type_and_bit(tree):
    tensors, data = pack(tree)
    assert type(found := unpack(tensors, data)) is type(tree)
    assert equal(tree, found)
    assert equal(tree, from_bytes(to_bytes(tree)))


@bounded
@hypothesis.given(TREES, st.data())
def test_bytes_that_were_changed_are_refused_or_give_a_state(tree, data):
    written = bytearray(to_bytes({"tree": tree, "weights": torch.arange(4)}))
    if data.draw(st.booleans()):
        written = written[: data.draw(st.integers(0, len(written) - 1))]
    else:
        written[data.draw(st.integers(0, len(written) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert "\n" not in refusal(lambda: from_bytes(bytes(written)))


class Drawn(gymnasium.Env):
    """An environment whose steps return a given label map."""

    observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, labels):
        self.labels = labels

    def reset(self, *, seed=None, options=None):
        return np.zeros((8, 8, 3), np.uint8), {"segmentation": np.zeros((8, 8), np.uint8)}

    def step(self, action):
        return np.zeros((8, 8, 3), np.uint8), 0.0, False, False, {"segmentation": self.labels}


LABELS = st.one_of(
    drawn_numpy.arrays(np.uint8, (8, 8), elements=st.integers(0, 1)),
    drawn_numpy.arrays(np.uint8, (8, 8), elements=st.integers(0, 255)),
    drawn_numpy.arrays(st.sampled_from([np.int64, np.float32, np.bool_, np.uint16]), (8, 8)),
    drawn_numpy.arrays(np.uint8, drawn_numpy.array_shapes(max_dims=3, max_side=9), elements=st.integers(0, 1)),
    st.sampled_from([None, [[0, 1]], "labels", 3]),
)


@bounded
@hypothesis.given(LABELS)
def test_a_label_map_is_refused_at_its_step_unless_it_is_one(labels):
    venv = make_segmented_vec(lambda: Drawn(labels), num_envs=1, seed=0, spec=SPEC)
    venv.reset()
    is_one = isinstance(labels, np.ndarray) and labels.dtype == np.uint8 and labels.shape == (8, 8)
    fits = is_one and labels.max() < len(SPEC.names)
    told = refusal(lambda: venv.step([0]))
    assert "\n" not in told
    assert (told == "") == fits
    if fits:
        assert np.array_equal(venv.segmentation()[0], labels)
    venv.close()


LEVELS = st.one_of(st.integers(-5, 300), st.integers(), st.floats(), st.text(max_size=3), st.none(), st.booleans())
NAMES = st.sampled_from(["num_levels", "start_level", "num_walls", "theme", "size", "max_steps", "no_such"])
OPTIONS = st.dictionaries(NAMES, LEVELS, max_size=3)


@bounded
@hypothesis.given(OPTIONS, LEVELS, st.sampled_from(["toy_grid/default", "minigrid/door_key"]))
def test_level_options_are_refused_in_one_line_or_give_levels(options, seed, env_id):
    made = []
    told = refusal(lambda: made.append(make_vec(env_id, 2, seed, **options)))
    assert "\n" not in told
    for venv in made:
        assert venv.reset().dtype == np.uint8
        assert venv.segmentation().max() < len(venv.spec.names)
        venv.close()


def test_the_attacks_can_fail():
    """A test of the tests: they notice a state that is not saved exactly."""
    assert not equal({"a": np.zeros(2)}, {"a": np.zeros(2, np.float32)})
    assert not equal((1,), (2,))
    with pytest.raises(TypeError):
        pack({"a": object()})
