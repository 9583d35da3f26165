"""Training on images that was interrupted and resumed equals training that was not, bit for bit."""

import pickle
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from camal_rl.runs.checkpoints import checkpoint_folders, newest_checkpoint, read_checkpoint
from camal_rl.runs.folders import CheckpointWarning, DamagedFile
from camal_rl.runs.json_files import read_json
from camal_rl.runs.loading import load_config
from camal_rl.runs.run_folder import RunFolder
from camal_rl.supervised import LogConfig, OptimizationConfig, Trainer
from camal_rl.supervised.config import ModelConfig
from camal_rl.supervised.training import prepare, run
from tests.command_line import refusal, run_main
from tests.rl.test_resume import assert_equal
from tests.supervised.fakes import PooledNet, Squares

NAME = "supervised/spurious_shapes"
SETTINGS = [
    "data.image_size=32", "data.options.train_length=32", "data.options.validation_length=8", "data.augment=true",
    "data.options.test_length=8", "data.options.num_classes=2", "optimization.batch_size=8", "optimization.epochs=3",
    "optimization.precision=float32", "optimization.max_grad_norm=1.0", "evaluation.images=4", "log.images=4",
    "log.every=3", "log.checkpoint_every=1", "device=cpu",
]  # fmt: skip
STEPS = 12
KINDS = {
    "camal": ["model.options.width=8", "camal.weight=1", "camal.schedule=warmup"],
    "ifam": ["camal.weight=0"],
    "bfloat16": ["model.options.width=8", "camal.weight=1", "optimization.precision=bfloat16"],
    "half the masks, steps": [
        *("model.options.width=8", "camal.weight=1", "data.mask_fraction=0.5", "optimization.steps=11"),
        "camal.target=predicted",
    ],
}


IFAM = ModelConfig("ifam", options={"dim": 16, "depth": 1, "heads": 2, "patch_size": 8})


def config(*more):
    return load_config(NAME, [*SETTINGS, *more])


def signal_after(steps, number=signal.SIGTERM):
    def on_step(done, _):
        if done == steps:
            signal.raise_signal(number)

    return on_step


def train(settings, folder, resume=False, on_step=lambda *_: None):
    return run(prepare(settings, folder, resume), ["fit"], on_step=on_step)


def final_state(folder):
    step, path = checkpoint_folders(folder.checkpoints)[-1]
    return step, read_checkpoint(path).parts


