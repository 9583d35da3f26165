"""Maps of pixels: literals worked out by hand, naive loops as oracles, and what a call must leave alone."""

import importlib.util
import os
import sys

import pytest
import torch

from camal_rl.metrics import fill_images, policy_divergence, preferred_action_drop, value_change
from camal_rl.saliency.attribution import CAPTUM_METHODS, captum_map
from camal_rl.saliency.perturbation_maps import perturbation_map
from tests.method.networks import small_cnn

needs_captum = pytest.mark.skipif(
    importlib.util.find_spec("captum") is None and "CI" not in os.environ, reason="needs camal-rl[explain]"
)

NINE = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
# Sums of the four 2x2 windows of NINE: 12, 16, 24, 28; a pixel gets the mean over the windows that cover it.
NINE_COVERED = torch.tensor([[[12.0, 14.0, 16.0], [18.0, 20.0, 22.0], [24.0, 26.0, 28.0]]])
RAGGED = torch.tensor([[[[1.0, 0.0, 2.0, 0.0, 4.0], [0.0, 0.0, 0.0, 0.0, 0.0]]]])


def pixel_sum(images):
    return images.flatten(1).sum(dim=1, keepdim=True)


def magnitude(reference, perturbed):
    return (reference - perturbed).abs().squeeze(2)


def probabilities(net):
    return lambda images: net(images.float() / 255).softmax(dim=1)


