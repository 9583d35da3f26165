import subprocess
import sys

import numpy as np
import pytest
import torch
from accelerate.data_loader import SeedableRandomSampler
from torch import nn
from torch.nn import functional
from transformers import get_cosine_schedule_with_warmup

import camal_rl.camal_term
import camal_rl.supervised
from camal_rl.losses import LOSSES, camal_loss
from camal_rl.runs.checkpoints import checkpoint_folders, read_checkpoint
from camal_rl.supervised import CamalConfig, LogConfig, OptimizationConfig, Trainer
from camal_rl.supervised.model_protocols import TrainingLosses
from tests.supervised.fakes import DeepHeadNet, PooledNet, Squares

SHORT = OptimizationConfig(epochs=2, batch_size=8, learning_rate=0.01, warmup_fraction=0.2)
QUIET = LogConfig(every=0, images=0, overlays=0)


def fit(model, data, folder=None, **settings):
    settings = {"optimization": SHORT, "log": QUIET, "device": "cpu", "folder": folder, **settings}
    return Trainer(model, data, **settings).fit()


def parameters(model):
    return [value.detach().clone() for value in model.state_dict().values()]


def same(first, second):
    return all(torch.equal(left, right) for left, right in zip(parameters(first), parameters(second), strict=True))


def order(data, epoch, seed=0):
    sampler = SeedableRandomSampler(data, data_seed=seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def plain_loop(model, data, extra=lambda *_: 0.0, epochs=2, size=8):
    """Train by a loop that knows nothing of the package; ``extra`` adds to the loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    steps = epochs * (len(data) // size)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(0.2 * steps), steps)
    for epoch in range(epochs):
        indices = order(data, epoch)
        for start in range(0, len(data) - size + 1, size):
            samples = [data[index] for index in indices[start : start + size]]
            images = torch.stack([sample.image for sample in samples]).float() / 255
            labels = torch.tensor([sample.label for sample in samples])
            loss = functional.cross_entropy(model(images), labels) + extra(model, images, labels, samples)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model


def camal_by_hand(model, images, labels, samples):
    """The CAMAL term of PooledNet written out: maps from the weights, cells from the masks, the formula of the loss."""
    features = model.features(images)
    maps = torch.einsum("bc,bcij->bij", model.head.weight[labels], features).relu()
    total, count = 0.0, 0
    for cam, sample in zip(maps, samples, strict=True):
        cells = sample.mask.view(4, 4, 4, 4).permute(0, 2, 1, 3).flatten(2).any(dim=2).float()
        if cells.sum() == 0:
            continue
        peak = cam.max()
        cam = cam / peak if peak > 1e-12 else cam
        energy = cam.sum()
        outside = 1 - (cam * cells).sum() / energy if energy > 0 else 1.0
        total = total + 0.5 * ((1 - cam) ** 2 * cells).sum() / cells.sum() + outside
        count += 1
    return 0.3 * total / max(count, 1)


def test_both_paradigms_use_the_very_same_loss():
    assert camal_rl.supervised.camal_loss is camal_loss
    assert camal_rl.supervised.trainer.attention_loss is camal_rl.camal_term.attention_loss
    assert camal_rl.supervised.trainer.attention_loss("camal") is camal_loss is LOSSES["camal"]


def test_weight_0_is_the_plain_loop_bit_for_bit_and_makes_no_map(monkeypatch):
    def no_map(*_):
        raise AssertionError("a map was made")

    monkeypatch.setattr("camal_rl.supervised.cam_classifier.CamClassifier.training_map", no_map)
    monkeypatch.setattr("camal_rl.supervised.cam_classifier.CamClassifier.capture", no_map)
    monkeypatch.setattr("camal_rl.supervised.cam_classifier.CamClassifier._probe", no_map)
    data, ours = Squares(), PooledNet()
    ours.cam_layer = None
    fit(ours, data, camal=CamalConfig(weight=0.0))
    assert same(ours, plain_loop(PooledNet(), data))
    assert not same(ours, PooledNet())


def test_weight_0_with_held_out_figures_is_still_the_plain_loop(tmp_path):
    data, ours = Squares(), PooledNet()
    camal = CamalConfig(weight=0.0)
    fit(ours, data, tmp_path, camal=camal, held_out=Squares(seed=1), log=LogConfig(every=1, checkpoint_every=1))
    assert same(ours, plain_loop(PooledNet(), data))


@pytest.mark.parametrize("masked", [None, {0, 1, 5, 9}, {3}])
def test_training_equals_a_loop_written_by_hand(masked):
    data, ours = Squares(masked=masked), PooledNet()
    summary = fit(ours, data, camal=CamalConfig(weight=0.3, inside_weight=0.5))
    assert summary["closed_form"] is True
    theirs = plain_loop(PooledNet(), data, camal_by_hand)
    for left, right in zip(parameters(ours), parameters(theirs), strict=True):
        assert torch.allclose(left, right, atol=1e-5)
    assert not torch.allclose(ours.head.weight, plain_loop(PooledNet(), data).head.weight, atol=1e-4)


def test_autograd_and_closed_form_train_to_the_same_parameters(monkeypatch):
    fast, slow = PooledNet(), PooledNet()
    fit(fast, Squares())
    monkeypatch.setattr("camal_rl.supervised.cam_classifier.find_pooled_head", lambda *_: None)
    assert fit(slow, Squares())["closed_form"] is False
    for left, right in zip(parameters(fast), parameters(slow), strict=True):
        assert torch.allclose(left, right, atol=1e-5)


def test_a_set_without_masks_is_refused_unless_nothing_asks_for_them():
    with pytest.raises(ValueError, match="needs masks, but no training image has one"):
        Trainer(PooledNet(), Squares(masked=set()), device="cpu")
    Trainer(PooledNet(), Squares(masked=set()), device="cpu", camal=CamalConfig(weight=0.0))


def test_camal_moves_attention_onto_the_squares():
    settings = OptimizationConfig(epochs=25, batch_size=8, learning_rate=0.01)
    found = {}
    for weight in (0.0, 1.0):
        trainer = Trainer(
            PooledNet(channels=8), Squares(32), Squares(32, seed=1), camal=CamalConfig(weight=weight),
            optimization=settings, log=LogConfig(every=0, overlays=0), device="cpu",
        )  # fmt: skip
        found[weight] = trainer.fit()["last"]
    assert found[1.0]["camal/class/epg"] > found[0.0]["camal/class/epg"] + 0.2
    assert found[1.0]["camal/class/epg"] > 0.6


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_resumed_training_equals_uninterrupted_training(tmp_path, dropout):
    data, log = Squares(), LogConfig(every=1, images=0, checkpoint_every=1)
    settings = {"optimization": OptimizationConfig(epochs=3, batch_size=8), "log": log, "device": "cpu"}
    whole, resumed = PooledNet(dropout=dropout), PooledNet(seed=9, dropout=dropout)
    Trainer(whole, data, folder=tmp_path / "whole", **settings).fit()
    (_, first), *_ = checkpoint_folders(tmp_path / "whole" / "checkpoints")
    checkpoint = read_checkpoint(first)
    summary = Trainer(resumed, data, folder=tmp_path / "resumed", **settings).fit(resume=checkpoint)
    assert summary["timesteps"] == 9
    assert same(whole, resumed)


def test_an_interrupt_leaves_a_usable_model():
    def stop(step, _):
        if step == 2:
            raise KeyboardInterrupt

    model = PooledNet()
    trainer = Trainer(model, Squares(), optimization=SHORT, log=QUIET, device="cpu")
    summary = trainer.fit(on_step=stop)
    assert summary["interrupted"]
    assert summary["timesteps"] == 2
    assert "forward" not in vars(model)


def test_bfloat16_trains_in_mixed_precision_and_leaves_float32_parameters():
    seen = []
    model = PooledNet()
    model.features.register_forward_hook(lambda *call: seen.append(call[2].dtype))
    half = OptimizationConfig(epochs=1, batch_size=8, precision="bfloat16")
    summary = fit(model, Squares(), optimization=half)
    assert torch.bfloat16 in seen
    assert summary["closed_form"] is True
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert model(torch.rand(1, 3, 16, 16)).dtype == torch.float32
    assert "forward" not in vars(model)


def test_float16_needs_cuda():
    half = OptimizationConfig(precision="float16")
    with pytest.raises(ValueError, match="float16 needs CUDA"):
        Trainer(PooledNet(), Squares(), optimization=half, device="cpu")


def test_the_callers_random_state_stays():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(PooledNet(dropout=0.5), Squares())
    assert torch.equal(torch.rand(3), expected)


def test_the_schedule_of_the_weight_follows_the_steps():
    seen = []
    model = PooledNet()
    camal = CamalConfig(weight=0.4, schedule="warmup", schedule_fraction=0.5)
    trainer = Trainer(model, Squares(), optimization=SHORT, log=LogConfig(every=1, images=0), camal=camal, device="cpu")
    steps = [camal.weight_at(step / 6) for step in range(6)]
    assert np.allclose(steps, [0.0, 0.4 / 3, 0.8 / 3, 0.4, 0.4, 0.4])
    run = camal_rl.supervised.trainer._Run
    step = run._step

    def record(self, batch):
        figures = step(self, batch)
        seen.append(figures["camal/weight"])
        return figures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_step", record)
        trainer.fit()
    assert np.allclose(seen, steps)


class OwnLosses(PooledNet):
    """Its own loss is half of the cross-entropy, twice."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def training_losses(self, images, labels, progress):
        self.seen.append(progress)
        logits = self(images)
        loss = functional.cross_entropy(logits, labels) / 2
        return TrainingLosses(logits, {"stage_1": loss, "stage_2": loss})


def test_a_models_own_losses_replace_the_cross_entropy():
    data, ours = Squares(), OwnLosses()
    fit(ours, data, camal=CamalConfig(weight=0.0))
    assert np.allclose(ours.seen, np.arange(6) / 6)
    for left, right in zip(parameters(ours), parameters(plain_loop(PooledNet(), data)), strict=True):
        assert torch.allclose(left, right, atol=1e-5)


def test_tensorboard_holds_losses_alignment_and_pictures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = LogConfig(every=2, images=8, overlays=2)
    fit(DeepHeadNet(), Squares(), tmp_path, held_out=Squares(seed=1), log=log)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    expected = {"train/loss", "train/cross_entropy", "train/accuracy", "camal/loss", "camal/inside", "camal/outside"}
    assert expected | {"held_out/accuracy", "camal/class/epg", "camal/class/iou"} <= set(tags["scalars"])
    assert tags["images"] == ["camal/attention"]
    assert [scalar.step for scalar in events.Scalars("train/loss")] == [2, 4, 6]
    assert [scalar.step for scalar in events.Scalars("held_out/accuracy")] == [0, 3, 6]


def test_a_model_with_nothing_to_train_is_refused():
    model = PooledNet()
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter that requires gradients"):
        fit(model, Squares(), camal=CamalConfig(weight=0.0), layer=None)
    assert isinstance(model, nn.Module)


def test_a_missing_extra_is_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match=r"install it with: pip install 'transformers>=5.12' 'accelerate>=1.2'$"):
        Trainer(PooledNet(), Squares(), device="cpu")


def test_agents_and_the_command_line_do_not_import_the_extra():
    code = (
        "import sys, camal_rl.agents, camal_rl.cli.main, camal_rl.comparison.local, camal_rl.rl.task\n"
        "import camal_rl.supervised\n"
        "sys.exit(any(name in sys.modules for name in ('accelerate', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_mask_of_another_size_is_one_line():
    class Wrong(Squares):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return sample._replace(mask=sample.mask[:8])

    with pytest.raises(ValueError, match=r"a mask must be bool and have its image's size \(16, 16\), got .*\(8, 16\)"):
        Trainer(PooledNet(), Wrong(), device="cpu")


def test_an_empty_mask_contributes_nothing():
    class Emptied(Squares):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return sample if index % 3 else sample._replace(mask=torch.zeros_like(sample.mask))

    emptied, unmarked = PooledNet(), PooledNet()
    fit(emptied, Emptied())
    fit(unmarked, Squares(masked={index for index in range(24) if index % 3}))
    assert same(emptied, unmarked)
