import math

import numpy as np
import pytest
import torch

from camal_rl.supervised.ifam.affine import random_affine, warp, warp_back
from camal_rl.supervised.ifam.parts import (
    PartStage,
    foreground_mask,
    part_features,
    part_maps,
    sampled_mask,
    straight_through,
)
from camal_rl.supervised.ifam.vit import MaskedAttention, MaskedViT, masked_softmax

pytestmark = pytest.mark.usefixtures("own_random_numbers")


def test_masked_softmax_shares_among_the_kept_keys():
    scores = torch.tensor([0, math.log(2), math.log(5)], dtype=torch.float64)
    keep = torch.tensor([1.0, 1, 0], dtype=torch.float64, requires_grad=True)
    weights = masked_softmax(scores, keep)
    assert weights.tolist() == pytest.approx([1 / 3, 2 / 3, 0])
    assert weights[2] == 0
    weights[0].backward()
    # a_0 = m_0 / (m_0 + 2 m_1 + 5 m_2)
    assert keep.grad.tolist() == pytest.approx([1 / 3 - 1 / 9, -2 / 9, -5 / 9])


def test_masked_softmax_passes_gradcheck_and_survives_huge_scores_left_out():
    scores = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    keep = torch.tensor([[1.0, 0, 1, 1, 0], [1, 0, 0, 0, 0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(masked_softmax, (scores, keep))
    assert torch.autograd.gradgradcheck(masked_softmax, (scores, keep))
    huge = torch.tensor([0.0, 500.0], requires_grad=True)
    chosen = torch.tensor([1.0, 0.0], requires_grad=True)
    masked_softmax(huge, chosen)[0].backward()
    assert torch.isfinite(huge.grad).all()
    assert torch.isfinite(chosen.grad).all()


def test_masked_attention_equals_attention_over_the_kept_tokens_alone():
    attention = MaskedAttention(8, 2).double()
    tokens = torch.randn(1, 5, 8, dtype=torch.float64)
    keep = torch.tensor([[1.0, 0, 1, 0, 1]], dtype=torch.float64)
    kept = [0, 2, 4]
    torch.testing.assert_close(attention(tokens, keep)[:, kept], attention(tokens[:, kept], None))


def test_vit_gives_the_class_token_first_and_refuses_other_sizes():
    vit = MaskedViT((16, 24), patch_size=8, dim=8, depth=1, heads=2)
    assert vit.grid == (2, 3)
    assert vit.encode(vit.embed(torch.rand(2, 3, 16, 24))).shape == (2, 7, 8)
    with pytest.raises(ValueError, match=r"images must be of size \(16, 24\), got \(24, 16\)"):
        vit.embed(torch.rand(2, 3, 24, 16))


def stage(parts=2, part_dropout=0.0):
    vit = MaskedViT((32, 32), patch_size=8, dim=8, depth=1, heads=2)
    return PartStage(vit, 3, parts=parts, temperature=1.0, part_dropout=part_dropout)


def test_part_logits_are_negative_squared_distances():
    part_stage = stage()
    tokens = torch.randn(2, 16, 8)
    centers, points = part_stage.prototypes.detach().numpy(), tokens.numpy()
    expected = -np.square(points[:, None] - centers[None, :, None]).sum(axis=-1)
    np.testing.assert_allclose(part_stage.distances(tokens).detach().numpy(), expected, atol=1e-4)


def test_maps_sum_to_one_and_without_noise_are_the_softmax():
    logits = torch.tensor([math.log(1), math.log(3)]).view(1, 2, 1, 1)
    assert part_maps(logits, 1.0, noisy=False).flatten().tolist() == pytest.approx([0.25, 0.75])
    assert part_maps(logits, 0.5, noisy=False).flatten().tolist() == pytest.approx([0.1, 0.9])
    noisy = part_maps(torch.zeros(1, 3, 50, 50), 1.0, noisy=True)
    torch.testing.assert_close(noisy.sum(dim=1), torch.ones(1, 50, 50))
    assert noisy.std() > 0.1


def test_part_features_are_the_weighted_mean():
    tokens = torch.tensor([[[1.0, 0], [0, 4]]])
    maps = torch.tensor([[[[1.0, 0.25]], [[0.0, 0.75]]]])
    expected = torch.tensor([[[1 / 1.25, 1 / 1.25], [0, 4]]])
    torch.testing.assert_close(part_features(tokens, maps), expected)


def test_stage_prediction_is_the_mean_of_the_parts():
    part_stage = stage()
    features = torch.randn(2, 3, 8)
    weights = part_stage.classifiers.detach().numpy()
    expected = (features[:, 0].numpy() @ weights[0].T + features[:, 1].numpy() @ weights[1].T) / 2
    np.testing.assert_allclose(part_stage.classify(features).detach().numpy(), expected, atol=1e-6)
    features[:, 2] += 1  # the background does not classify
    np.testing.assert_allclose(part_stage.classify(features).detach().numpy(), expected, atol=1e-6)


def test_part_dropout_leaves_whole_parts_out():
    part_stage = stage(parts=1, part_dropout=0.3)
    logits = part_stage.classify(torch.ones(2000, 2, 8))
    dropped = (logits == 0).all(dim=1).float().mean().item()
    assert dropped == pytest.approx(0.3, abs=0.05)
    assert torch.unique(logits.detach(), dim=0).shape[0] == 2


def test_foreground_mask_takes_the_best_part():
    logits = torch.tensor([[[[-1.0, -9, -5]], [[-9.0, -2, -5]], [[-3.0, -3, -5]]]])
    assert foreground_mask(logits).tolist() == [[[True, True, False]]]


def test_straight_through_is_exact_with_the_gradient_of_the_soft_mask():
    soft = torch.tensor([0.1, 0.3333, 0.5001, 0.77, 1.0, 0.0], requires_grad=True)
    hard = straight_through(soft)
    assert hard.tolist() == [0, 0, 1, 1, 1, 0]
    hard.sum().backward()
    assert soft.grad.tolist() == [1] * 6


def test_sampled_mask_follows_the_gumbel_distribution():
    logits = torch.zeros(4, 3, 100, 100, requires_grad=True)
    with torch.no_grad():
        logits[:, 0] = 1.0
        logits[:, 1] = -7.0
    mask = sampled_mask(logits, 0.7, 0.0)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    # P(f + g_1 > b + g_2) = sigma(f - b), whatever the temperature.
    assert mask.mean().item() == pytest.approx(1 / (1 + math.exp(-1)), abs=0.01)
    mask.sum().backward()
    assert logits.grad[:, 0].min() >= 0 >= logits.grad[:, 2].max()
    assert logits.grad[:, 0].mean() > 0.01
    assert logits.grad[:, 1].abs().max() == 0


def test_mask_dropout_leaves_a_part_out_of_a_whole_image():
    logits = torch.zeros(2000, 2, 2, 2, requires_grad=True)
    with torch.no_grad():
        logits[:, 0] = 50.0
    mask = sampled_mask(logits, 1.0, 0.3)
    per_image = mask.mean(dim=(1, 2))
    assert set(per_image.tolist()) == {0.0, 1.0}
    assert per_image.mean().item() == pytest.approx(0.7, abs=0.05)
    mask.sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_warp_by_a_quarter_turn_and_back():
    images = torch.rand(1, 3, 8, 8)
    turn = torch.tensor([[[0.0, -1, 0], [1, 0, 0]]])
    torch.testing.assert_close(warp(images, turn), torch.rot90(images, 1, (2, 3)))
    returned, visible = warp_back(warp(images, turn), turn)
    torch.testing.assert_close(returned, images)
    assert visible.all()


def test_warp_back_knows_what_has_left_the_image():
    images = torch.arange(16.0).view(1, 1, 4, 4)
    shift = torch.tensor([[[1.0, 0, 0.5], [0, 1, 0]]])  # reads one column further right: the first leaves
    moved = warp(images, shift)
    torch.testing.assert_close(moved[..., :3], images[..., 1:])
    returned, visible = warp_back(moved, shift)
    assert visible[0].tolist() == [[False, True, True, True]] * 4
    torch.testing.assert_close(returned[..., 1:], images[..., 1:])


def test_random_affines_are_rotations_in_pixels_within_their_ranges():
    height, width = 32, 64
    affine = random_affine(500, (height, width), torch.Generator().manual_seed(3))
    assert affine.shape == (500, 2, 3)
    to_pixels = np.diag([width, height])
    linear = to_pixels @ affine[:, :, :2].double().numpy() @ np.linalg.inv(to_pixels)
    scales = np.sqrt(np.linalg.det(linear))
    turns = linear / scales[:, None, None]
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.broadcast_to(np.eye(2), (500, 2, 2)), atol=1e-5)
    assert 1 / 1.4 <= scales.min() < 0.73
    assert 1.22 < scales.max() <= 1 / 0.8 + 1e-6
    assert turns[:, 0, 0].min() >= -1e-6
    assert affine[:, :, 2].abs().max() <= 0.22
    assert torch.equal(affine, random_affine(500, (height, width), torch.Generator().manual_seed(3)))
