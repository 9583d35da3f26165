"""Rank correlation of many rows at once."""

import numpy as np
import pytest
import torch
from scipy import stats

from camal_rl.metrics import spearman
from camal_rl.metrics.ranking import mean_ranks, pearson


def test_by_hand():
    first = torch.tensor([[1.0, 2, 3, 4]]).repeat(4, 1)
    second = torch.tensor([[10.0, 20, 30, 400], [4, 3, 2, 1], [1, 2, 4, 3], [1, 1, 2, 2]])
    # Without ties 1 - 6 sum d^2 / (n (n^2 - 1)), d^2 = 2 in the third row; the last: ranks 1.5 1.5 3.5 3.5.
    expected = torch.tensor([1.0, -1, 0.8, 4 / (5**0.5 * 4**0.5)], dtype=torch.float64)
    torch.testing.assert_close(spearman(first, second), expected)
    assert mean_ranks(torch.tensor([[5.0, 1, 5, 7]])).tolist() == [[2.5, 1, 2.5, 4]]


def test_equals_scipy_with_ties():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randint(0, 6, (20, 30), generator=generator).float() for _ in range(2))
    second = second + first
    ranks, linear = spearman(first, second), pearson(first, second)
    for row in range(20):
        assert float(ranks[row]) == pytest.approx(stats.spearmanr(first[row], second[row]).statistic, abs=1e-12)
        assert float(linear[row]) == pytest.approx(np.corrcoef(first[row], second[row])[0, 1], abs=1e-6)


def test_undefined_rows():
    first = torch.tensor([[1.0, 1, 1], [1, 2, torch.nan], [1, 2, torch.inf], [1, 2, 3]])
    second = torch.tensor([[1.0, 2, 3]]).repeat(4, 1)
    for correlation in (spearman, pearson):
        assert correlation(first, second).isnan().tolist() == [True, True, True, False]
        assert correlation(second, first).isnan().tolist() == [True, True, True, False]
    with pytest.raises(ValueError, match=r"shape \(B, P\)"):
        spearman(first, second[:2])