class TestPerturbationMap:
    def test_by_hand(self):
        found = perturbation_map(NINE, pixel_sum, magnitude, window=2, stride=1, fill="zero")
        torch.testing.assert_close(found, NINE_COVERED)

    def test_last_window_is_moved_back_to_the_border(self):
        # Windows over columns 0-1, 2-3 and 3-4 take away 1, 2 and 4.
        found = perturbation_map(RAGGED, pixel_sum, magnitude, window=2, stride=2, fill="zero")
        torch.testing.assert_close(found, torch.tensor([[[1.0, 1.0, 2.0, 3.0, 4.0]] * 2]))

    def test_a_window_as_large_as_the_image_is_one_number(self):
        found = perturbation_map(NINE, pixel_sum, magnitude, window=3, stride=3, fill="zero")
        torch.testing.assert_close(found, torch.full((1, 3, 3), 45.0))

    def test_a_surer_decision_under_cover_counts_as_none(self):
        # The left pixel argues for action 0, the right one against it: without it action 0 is surer.
        def evaluate(images):
            logit = images[:, 0, 0, 0] - images[:, 0, 0, 1]
            return torch.stack([logit, torch.zeros_like(logit)], dim=1).softmax(dim=1)

        images = torch.tensor([[[[2.0, 1.0]]]])
        found = perturbation_map(images, evaluate, preferred_action_drop, window=1, stride=1, fill="zero")
        sure = torch.sigmoid(torch.tensor(1.0)) - torch.sigmoid(torch.tensor(-1.0))
        torch.testing.assert_close(found, torch.stack([sure, torch.tensor(0.0)]).view(1, 1, 2))

    @pytest.mark.parametrize("fill", ["mean", "blur", "zero"])
    @pytest.mark.parametrize("chunk_size", [1, 2, 7, 64])
    def test_equals_a_naive_loop_in_chunks_of_any_size(self, fill, chunk_size):
        evaluate = probabilities(small_cnn())
        generator = torch.Generator().manual_seed(3)
        images = torch.randint(0, 256, (3, 3, 8, 8), generator=generator, dtype=torch.uint8)
        copy, sizes = images.clone(), []

        def watched(batch):
            assert batch.dtype == torch.uint8
            sizes.append(len(batch))
            return evaluate(batch)

        found = perturbation_map(images, watched, policy_divergence, 4, 3, fill, chunk_size)
        assert max(sizes) <= chunk_size
        assert torch.equal(images, copy)
        total, count = torch.zeros(3, 8, 8), torch.zeros(8, 8)
        for top in (0, 3, 4):
            for left in (0, 3, 4):
                mask = torch.zeros(8, 8, dtype=torch.bool)
                mask[top : top + 4, left : left + 4] = True
                before, after = evaluate(images), evaluate(torch.where(mask, fill_images(images, fill), images))
                divergence = (before * (before / after).log()).sum(dim=1)
                total += divergence[:, None, None] * mask
                count += mask
        torch.testing.assert_close(found, total / count, rtol=1e-3, atol=1e-7)
        assert found.min() >= 0

    def test_value_change_has_the_unit_of_all_images_also_in_chunks(self):
        images = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(0))
        found = [perturbation_map(images, pixel_sum, value_change, 2, 2, chunk_size=size) for size in (1, 64)]
        torch.testing.assert_close(*found)
        spread = pixel_sum(images).std(correction=0)
        expected = perturbation_map(images, pixel_sum, magnitude, 2, 2) / spread
        torch.testing.assert_close(found[0], expected)

    def test_nan_stays_where_it_came_from(self):
        def evaluate(images):
            return torch.where(images[:, :, 0, 0] == 0, torch.nan, images.sum(dim=(2, 3)))

        found = perturbation_map(NINE, evaluate, magnitude, window=1, stride=1, fill="zero")
        assert found.isnan().sum() == 1
        assert found[0, 0, 0].isnan()

    def test_a_model_that_sees_nothing_has_a_zero_map(self):
        def evaluate(images):
            return torch.full((len(images), 1), 0.3)

        assert not perturbation_map(NINE, evaluate, magnitude, window=2, stride=1).any()

    @pytest.mark.parametrize(
        ("change", "error", "match"),
        [
            ({"images": NINE[0]}, ValueError, "at least one image, got shape"),
            ({"images": NINE[:0]}, ValueError, "at least one image"),
            ({"images": NINE.long()}, TypeError, "uint8 or floating point"),
            ({"window": 4}, ValueError, r"window must be in 1 \.\. 3"),
            ({"stride": 3}, ValueError, r"stride must be in 1 \.\. 2"),
            ({"fill": "noise"}, ValueError, "unknown fill 'noise'"),
            ({"chunk_size": 0}, ValueError, "chunk_size"),
            ({"evaluate": lambda images: images[:, 0, 0, 0]}, ValueError, r"must return \(1, K\)"),
            ({"evaluate": lambda images: images[:, 0, 0].long()}, TypeError, "floating point numbers"),
        ],
    )
    def test_bad_input(self, change, error, match):
        good = {"images": NINE, "evaluate": pixel_sum, "change": magnitude, "window": 2, "stride": 1}
        perturbation_map(**good)
        with pytest.raises(error, match=match):
            perturbation_map(**{**good, **change})

    @pytest.mark.gpu
    def test_cuda_equals_cpu(self):
        net = small_cnn().double()
        images = torch.randint(0, 256, (3, 3, 8, 8), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)

        def evaluate(batch):
            return net(batch.double() / 255).softmax(dim=1)

        here = perturbation_map(images, evaluate, policy_divergence, 4, 3)
        net.cuda()
        there = perturbation_map(images.cuda(), evaluate, policy_divergence, 4, 3)
        assert there.is_cuda
        torch.testing.assert_close(there.cpu(), here)


