import dataclasses

import pytest
import torch

from camal_rl.supervised.ifam import IfamWeights, build_ifam
from camal_rl.supervised.model_protocols import HasBuiltInAttention, HasCustomLosses

SMALL = {"patch_size": 8, "dim": 16, "depth": 2, "heads": 2, "parts": 2}


pytestmark = pytest.mark.usefixtures("own_random_numbers")


@pytest.fixture
def model():
    return build_ifam(3, (32, 32), **SMALL).eval()


def mixed_mask():
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, 1:3, 1:3] = True
    mask[1, 3, 0] = True
    return mask


def to_pixels(mask):
    return mask.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)[:, None].expand(-1, 3, -1, -1)


def test_it_keeps_the_contracts(model):
    assert isinstance(model, HasCustomLosses)
    assert isinstance(model, HasBuiltInAttention)
    assert model.get_submodule(model.cam_layer) is model.stage2.blocks[1].norm1
    assert (model.token_grid, model.prefix_tokens) == ((4, 4), 1)
    images = torch.rand(2, 3, 32, 32)
    assert model(images).shape == (2, 3)
    attention = model.built_in_attention(images)
    assert attention.dtype == torch.float32
    assert torch.equal(attention, model.foreground_mask(images).float())
    assert not attention.requires_grad


@pytest.mark.parametrize("value", [0.0, 1.0, -300.0, 1e30, float("inf"), float("nan")])
@pytest.mark.parametrize("training", [False, True])
def test_nothing_outside_the_mask_can_change_the_prediction(model, value, training):
    model.train(training)
    images, mask = torch.rand(2, 3, 32, 32), mixed_mask()
    changed = torch.where(to_pixels(mask), images, torch.full_like(images, value))
    assert torch.equal(model.predict_with_mask(images, mask), model.predict_with_mask(changed, mask))


def test_what_is_inside_the_mask_does_change_the_prediction(model):
    images, mask = torch.rand(2, 3, 32, 32), mixed_mask()
    before = model.predict_with_mask(images, mask)
    images[0, :, 8, 8] += 0.5
    after = model.predict_with_mask(images, mask)
    assert not torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


def test_forward_ignores_the_outside_as_long_as_stage_1_keeps_its_mask(model):
    images = torch.rand(8, 3, 32, 32)
    with torch.no_grad():  # one patch's token stands for the foreground, another's for the background
        tokens = model.stage1.part_logits(model.normalize(images))[1]
        model.stage1.prototypes.copy_(torch.stack([tokens[0, 5], tokens[1, 5], tokens[0, 15]]))
    mask = model.foreground_mask(images)
    assert mask.any()
    assert not mask.all()
    changed = torch.where(to_pixels(mask), images, images + 0.001 * torch.randn_like(images))
    same = (model.foreground_mask(changed) == mask).flatten(1).all(dim=1)
    partly = same & mask.flatten(1).any(dim=1) & ~mask.flatten(1).all(dim=1)
    assert partly.sum() >= 4
    distances = [model.stage1.part_logits(model.normalize(x))[0] for x in (images, changed)]
    assert not torch.equal(*distances)  # stage 1 does see the change
    assert torch.equal(model(images)[partly], model(changed)[partly])


def test_gradient_of_the_prediction_is_zero_outside_the_mask(model):
    images, mask = torch.rand(2, 3, 32, 32, requires_grad=True), mixed_mask()
    (gradient,) = torch.autograd.grad(model.predict_with_mask(images, mask)[:, 0].sum(), images)
    seen = gradient.abs().amax(dim=1) > 0
    assert not (seen & ~to_pixels(mask)[:, 0]).any()
    assert seen.flatten(1).any(dim=1).all()


def test_an_empty_mask_leaves_the_class_token_alone(model):
    logits = model.predict_with_mask(torch.rand(2, 3, 32, 32), torch.zeros(2, 4, 4, dtype=torch.bool))
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=1e-6)


def test_stage_2_alone_teaches_stage_1(model):
    model.train()
    images = torch.rand(8, 3, 32, 32)
    losses = model.training_losses(images, torch.arange(8) % 3).losses
    losses["stage2"].backward()
    for parameter in (model.stage1.prototypes, model.stage1.vit.patches.pattern[0].weight, model.stage1.vit.positions):
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().sum() > 0
    assert model.stage1.classifiers.grad is None


def test_an_unchosen_patch_is_taken_in_when_that_lowers_the_loss(model):
    """The sign of the straight-through gradient against the loss with the patch taken in."""
    model = model.double()
    images, mask = torch.rand(2, 3, 32, 32).double(), mixed_mask()
    patches = model.stage2.embed(model.normalize(images))
    keep = mask.flatten(1).double().requires_grad_()
    (gradient,) = torch.autograd.grad(model._classify(patches, keep)[0, 0], keep)
    step = 1e-6 * torch.zeros_like(keep).index_fill_(1, torch.tensor([0]), 1.0)
    numeric = (model._classify(patches, keep + step) - model._classify(patches, keep))[0, 0] / 1e-6
    assert not mask[0, 0, 0]
    assert gradient[0, 0].item() == pytest.approx(numeric.item(), rel=1e-4)