def curves(folder):
    events = EventAccumulator(str(folder.tensorboard), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    found = {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    pictures = {tag: [each.step for each in events.Images(tag)] for tag in events.Tags()["images"]}
    return found, pictures


def assert_same_runs(folder, base):
    assert_equal(final_state(folder), final_state(base))
    assert curves(folder) == curves(base)
    first, second = (read_json(each.train_file) for each in (folder, base))
    for key in ("seconds", "steps_per_second"):
        assert first.pop(key) > 0
        del second[key]
    assert first == second


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    found = {}

    def make(kind):
        if kind not in found:
            settings, folder = config(*KINDS[kind]), RunFolder(tmp_path_factory.mktemp("base") / "run")
            settings = replace(settings, model=IFAM) if kind == "ifam" else settings
            train(settings, folder)
            found[kind] = settings, folder
        return found[kind]

    return make


@pytest.mark.parametrize(
    ("kind", "at"),  # in the first epoch, at its end, and within others
    [("camal", 6), ("ifam", 1), ("ifam", 4), ("ifam", 6), ("bfloat16", 6), *((kind, 10) for kind in KINDS)],
)
def test_a_signal_within_an_epoch_or_at_its_end_changes_nothing(tmp_path, uninterrupted, kind, at):
    settings, base = uninterrupted(kind)
    folder = RunFolder(tmp_path / "run")
    summary = train(settings, folder, on_step=signal_after(at))
    assert (summary["interrupted"], summary["signal"], summary["timesteps"]) == (True, signal.SIGTERM, at)
    assert folder.weights_file.is_file()
    trial = prepare(settings, folder, resume=True)
    assert trial.step == at
    assert not run(trial, ["fit"])["interrupted"]
    assert_same_runs(folder, base)


def test_training_stopped_after_every_step_equals_training_in_one_go(tmp_path, uninterrupted):
    settings, base = uninterrupted("camal")
    folder = RunFolder(tmp_path / "run")
    before = 0.0
    for step in range(1, STEPS + 1):
        assert train(settings, folder, step > 1, signal_after(step))["seconds"] > before
        before = final_state(folder)[1]["run"]["seconds"]
    assert folder.is_trained()
    assert_same_runs(folder, base)


def test_processes_that_load_images_change_nothing(tmp_path, uninterrupted):
    settings, base = uninterrupted("camal")
    several = replace(settings, optimization=replace(settings.optimization, workers=2))
    folder = RunFolder(tmp_path / "run")
    train(several, folder, on_step=signal_after(6))
    train(several, folder, resume=True)
    assert_same_runs(folder, base)


def test_a_signal_at_the_last_step_is_no_interruption(tmp_path, uninterrupted):
    settings, base = uninterrupted("camal")
    folder = RunFolder(tmp_path / "run")
    assert not train(settings, folder, on_step=signal_after(STEPS))["interrupted"]
    assert_same_runs(folder, base)


def killed_at(step):
    def on_step(done, _):
        if done == step:
            raise RuntimeError("killed")

    return on_step


def test_after_a_kill_the_newest_whole_checkpoint_is_used(tmp_path, uninterrupted):
    settings, base = uninterrupted("camal")
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(RuntimeError, match="killed"):
        train(settings, folder, on_step=killed_at(11))
    kept = checkpoint_folders(folder.checkpoints)
    assert [step for step, _ in kept] == [4, 8]
    (kept[-1][1] / "model.safetensors").write_bytes(b"half")
    with pytest.warns(CheckpointWarning, match="the checkpoint before it is used"):
        trial = prepare(settings, folder, resume=True)
    assert trial.step == 4
    run(trial, ["fit"])
    assert_same_runs(folder, base)


def test_a_run_killed_before_its_first_checkpoint_begins_anew(tmp_path, uninterrupted):
    settings, base = uninterrupted("ifam")
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(RuntimeError, match="killed"):
        train(settings, folder, on_step=killed_at(2))
    train(settings, folder, resume=True)
    assert_same_runs(folder, base)


def test_a_run_killed_after_its_last_checkpoint_only_needs_its_model(tmp_path, uninterrupted):
    settings, base = uninterrupted("camal")
    folder = RunFolder(tmp_path / "run")
    train(settings, folder)
    folder.train_file.unlink()
    folder.weights_file.unlink()
    train(settings, folder, resume=True)
    assert folder.weights_file.read_bytes() == base.weights_file.read_bytes()
    assert_same_runs(folder, base)


def test_damaged_checkpoints_never_displace_whole_ones(tmp_path, uninterrupted):
    settings, _ = uninterrupted("camal")
    settings = replace(settings, log=replace(settings.log, checkpoint_every=0, checkpoint_keep=1))
    folder = RunFolder(tmp_path / "run")
    train(settings, folder, on_step=signal_after(6))
    folder.checkpoints.joinpath("step-000000000011").mkdir()
    with pytest.warns(CheckpointWarning):
        train(settings, folder, True, signal_after(9))
    assert [step for step, _ in checkpoint_folders(folder.checkpoints)] == [9]


@pytest.mark.parametrize(
    ("every", "minutes", "found"), [(0, 0, []), (0, 10, [12]), (2, 0, [8, 12]), (0, 1e-9, [11, 12])]
)
def test_checkpoints_come_by_epochs_by_minutes_or_not_at_all(tmp_path, every, minutes, found):
    log = [f"log.checkpoint_every={every}", f"log.checkpoint_minutes={minutes}", "log.checkpoint_keep=2"]
    folder = RunFolder(tmp_path / "run")
    train(config(*KINDS["camal"], *log), folder)
    assert [step for step, _ in checkpoint_folders(folder.checkpoints)] == found


class Noisy(PooledNet):
    """Draws from generators of its own, and counts in a buffer that its state_dict leaves out."""

    def __init__(self, seed=0):
        super().__init__(seed=seed, dropout=0.5)
        self.noise = torch.Generator().manual_seed(3)
        self.scale = np.random.default_rng(4)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, images):
        if self.training:
            self.seen += 1
            images = (
                images + 0.1 * torch.rand(images.shape, generator=self.noise) * self.scale.random() + self.seen / 99
            )
        return super().forward(images)


@pytest.mark.parametrize("weight_norm", [False, True])
def test_generators_and_buffers_of_a_models_own_are_part_of_a_checkpoint(tmp_path, weight_norm):
    settings = {
        "optimization": OptimizationConfig(epochs=3, batch_size=8), "device": "cpu",
        "log": LogConfig(every=1, checkpoint_every=1),
    }  # fmt: skip

    def model(seed):
        made = Noisy(seed)
        if weight_norm:
            nn.utils.parametrizations.weight_norm(made.head)
        return made

    whole, resumed = model(0), model(9)
    Trainer(whole, Squares(), folder=tmp_path / "whole", **settings).fit()
    Trainer(model(0), Squares(), folder=tmp_path / "cut", **settings).fit(on_step=signal_after(4, signal.SIGINT))
    checkpoint = newest_checkpoint(tmp_path / "cut" / "checkpoints")
    assert checkpoint.step == 4
    summary = Trainer(resumed, Squares(), folder=tmp_path / "cut", **settings).fit(resume=checkpoint)
    assert summary["timesteps"] == 9
    assert_equal(dict(whole.state_dict()), dict(resumed.state_dict()))
    assert torch.equal(whole.seen, resumed.seen)


def test_what_cannot_be_resumed_is_refused_in_one_line(tmp_path, uninterrupted, capsys):
    _, base = uninterrupted("camal")
    arguments = ["fit", NAME, *SETTINGS, *KINDS["camal"], "--resume", "--run-dir"]
    assert run_main(*arguments, str(base.path)) == 2
    assert "is finished; there is nothing to resume" in refusal(capsys)
    assert run_main(*arguments, str(base.path), "optimization.epochs=9", "seed=3") == 2
    assert "another configuration: seed is 0 there and 3 here, optimization.epochs is 3 there and 9 here" in refusal(
        capsys
    )
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "file").write_text("")
    assert run_main(*arguments, str(tmp_path / "else")) == 2
    assert "is not a run folder" in refusal(capsys)


