"""Faithfulness correlation: subsets by hand, a plain loop, and Captum's ablation as the map."""

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation

from camal_rl.metrics import FILLS, faithfulness_correlation, preferred_action_drop, remove_pixels, value_change
from camal_rl.metrics.correlation import CellSubsets, correlate


def test_cells_tile_the_image():
    drawn = CellSubsets.draw(3, 2, (2, 3), (4, 7), torch.Generator().manual_seed(0))
    row = [0, 0, 0, 1, 1, 2, 2]
    assert drawn.cells.tolist() == [row, row, [3 + cell for cell in row], [3 + cell for cell in row]]


def test_masks_and_sums_belong_together():
    drawn = CellSubsets.draw(40, 3, (4, 4), (8, 8), torch.Generator().manual_seed(0))
    assert bool((drawn.chosen.sum(dim=2) == 4).all())
    assert not torch.equal(drawn.chosen[0], drawn.chosen[1])
    assert not torch.equal(drawn.chosen[:, 0], drawn.chosen[:, 1])
    saliency = torch.rand(3, 8, 8)
    by_mask = torch.stack([(mask * saliency).sum(dim=(1, 2)) for mask in drawn.masks(slice(None))])
    torch.testing.assert_close(drawn.sums(saliency).float(), by_mask)
    assert [len(mask) for mask in drawn.masks(slice(1, 3))] == [2] * 40


def weighted_sum(images):
    """A value: every pixel counts by its column, and by the square of the whole."""
    columns = torch.arange(1.0, images.shape[3] + 1, device=images.device)
    total = (images * columns).mean(dim=(1, 2, 3))
    return (total + 0.1 * total.square()).unsqueeze(1)


@pytest.mark.parametrize("fill", FILLS)
def test_equals_a_plain_loop(fill):
    torch.manual_seed(0)
    images, saliency = torch.rand(4, 2, 8, 8), torch.rand(4, 8, 8)
    found = faithfulness_correlation(
        images, saliency, weighted_sum, value_change, (4, 4), 10, fill, 3, torch.Generator().manual_seed(5)
    )
    source = torch.Generator().manual_seed(5)
    drawn = CellSubsets.draw(10, 4, (4, 4), (8, 8), source)
    state = source.get_state()  # ROAD's noise comes next, the same for every subset
    before = weighted_sum(images)
    sums, changes = np.zeros((10, 4)), np.zeros((10, 4))
    for subset, mask in enumerate(drawn.masks(slice(None))):
        after = weighted_sum(remove_pixels(images, mask, fill, source.set_state(state)))
        changes[subset] = ((before - after).abs() / before.std(correction=0))[:, 0]
        sums[subset] = [saliency[frame][mask[frame]].sum() for frame in range(4)]
    expected = [np.corrcoef(sums[:, frame], changes[:, frame])[0, 1] for frame in range(4)]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_captums_ablation_of_a_linear_model_is_perfect_and_its_inverse_inverted():
    torch.manual_seed(0)
    images, weight = torch.rand(5, 1, 8, 8), torch.rand(8, 8)

    def model(batch):
        return (batch * weight).mean(dim=(1, 2, 3)).unsqueeze(1)

    cells = CellSubsets.draw(3, 1, (4, 4), (8, 8), torch.Generator().manual_seed(0)).cells
    ablation = FeatureAblation(lambda batch: model(batch)[:, 0]).attribute(images, feature_mask=cells[None, None])
    saliency = ablation[:, 0]
    assert bool((saliency > 0).all())
    arguments = (model, lambda before, after: (before - after)[..., 0], (4, 4), 32, "zero")
    torch.testing.assert_close(faithfulness_correlation(images, saliency, *arguments), torch.ones(5))
    inverted = saliency.amax() - saliency
    torch.testing.assert_close(faithfulness_correlation(images, inverted, *arguments), -torch.ones(5))


def test_correlate_by_hand():
    sums = torch.tensor([[1.0, 1, 1], [2, 2, 1], [3, 3, 1]], dtype=torch.float64)
    sums[1, 2] += 1e-9  # rounding is no variance
    changes = torch.tensor([[2.0, 0.5, 2], [4, 0.5 + 3e-7, 4], [3, 0.5 - 3e-7, 3]])
    torch.testing.assert_close(correlate(sums, changes), torch.tensor([0.5, torch.nan, torch.nan]), equal_nan=True)
    torch.testing.assert_close(correlate(sums, 10 * changes)[1], torch.tensor(-0.5))


def test_no_variance_is_undefined():
    torch.manual_seed(0)
    images = torch.rand(4, 1, 8, 8)
    saliency = torch.rand(4, 8, 8)
    saliency[0] = 0.1
    saliency[1] *= 1e-13  # zero for every other metric, so here too
    saliency[2, 3, 3] = torch.inf
    found = faithfulness_correlation(images, saliency, weighted_sum, value_change)
    assert found.isnan().tolist() == [True, True, True, False]
    constant = faithfulness_correlation(
        images, torch.rand(4, 8, 8), lambda batch: torch.full((len(batch), 2), 0.5), preferred_action_drop
    )
    assert constant.isnan().all()


def test_chunked_equals_unchunked_and_inputs_stay():
    torch.manual_seed(0)
    images, saliency = torch.rand(5, 1, 8, 8), torch.rand(5, 8, 8)
    copies = images.clone(), saliency.clone()
    whole = faithfulness_correlation(images, saliency, weighted_sum, value_change, fill="road")
    chunked = faithfulness_correlation(images, saliency, weighted_sum, value_change, fill="road", chunk_size=2)
    torch.testing.assert_close(whole, chunked, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close((images, saliency), copies)


@pytest.mark.parametrize("change", [{"grid": (1, 1)}, {"grid": (9, 8)}, {"grid": (0, 4)}, {"subsets": 2}])
def test_bad_input(change):
    with pytest.raises(ValueError, match=r"must have two or more|at least 3"):
        faithfulness_correlation(torch.rand(1, 1, 8, 8), torch.rand(1, 8, 8), weighted_sum, value_change, **change)