def test_without_noise_training_and_prediction_agree(model):
    images = torch.rand(4, 3, 32, 32)
    logits = model.training_losses(images, torch.arange(4) % 3).logits
    torch.testing.assert_close(logits, model(images))
    model.train()
    torch.testing.assert_close(logits, model(images))


def test_losses_are_weighted_and_named_as_the_weights(model):
    images, labels = torch.rand(4, 3, 32, 32), torch.arange(4) % 3
    losses = model.training_losses(images, labels).losses
    assert set(losses) == {field.name for field in dataclasses.fields(IfamWeights)}
    assert all(loss.shape == () for loss in losses.values())
    model.weights = IfamWeights(stage1=3, presence=0.5, equivariance=0)
    weighted = model.training_losses(images, labels).losses
    assert "equivariance" not in weighted
    assert weighted["stage1"].item() == pytest.approx(3 * losses["stage1"].item())
    assert weighted["presence"].item() == pytest.approx(losses["presence"].item() / 2)
    assert weighted["background"].item() == pytest.approx(losses["background"].item())
    assert IfamWeights() == IfamWeights(1, 1, 1, 1, 1, 2, 1, 1)


def test_during_the_warmup_the_losses_on_parts_count_in_part(model):
    images, labels = torch.rand(4, 3, 32, 32), torch.arange(4) % 3
    model.weights, model.warmup = IfamWeights(equivariance=0), 0.4
    after = model.training_losses(images, labels, 0.4).losses
    half = model.training_losses(images, labels, 0.2).losses
    for name, loss in model.training_losses(images, labels).losses.items():
        share = 1.0 if name in ("stage1", "stage2") else 0.5
        assert after[name].item() == loss.item()
        assert half[name].item() == pytest.approx(share * loss.item())
    model.warmup = 0.0
    assert model.training_losses(images, labels, 0.0).losses["entropy"].item() == after["entropy"].item()


def test_during_the_warmup_stage_2_sees_whole_images_less_and_less(model):
    model.train()
    logits = torch.zeros(4000, 3, 1, 1, requires_grad=True)
    with torch.no_grad():
        logits[:, 2] = 50.0  # all background: a 1 is an image seen as a whole
    for warmth in (0.0, 0.25, 1.0):
        mask = model._training_mask(logits, warmth)
        assert mask.mean().item() == pytest.approx(1 - warmth, abs=0.03)
    (gradient,) = torch.autograd.grad(model._training_mask(logits, 0.0).sum(), logits)
    assert gradient.abs().max() == 0
    assert model.eval()._training_mask(logits, 0.0).max() == 0


def test_mixed_precision_gives_finite_gradients(model):
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model.training_losses(torch.rand(4, 3, 32, 32), torch.arange(4) % 3).losses
    sum(losses.values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_it_learns_32_images():
    images = 0.3 * torch.rand(32, 3, 32, 32)
    labels = torch.arange(32) % 2
    for index in range(32):  # the class is the color of a square somewhere
        row, column = torch.randint(0, 6, (2,)).tolist()
        images[index, labels[index], 4 * row : 4 * row + 8, 4 * column : 4 * column + 8] = 1.0
    model = build_ifam(2, (32, 32), patch_size=4, dim=32, depth=1, heads=2, parts=2)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(40):
        loss = sum(model.training_losses(images, labels).losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    assert (model(images).argmax(dim=1) == labels).float().mean() >= 0.95
    assert 0.005 < model.built_in_attention(images).mean() < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 7}, "patch_size must divide the image, got 7 for images of 32x32"),
        ({"patch_size": 16}, "at least 4x4 patches"),
        ({"dim": 15}, "dim must be a multiple of heads, got 15 and 2"),
        ({"depth": 0}, "must be positive"),
        ({"parts": 0}, "parts and temperature must be positive, got 0"),
        ({"temperature": 0.0}, "parts and temperature must be positive"),
        ({"mask_dropout": 1.0}, r"must be in \[0, 1\), got 0.3 and 1.0"),
        ({"warmup": 1.0}, r"warmup must be a share of training in \[0, 1\), got 1.0"),
        ({"weights": {"presense": 1.0}}, "unknown iFAM weight 'presense'; did you mean 'presence'?"),
        ({"weights": {"presence": -1.0}}, "'presence' must be finite and at least 0, got -1.0"),
    ],
)
def test_wrong_options_are_one_clear_line(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        build_ifam(3, (32, 32), **{**SMALL, **options})
    assert "\n" not in str(caught.value)


def test_wrong_types_are_one_clear_line(model):
    with pytest.raises(TypeError, match="weight 'presence' must be a number, got 'much'"):
        build_ifam(3, (32, 32), **SMALL, weights={"presence": "much"})
    with pytest.raises(TypeError, match="must be IfamWeights or a mapping"):
        build_ifam(3, (32, 32), **SMALL, weights=[1.0])
    images = torch.rand(2, 3, 32, 32)
    with pytest.raises(TypeError, match="mask must be boolean"):
        model.predict_with_mask(images, mixed_mask().float())
    with pytest.raises(ValueError, match=r"mask must be \(2, 4, 4\)"):
        model.predict_with_mask(images, mixed_mask()[:, :3])
    with pytest.raises(TypeError, match="images must be floating point"):
        model((255 * images).byte())
