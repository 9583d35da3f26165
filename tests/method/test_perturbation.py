"""Perturbation curves on models that show which pixels they were given."""

import pytest
import torch

from camal_rl.metrics import FILLS, fill_images, perturbation_curve, remove_pixels


def pixels(images):
    return images.float().flatten(1)


IMAGE = torch.tensor([[[[10.0, 20.0], [30.0, 40.0]]]])
SALIENCY = torch.tensor([[[0.1, 0.9], [0.5, 0.2]]])


def test_deletion_by_hand():
    curve = perturbation_curve(IMAGE, SALIENCY, pixels, fractions=(0, 0.25, 0.5, 1), fill="zero")
    expected = [[10, 20, 30, 40], [10, 0, 30, 40], [10, 0, 0, 40], [0, 0, 0, 0]]
    torch.testing.assert_close(curve, torch.tensor(expected).float().unsqueeze(1))


def test_insertion_by_hand():
    curve = perturbation_curve(IMAGE, SALIENCY, pixels, "insertion", (0, 0.25, 0.75, 1), "mean")
    expected = [[25, 25, 25, 25], [25, 20, 25, 25], [25, 20, 30, 40], [10, 20, 30, 40]]
    torch.testing.assert_close(curve, torch.tensor(expected).float().unsqueeze(1))


def test_least_relevant_first_by_hand():
    deleted = perturbation_curve(IMAGE, SALIENCY, pixels, fractions=(0, 0.25, 0.5, 1), fill="zero", order="lerf")
    expected = [[10, 20, 30, 40], [0, 20, 30, 40], [0, 20, 30, 0], [0, 0, 0, 0]]
    torch.testing.assert_close(deleted, torch.tensor(expected).float().unsqueeze(1))
    shown = perturbation_curve(IMAGE, SALIENCY, pixels, "insertion", (0, 0.25, 0.75), "zero", order="lerf")
    expected = [[0, 0, 0, 0], [10, 0, 0, 0], [10, 0, 30, 40]]
    torch.testing.assert_close(shown, torch.tensor(expected).float().unsqueeze(1))


def test_one_order_is_the_other_read_backwards_also_with_ties():
    torch.manual_seed(0)
    images, saliency = torch.rand(3, 2, 4, 4), torch.randint(0, 3, (3, 4, 4)).float()
    fractions = (0, 0.25, 0.5, 0.75, 1)
    deleted = perturbation_curve(images, saliency, pixels, "deletion", fractions, order="lerf")
    shown = perturbation_curve(images, saliency, pixels, "insertion", fractions)
    torch.testing.assert_close(deleted, shown.flip(0), rtol=0, atol=0)


def test_remove_pixels_by_hand():
    removed = torch.tensor([[[True, False], [False, True]]])
    torch.testing.assert_close(remove_pixels(IMAGE, removed, "mean"), torch.tensor([[[[25.0, 20], [30, 25]]]]))
    torch.testing.assert_close(remove_pixels(IMAGE, removed, "zero"), torch.tensor([[[[0.0, 20], [30, 0]]]]))
    assert IMAGE[0, 0, 0, 0] == 10


def test_bad_removal():
    with pytest.raises(TypeError, match="must be bool"):
        remove_pixels(IMAGE, torch.ones(1, 2, 2))
    with pytest.raises(ValueError, match="removed must be"):
        remove_pixels(IMAGE, torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="use remove_pixels"):
        fill_images(IMAGE, "road")


def test_pixels_lose_all_channels_together():
    images = torch.arange(12, dtype=torch.uint8).view(1, 3, 2, 2) + 1
    curve = perturbation_curve(images, SALIENCY, pixels, fractions=(0.25,), fill="zero")
    assert curve[0, 0].view(3, 4)[:, 1].tolist() == [0, 0, 0]
    assert (curve[0, 0] > 0).sum() == 9


def test_mean_fill_is_each_images_own_color_in_its_dtype():
    images = torch.zeros(2, 3, 2, 2, dtype=torch.uint8)
    images[0, 1] = torch.tensor([[1, 2], [4, 4]])
    images[1, 2] = 200
    filled = fill_images(images, "mean")
    assert filled.dtype == torch.uint8
    assert filled[0, :, 1, 0].tolist() == [0, 3, 0]
    assert filled[1, :, 0, 1].tolist() == [0, 0, 200]


