import math

import pytest
import torch

from camal_rl.supervised.ifam.losses import (
    background_loss,
    entropy_loss,
    equivariance_loss,
    orthogonality_loss,
    presence_loss,
    total_variation_loss,
)


def with_background(foreground):
    """Part maps of one foreground part and what is left over."""
    foreground = torch.as_tensor(foreground, dtype=torch.float64)
    return torch.stack([foreground, 1 - foreground], dim=-3)


def as_background(background):
    return with_background(1 - torch.as_tensor(background, dtype=torch.float64))


def test_total_variation_counts_the_steps_of_every_part():
    # One step down and one to the right, in the part and in the background: 4, over 4 cells.
    maps = with_background([[[1, 0], [0, 0]]])
    assert total_variation_loss(maps).item() == pytest.approx(1.0)
    both = torch.cat([maps, with_background([[[1, 1], [1, 1]]])])
    assert total_variation_loss(both).item() == pytest.approx(0.5)


def test_entropy_is_the_mean_over_patches():
    maps = with_background([[[1, 0.5], [0.5, 0.25]]])
    quarter = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert entropy_loss(maps).item() == pytest.approx((0 + 2 * math.log(2) + quarter) / 4, abs=1e-4)


def test_entropy_of_certain_patches_has_a_finite_gradient():
    maps = with_background([[[1, 0], [0, 1]]]).requires_grad_()
    entropy_loss(maps).backward()
    assert torch.isfinite(maps.grad).all()


def test_presence_is_the_best_3x3_block_in_the_batch():
    maps = torch.zeros(2, 3, 4, 4, dtype=torch.float64)
    maps[1, 0, :3, :3] = 1  # a whole block in one image is enough
    maps[0, 1, 2, 2] = 1  # a single cell is a ninth of a block
    maps[:, 2] = 1 - maps[:, :2].sum(dim=1)
    assert presence_loss(maps).item() == pytest.approx(1 - (1 + 1 / 9) / 2)


@pytest.mark.parametrize(
    ("background", "expected"),
    [
        (torch.ones(5, 5), 0.0),
        # Blocks of 3x3: 9/9 in the center (r^2 = 0), 6/9 beside it (1/2), 4/9 in the corners (1).
        (torch.nn.functional.pad(torch.ones(3, 3), (1, 1, 1, 1)), -math.log(4 / 9)),
        (torch.nn.functional.pad(torch.ones(1, 1), (2, 2, 2, 2)), math.log(9)),
        (torch.zeros(5, 5), -math.log(1e-6)),
    ],
)
def test_background_counts_near_the_border(background, expected):
    assert background_loss(as_background(background[None])).item() == pytest.approx(expected)


def test_background_is_asked_of_every_image():
    batch = as_background(torch.stack([torch.ones(5, 5), torch.nn.functional.pad(torch.ones(1, 1), (2, 2, 2, 2))]))
    assert background_loss(batch).item() == pytest.approx(math.log(9) / 2)


def test_orthogonality_is_the_mean_squared_cosine():
    features = torch.tensor([[[1.0, 0], [3, 0], [0, 2]]])
    assert orthogonality_loss(features).item() == pytest.approx(2 / 9)
    assert orthogonality_loss(torch.eye(3)[None]).item() == pytest.approx(0)


def test_equivariance_compares_the_visible_cells_of_the_foreground():
    maps, returned = with_background([[[1, 1], [0, 0]]]), with_background([[[1, 0], [0, 0]]])
    visible = torch.ones(1, 2, 2, dtype=torch.bool)
    assert equivariance_loss(maps, returned, visible).item() == pytest.approx(1 - 1 / math.sqrt(2))
    visible[0, 0, 1] = False
    assert equivariance_loss(maps, returned, visible).item() == pytest.approx(0)


@pytest.mark.parametrize("loss", [total_variation_loss, entropy_loss, presence_loss, background_loss])
def test_map_losses_pass_gradcheck(loss):
    generator = torch.Generator().manual_seed(1)
    maps = torch.randn(2, 3, 5, 5, dtype=torch.float64, generator=generator).softmax(dim=1).requires_grad_()
    assert torch.autograd.gradcheck(loss, (maps,))


def test_feature_and_equivariance_losses_pass_gradcheck():
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(orthogonality_loss, (features,))
    maps, returned = (torch.rand(2, 3, 4, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    visible = torch.rand(2, 4, 4, generator=generator) > 0.3
    assert torch.autograd.gradcheck(equivariance_loss, (maps.requires_grad_(), returned.requires_grad_(), visible))
