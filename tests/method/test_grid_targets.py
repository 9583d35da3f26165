"""Target regions on the CAM grid, against plain loops and adaptive pooling."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from camal_rl.targets import grid_target, target_tensor


def lookup(*relevant):
    table = np.zeros(256, dtype=bool)
    table[list(relevant)] = True
    return table


def by_loops(labels, relevant, grid, coverage):
    count, height, width = labels.shape
    result = np.zeros((count, *grid), dtype=np.uint8)
    for n, i, j in np.ndindex(count, *grid):
        rows = slice(i * height // grid[0], math.ceil((i + 1) * height / grid[0]))
        columns = slice(j * width // grid[1], math.ceil((j + 1) * width / grid[1]))
        cell = relevant[labels[n, rows, columns]]
        if cell.any():
            result[n, i, j] = 255 if coverage == "any" else max(1, round(255 * cell.mean()))
    return result


def test_by_hand():
    labels = np.array([[[0, 1, 0, 0], [0, 0, 0, 2], [3, 3, 1, 1], [3, 0, 1, 1]]], dtype=np.uint8)
    np.testing.assert_array_equal(grid_target(labels, lookup(1, 2), (2, 2)), [[[255, 255], [0, 255]]])
    np.testing.assert_array_equal(grid_target(labels, lookup(1, 2), (2, 2), "soft"), [[[64, 64], [0, 255]]])
    np.testing.assert_array_equal(grid_target(labels, lookup(3), (2, 2), "soft"), [[[0, 0], [191, 0]]])


@pytest.mark.parametrize("coverage", ["any", "soft"])
@pytest.mark.parametrize("shape", [(64, 64), (30, 42), (17, 16)])
@pytest.mark.parametrize("grid", [(16, 16), (4, 7), (1, 1), (13, 5)])
def test_equals_plain_loops(shape, grid, coverage):
    rng = np.random.default_rng(0)
    labels = np.where(rng.random((3, *shape)) < 0.03, rng.integers(1, 256, (3, *shape)), 0).astype(np.uint8)
    relevant = rng.random(256) < 0.4
    relevant[0] = False
    found = grid_target(labels, relevant, grid, coverage)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, by_loops(labels, relevant, grid, coverage))


def test_any_equals_adaptive_max_pooling():
    rng = np.random.default_rng(1)
    labels = (rng.random((5, 64, 64)) < 0.01).astype(np.uint8) * 7
    pooled = functional.adaptive_max_pool2d(torch.from_numpy(labels == 7).float(), (11, 9))
    np.testing.assert_array_equal(grid_target(labels, lookup(7), (11, 9)) == 255, pooled.numpy() == 1)


def test_one_pixel_never_vanishes():
    labels = np.zeros((1, 64, 64), dtype=np.uint8)
    labels[0, 40, 9] = 5
    for coverage, expected in (("any", 255), ("soft", 1)):
        target = grid_target(labels, lookup(5), (2, 2), coverage)
        assert target[0, 1, 0] == expected
        assert (target > 0).sum() == 1


def test_nothing_relevant_and_everything_relevant():
    labels = np.full((2, 8, 8), 9, dtype=np.uint8)
    assert (grid_target(labels, lookup(), (4, 4)) == 0).all()
    assert (grid_target(labels, lookup(9), (4, 4), "soft") == 255).all()
    assert grid_target(labels[:0], lookup(9), (4, 4)).shape == (0, 4, 4)


def test_labels_are_not_changed():
    labels = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    before = labels.copy()
    grid_target(labels, lookup(3), (4, 4))
    np.testing.assert_array_equal(labels, before)


def test_target_tensor():
    stored = torch.tensor([[[0, 51, 255]]], dtype=torch.uint8)
    torch.testing.assert_close(target_tensor(stored), torch.tensor([[[0.0, 0.2, 1.0]]]))
    assert target_tensor(stored).max() == 1
    with pytest.raises(TypeError, match="uint8"):
        target_tensor(torch.zeros(1, 2, 2))


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"labels": np.zeros((1, 8, 8))}, TypeError, "uint8"),
        ({"labels": np.zeros((8, 8), np.uint8)}, ValueError, "N, H, W"),
        ({"relevant": np.zeros(256)}, TypeError, "bool"),
        ({"relevant": np.zeros(5, bool)}, ValueError, r"\(256,\)"),
        ({"grid": (9, 4)}, ValueError, "grid must be between"),
        ({"grid": (0, 4)}, ValueError, "grid must be between"),
        ({"coverage": "most"}, ValueError, "any, soft"),
    ],
)
def test_bad_input(change, error, match):
    good = {"labels": np.zeros((1, 8, 8), np.uint8), "relevant": lookup(1), "grid": (4, 4)}
    with pytest.raises(error, match=match):
        grid_target(**{**good, **change})
