"""States go through tensors and JSON with every type and bit as it was."""

import json
import math
import random

import numpy as np
import pytest
import torch

from camal_rl.state_tree import from_bytes, pack, to_bytes, unpack


def through_json(tree):
    """Pack, write and read the JSON part, unpack."""
    tensors, data = pack(tree)
    return unpack(tensors, json.loads(json.dumps(data, allow_nan=False)))


@pytest.mark.parametrize(
    "tree",
    [
        None,
        True,
        -3,
        2**127 + 1,
        0.1 + 0.2,
        -0.0,
        float("inf"),
        "text",
        b"",
        b"\x00\xff",
        [1, [2.5, None]],
        (1, (2, "a")),
        {"a": {"b": ()}},
        {1: "int key", "1": "text key"},
        {("a", 2): [b"x"]},
        {"$tensor": "a key that looks like a mark"},
        {},
    ],
)
def test_plain_states_come_back_equal_and_of_the_same_type(tree):
    found = through_json(tree)
    assert found == tree
    assert type(found) is type(tree)
    assert repr(found) == repr(tree)


def test_nan_comes_back():
    assert math.isnan(through_json([float("nan")])[0])


@pytest.mark.parametrize("scalar", [np.float64(0.1), np.float32(0.1), np.int64(-3), np.bool_(True), np.uint8(255)])
def test_numpys_numbers_stay_numbers(scalar):
    found = through_json([scalar])[0]
    assert type(found) is type(scalar)
    assert found == scalar


def test_a_state_can_be_bytes():
    tree = {"a": [1, (np.arange(3), b"x")], "b": np.float64(0.1), "c": torch.ones(2)}
    found = from_bytes(to_bytes(tree))
    assert repr(found) == repr(tree)
    with pytest.raises(ValueError, match="something else"):
        from_bytes(b"anything")


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "uint32", "uint64", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_arrays_come_back_bit_for_bit(dtype, shape):
    array = np.arange(math.prod(shape), dtype=np.int64).reshape(shape).astype(dtype)
    found = through_json({"array": array})["array"]
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()


def test_tensors_come_back_bit_for_bit_and_own_their_memory():
    base = torch.randn(4, 6, dtype=torch.bfloat16)
    tree = {"a": base, "view": base.t(), "half": base[:, ::2]}
    found = through_json(tree)
    assert all(torch.equal(found[name], tree[name]) and found[name].is_contiguous() for name in tree)
    tensors, _ = pack(tree)
    assert len({each.data_ptr() for each in tensors.values()}) == 3


def test_names_that_look_alike_stay_apart():
    tree = {"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}}
    found = through_json(tree)
    assert found["a.b"].item() == 0
    assert found["a"]["b"].item() == 1


def test_states_of_random_generators_and_optimizers_come_back():
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    own = np.random.default_rng(3)
    tree = {
        "python": random.getstate(),
        "numpy": np.random.RandomState(1).get_state(legacy=False),
        "own": own.bit_generator.state,
        "torch": torch.get_rng_state(),
        "optimizer": optimizer.state_dict(),
    }
    found = through_json(tree)
    assert found["python"] == tree["python"]
    assert found["own"] == tree["own"]
    assert np.array_equal(found["numpy"]["state"]["key"], tree["numpy"]["state"]["key"])
    assert torch.equal(found["torch"], tree["torch"])
    other = torch.optim.Adam(torch.nn.Linear(3, 2).parameters())
    other.load_state_dict(found["optimizer"])
    assert torch.equal(other.state_dict()["state"][0]["exp_avg"], tree["optimizer"]["state"][0]["exp_avg"])


@pytest.mark.parametrize("value", [object(), {"a": [1, {2}]}, np.array(["text"]), np.array([object()])])
def test_what_cannot_be_held_is_named_with_its_place(value):
    with pytest.raises(TypeError, match=r"state.*which a checkpoint cannot store"):
        pack(value)


@pytest.mark.parametrize(
    "data",
    [
        {"$tensor": "missing"},
        {"$tensor": 3},
        {"$array": None},
        {"$float": "1e5"},
        {"$tuple": 3},
        {"$pairs": [[1]]},
        {"$import": "os"},
        {"$tuple": [], "more": 1},
    ],
)
def test_what_does_not_belong_together_is_refused(data):
    with pytest.raises(ValueError, match=r"is missing|not part of a state|alone"):
        unpack({}, [data])
