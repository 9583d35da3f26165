"""What is there anyway is not saved with a graph of objects: it is put back where something referred to it."""

from collections import deque

import pytest

from camal_rl.envs import object_graphs
from camal_rl.envs.object_graphs import PackageClasses, graph_of, graph_tree
from camal_rl.envs.saved_values import NotSavableError

CLASSES = PackageClasses("camal_rl")


def test_known_objects_are_named_and_others_take_their_places():
    here, there = object(), object()
    root = {"a": [here, 1], "b": (here, "known"), "c": deque([2, here])}
    tree = graph_tree(root, CLASSES, {"world": here})
    found = graph_of(tree, CLASSES, {"world": there})
    assert found["a"] == [there, 1]
    assert found["b"] == (there, "known")
    assert list(found["c"]) == [2, there]
    assert "object at" not in str(tree)


def test_what_is_not_known_is_refused():
    with pytest.raises(NotSavableError, match="object cannot be part of a saved state"):
        graph_tree([object()], CLASSES, {"world": object()})


def test_objects_of_the_package_keep_their_references_to_what_is_known():
    here, other = object(), object()
    thing = PackageClasses("somewhere")
    thing.world = here
    found = graph_of(graph_tree([thing, thing], CLASSES, {"w": here}), CLASSES, {"w": other})
    assert found[0] is found[1]
    assert type(found[0]) is object_graphs.PackageClasses
    assert found[0].world is other