def test_blur_fill():
    flat = torch.full((1, 1, 16, 16), 0.7, dtype=torch.float64)
    torch.testing.assert_close(fill_images(flat, "blur"), flat)
    impulse = torch.zeros(1, 1, 33, 33, dtype=torch.float64)
    impulse[0, 0, 16, 16] = 1
    blurred = fill_images(impulse, "blur")[0, 0]
    sigma = 33 / 8
    offsets = torch.arange(-16, 17, dtype=torch.float64)
    gauss = torch.exp(-(offsets**2) / (2 * sigma**2))
    reach = offsets.abs() <= 13
    gauss = torch.where(reach, gauss, 0) / gauss[reach].sum()
    torch.testing.assert_close(blurred, gauss[:, None] * gauss[None])
    assert fill_images(torch.randint(0, 256, (2, 3, 9, 12), dtype=torch.uint8), "blur").dtype == torch.uint8


@pytest.mark.parametrize("mode", ["deletion", "insertion"])
@pytest.mark.parametrize("fill", FILLS)
def test_chunked_equals_unchunked_and_inputs_stay(mode, fill):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (7, 3, 8, 8), dtype=torch.uint8)
    saliency = torch.randint(0, 4, (7, 8, 8)).float()
    copies = images.clone(), saliency.clone()
    sizes = []

    def evaluate(batch):
        assert batch.dtype == torch.uint8
        sizes.append(len(batch))
        return pixels(batch)

    whole = perturbation_curve(images, saliency, evaluate, mode, fill=fill)
    chunked = perturbation_curve(images, saliency, evaluate, mode, fill=fill, chunk_size=3)
    assert whole.shape == (9, 7, 192)
    assert set(sizes) == {7, 3, 1}
    torch.testing.assert_close(whole, chunked, rtol=0, atol=0)
    torch.testing.assert_close((images, saliency), copies)
    full, none = (0, -1) if mode == "deletion" else (-1, 0)
    torch.testing.assert_close(whole[full], pixels(images))
    if fill != "road":  # its noise is drawn after the order of the pixels
        torch.testing.assert_close(whole[none], pixels(fill_images(images, fill)))


def test_equally_salient_pixels_go_in_random_order():
    images, saliency = torch.ones(400, 1, 2, 2), torch.full((400, 2, 2), 0.5)

    def removed(seed):
        generator = torch.Generator().manual_seed(seed)
        curve = perturbation_curve(images, saliency, pixels, fractions=(0.25,), fill="zero", generator=generator)
        return curve[0].argmin(dim=1)

    counts = removed(1).bincount(minlength=4)
    assert counts.sum() == 400
    assert counts.min() > 60  # 100 expected, standard deviation 8.7
    assert torch.equal(removed(1), removed(1))
    assert not torch.equal(removed(1), removed(2))


def test_ties_never_overtake_more_salient_pixels():
    saliency = torch.tensor([[[0.5, 0.5], [0.9, 0.5]]]).repeat(50, 1, 1)
    curve = perturbation_curve(torch.ones(50, 1, 2, 2), saliency, pixels, fractions=(0.25,), fill="zero")
    assert bool((curve[0].argmin(dim=1) == 2).all())


def test_saliency_that_is_not_finite_gives_nan():
    saliency = SALIENCY.repeat(2, 1, 1)
    saliency[1, 0, 0] = torch.nan
    curve = perturbation_curve(IMAGE.repeat(2, 1, 1, 1), saliency, pixels)
    assert not curve[:, 0].isnan().any()
    assert curve[:, 1].isnan().all()


def test_no_graph_is_built():
    weight = torch.ones(4, 1, requires_grad=True)
    assert not perturbation_curve(IMAGE, SALIENCY, lambda images: pixels(images) @ weight).requires_grad


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"images": torch.zeros(1, 2, 2)}, ValueError, "N, C, H, W"),
        ({"images": torch.zeros(1, 1, 2, 2, dtype=torch.int64)}, TypeError, "uint8 or floating"),
        ({"saliency": torch.zeros(1, 1, 1)}, ValueError, "upsample_cam"),
        ({"images": torch.zeros(0, 1, 2, 2), "saliency": torch.zeros(0, 2, 2)}, ValueError, "at least one image"),
        ({"mode": "delete"}, ValueError, "deletion, insertion"),
        ({"order": "random"}, ValueError, "morf, lerf"),
        ({"fill": "noise"}, ValueError, "mean, blur, zero, road"),
        ({"fractions": (0, 1.5)}, ValueError, r"in \[0, 1\]"),
        ({"fractions": ()}, ValueError, "one or more"),
        ({"chunk_size": 0}, ValueError, "chunk_size"),
        ({"evaluate": lambda images: pixels(images).sum(dim=1)}, ValueError, r"must return \(1, K\)"),
        ({"evaluate": lambda images: pixels(images).long()}, TypeError, "floating point"),
    ],
)
def test_bad_input(change, error, match):
    good = {"images": IMAGE, "saliency": SALIENCY, "evaluate": pixels}
    with pytest.raises(error, match=match):
        perturbation_curve(**{**good, **change})