def test_a_checkpoint_of_another_model_is_refused_and_nothing_is_touched(tmp_path, uninterrupted):
    settings, _ = uninterrupted("camal")
    _, other = uninterrupted("ifam")
    folder = RunFolder(tmp_path / "run")
    train(settings, folder, on_step=signal_after(6))
    before = curves(folder)
    (_, path) = checkpoint_folders(other.checkpoints)[-1]
    path.rename(folder.checkpoints / path.name)
    try:
        with pytest.raises(ValueError, match="is not a checkpoint of this training"):
            prepare(settings, folder, resume=True)
    finally:
        (folder.checkpoints / path.name).rename(path)
    assert curves(folder) == before
    assert folder.train_file.is_file()


def test_a_checkpoint_of_another_optimizer_is_one_line(tmp_path, uninterrupted):
    settings, base = uninterrupted("camal")
    trainer = prepare(settings, RunFolder(tmp_path / "run")).trainer
    checkpoint = newest_checkpoint(base.checkpoints)
    with pytest.raises(DamagedFile, match="is not a checkpoint of this training"):
        trainer.fit(replace(checkpoint, parts={**checkpoint.parts, "optimization": {"optimizer": {}}}))


class Planted:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))


def test_a_pickle_in_a_checkpoint_is_never_read(tmp_path, uninterrupted):
    settings, base = uninterrupted("camal")
    folder = RunFolder(tmp_path / "run")
    train(settings, folder, on_step=signal_after(6))
    (_, path) = checkpoint_folders(folder.checkpoints)[-1]
    for name in ("optimizer.bin", "random_states_0.pkl", "scheduler.bin", "custom_checkpoint_0.pkl", "model.bin"):
        (path / name).write_bytes(pickle.dumps(Planted()))
    train(settings, folder, resume=True)
    assert_same_runs(folder, base)


def test_the_command_goes_on_and_ends_with_the_signals_code(tmp_path, uninterrupted, capsys, monkeypatch):
    from camal_rl.cli import progress

    _, base = uninterrupted("camal")
    folder = RunFolder(tmp_path / "run")
    arguments = ["fit", NAME, *SETTINGS, *KINDS["camal"], "--run-dir", str(folder.path)]
    stopped = signal_after(6, signal.SIGINT)
    monkeypatch.setattr(progress.StepLines, "report", lambda _, done, total: stopped(done, total))
    assert run_main(*arguments, "--progress") == 130
    assert capsys.readouterr().err.endswith("the same camal-rl fit with --resume to continue\n")
    stopped = signal_after(9)
    assert run_main(*arguments, "--progress", "--resume") == 143
    assert "training continues from step 6" in capsys.readouterr().err
    stopped = signal_after(-1)
    assert run_main(*arguments, "--progress", "--resume") == 0
    assert_same_runs(folder, base)