@needs_captum
class TestCaptumMap:
    @pytest.mark.parametrize("baseline", ["mean", "zero"])
    def test_integrated_gradients_of_a_linear_score_by_formula(self, baseline):
        weight = torch.tensor([[[1.0, -2.0], [0.5, 0.0]], [[3.0, 1.0], [-1.0, 2.0]]])
        images = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 4.0], [4.0, 0.0]]]])
        mean = torch.tensor([3.0, 2.0] if baseline == "mean" else [0.0, 0.0]).view(2, 1, 1)
        expected = (weight * (images[0] - mean)).abs().sum(dim=0, keepdim=True)

        def score(batch):
            return (batch * weight).sum(dim=(1, 2, 3))

        found = captum_map("integrated_gradients", score, images, baseline=baseline, steps=3)
        torch.testing.assert_close(found, expected)

    def test_integrated_gradients_of_a_square_by_hand(self):
        # score = x^2 at x = 3 from 0: the whole difference, 9; the plain gradient would give 6.
        found = captum_map("integrated_gradients", lambda x: x[:, 0, 0, 0] ** 2, NINE[:, :, :1, 2:3], baseline="zero")
        torch.testing.assert_close(found, torch.tensor([[[9.0]]]))

    def test_occlusion_by_hand(self):
        def score(images):
            return images.flatten(1).sum(dim=1)

        found = captum_map("occlusion", score, NINE, baseline="zero", window=2, stride=1)
        torch.testing.assert_close(found, NINE_COVERED)
        both = captum_map("occlusion", lambda x: -score(x), NINE.repeat(1, 2, 1, 1), (), "zero", window=2, stride=1)
        torch.testing.assert_close(both, 4 * NINE_COVERED)
        # The last window is cut off at the border: columns 0-1, 2-3 and 4.
        ragged = captum_map("occlusion", score, RAGGED, baseline="zero", window=2, stride=2)
        torch.testing.assert_close(ragged, torch.tensor([[[1.0, 1.0, 2.0, 2.0, 4.0]] * 2]))

    @pytest.mark.parametrize("method", CAPTUM_METHODS)
    @pytest.mark.parametrize("chunk_size", [1, 2, 64])
    def test_context_goes_with_its_image_in_chunks_of_any_size(self, method, chunk_size):
        net = small_cnn()
        images = torch.randint(0, 256, (3, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
        actions, copy, sizes = torch.tensor([2, 0, 3]), images.clone(), []

        def score(batch, chosen):
            sizes.append(len(batch))
            return net(batch / 255).gather(1, chosen[:, None]).squeeze(1)

        found = captum_map(method, score, images, (actions,), chunk_size=chunk_size, window=4, stride=2)
        assert max(sizes) <= chunk_size
        assert torch.equal(images, copy)
        assert found.shape == (3, 8, 8)
        assert found.min() >= 0
        for index, action in enumerate(actions):
            alone = captum_map(
                method, lambda x, a=action: net(x / 255)[:, a], images[index : index + 1], window=4, stride=2
            )
            torch.testing.assert_close(found[index], alone[0], rtol=1e-3, atol=1e-5 * float(alone.max()))

    def test_nothing_is_left_behind(self):
        net = small_cnn()
        net[0].train(False)
        modes = [module.training for module in net.modules()]
        images = torch.rand(2, 3, 8, 8)
        for method in CAPTUM_METHODS:
            found = captum_map(method, lambda x: net(x)[:, 0], images, window=4)
            assert not found.requires_grad
            with pytest.raises(ValueError, match=r"one number per image, shape \(\d+,\), got"):
                captum_map(method, net, images, window=4)
        assert not images.requires_grad
        assert all(parameter.grad is None for parameter in net.parameters())
        assert [module.training for module in net.modules()] == modes
        assert not any(module._forward_hooks or module._backward_hooks for module in net.modules())

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"method": "saliency"}, "unknown attribution method 'saliency'"),
            ({"images": NINE[0]}, "at least one image"),
            ({"baseline": "noise"}, "unknown fill 'noise'"),
            ({"context": (torch.zeros(2),)}, r"one row per image \(1\)"),
            ({"steps": 0}, "steps must be at least 1"),
            ({"method": "occlusion", "window": 2, "stride": 3}, "stride 3 and window 2"),
            ({"method": "occlusion", "window": 4}, "<= 3"),
            ({"chunk_size": 0}, "chunk_size"),
        ],
    )
    def test_bad_input(self, change, match):
        good = {"method": "integrated_gradients", "score": lambda x, *_: x.sum(dim=(1, 2, 3)), "images": NINE}
        captum_map(**good)
        with pytest.raises(ValueError, match=match):
            captum_map(**{**good, **change})


def test_without_captum_the_error_holds_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ImportError, match=r"pip install 'captum>=0\.8'$"):
        captum_map("integrated_gradients", lambda x: x.sum(dim=(1, 2, 3)), NINE)
