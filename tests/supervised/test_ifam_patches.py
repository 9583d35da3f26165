import numpy as np
import pytest
import torch

from camal_rl.supervised.ifam.patches import SMALLEST_VARIANCE, PatchEmbedding

pytestmark = pytest.mark.usefixtures("own_random_numbers")


@pytest.fixture
def embedding():
    return PatchEmbedding(4, 6).double()


def pattern_only(embedding):
    """The pattern's part of the tokens: the color counts for nothing."""
    with torch.no_grad():
        embedding.color.weight.zero_()
        embedding.color.bias.zero_()
    return embedding


def test_tokens_are_those_of_the_formula_row_by_row(embedding):
    images = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    tokens = embedding(images)
    assert tokens.shape == (2, 6, 6)
    patch = images[1, :, 4:8, 8:12].numpy()  # second row, third column
    mean = patch.mean(axis=(1, 2))
    centered = patch - mean[:, None, None]
    pattern = torch.from_numpy(centered / np.sqrt(np.square(centered).mean() + SMALLEST_VARIANCE)).flatten()
    expected = embedding.pattern(pattern) + embedding.color(torch.from_numpy(mean))
    torch.testing.assert_close(tokens[1, 5], expected)


def test_a_pattern_is_the_same_at_every_contrast_and_brightness(embedding):
    images = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    pattern = pattern_only(embedding)
    shift = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64).view(1, 3, 1, 1)
    torch.testing.assert_close(pattern(images), pattern(0.4 * images + shift), rtol=0, atol=5e-3)
    assert (pattern(images) - pattern(images.flip(3))).abs().max() > 0.05


def test_a_patch_of_one_color_has_no_pattern_but_its_color(embedding):
    colors = torch.tensor([[0.3, -1.0, 2.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    images = colors[:, :, None, None].expand(2, 3, 4, 4).clone().requires_grad_()
    tokens = embedding(images)
    expected = embedding.pattern(torch.zeros(48, dtype=torch.float64)) + embedding.color(colors)
    torch.testing.assert_close(tokens[:, 0], expected)
    tokens.sum().backward()
    assert torch.isfinite(images.grad).all()


@pytest.mark.parametrize("value", [5.0, float("inf"), float("nan")])
def test_a_token_depends_on_its_own_patch_alone(embedding, value):
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    changed = images.clone()
    changed[0, :, :4, :4] = value
    changed[0, 1, 0, 0] = 0.0
    before, after = embedding(images), embedding(changed)
    assert torch.equal(before[0, 1:], after[0, 1:])
    assert torch.equal(before[1], after[1])
    assert not torch.equal(before[0, 0], after[0, 0])
