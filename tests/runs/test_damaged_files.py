"""Files of a run that are truncated, flipped or of another kind: one line that names the file, never a wrong load."""

import random
import re
import shutil
import warnings
import zipfile

import pytest

from camal_rl.comparison.groups import group_runs, read_run
from camal_rl.comparison.report import provenance
from camal_rl.comparison.report.sections import document
from camal_rl.comparison.report.write import render
from camal_rl.rl.model_file import load_model
from camal_rl.rl.policy_file import save_policy
from camal_rl.rl.training import prepare, run
from camal_rl.runs import checkpoints
from camal_rl.runs.curves import UnreadableCurvesWarning, read_curves
from camal_rl.runs.json_files import read_json, write_json
from camal_rl.runs.loading import load_config
from camal_rl.runs.run_folder import RunFolder
from tests.command_line import refusal, run_main
from tests.conftest import TINY
from tests.rl.test_policy_file import damage, make

FOREIGN = (
    b"", b"[]", b"3", b"null", b'"text"', b"[" * 100_000, b'{"a":' * 100_000, b"NaN", b"\xff\xfe\x00", b"{}",
    b"- " * 3000, b"a: " * 3000, b'{"version": 2}', b"{\n", b"\x00" * 100,
)  # fmt: skip
VALUES = ("null", "[]", "{}", "1", "-1", "1e999", "NaN", "true", '"x"', "9" * 30, "[1]", '{"a": 1}')
TEXT_FILES = ("train.json", "metrics.json", "config.yaml", "provenance.json", "command.txt")
ATTEMPTS = 24


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    """Return the folder of an evaluated run."""
    from camal_rl.rl.task import AgentTask

    folder = RunFolder(tmp_path_factory.mktemp("evaluated") / "run")
    shutil.copytree(trained.path, folder.path)
    AgentTask().evaluation(folder, folder.config()).run(lambda _: None)
    return folder


@pytest.fixture
def copied(evaluated, tmp_path):
    """Return a copy of an evaluated run, to be damaged."""
    shutil.copytree(evaluated.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


@pytest.fixture
def zipped(copied):
    """Return a copy of a run whose model is in the file of its algorithm alone."""
    copied.policy_file.unlink()
    copied.weights_file.unlink()
    return copied


def damaged(data, generator, kinds=("truncated", "flipped", "foreign")):
    """Return the content of a file after one of the things that can happen to it."""
    kind = generator.choice(kinds)
    if kind == "truncated":
        return data[: generator.randrange(len(data))]
    if kind == "foreign":
        return generator.choice(FOREIGN)
    if kind == "value":
        tokens = list(re.finditer(rb'\b[\w.+-]+\b|"[^"]*"|[\[{][^\[\]{}]*[\]}]', data))
        token = generator.choice(tokens)
        return data[: token.start()] + generator.choice(VALUES).encode() + data[token.end() :]
    flipped = bytearray(data)
    for _ in range(generator.choice((1, 1, 5, 50))):
        flipped[generator.randrange(len(flipped))] ^= 1 << generator.randrange(8)
    return bytes(flipped)


def read_everything(folder):
    """Read a run as evaluation, export and report do; a ValueError of one line is what they print."""
    folder.config()
    folder.is_trained()
    (group,) = group_runs([read_run(folder.path)])
    provenance.runs_table(group)
    provenance.provenance_table(group)
    provenance.commands(group)
    assert group.length
    return group


@pytest.mark.parametrize("name", TEXT_FILES)
def test_a_damaged_file_is_named_or_left_out_with_a_note(copied, name):
    generator, file = random.Random(name), copied.path / name
    content = file.read_bytes()
    told = []
    for _ in range(ATTEMPTS):
        file.write_bytes(damaged(content, generator, ("truncated", "flipped", "foreign", "value")))
        try:
            read_everything(copied)
        except (ValueError, OSError) as error:
            told.append(str(error))
        if name != "config.yaml":
            (group,) = group_runs([read_run(copied.path)])
            found = {
                "train.json": group.runs[0].training,
                "metrics.json": group.runs[0].metrics,
                "provenance.json": group.runs[0].provenance,
                "command.txt": group.runs[0].command,
            }[name]
            assert (found is None) == any(str(file) in note for note in group.notes)
    assert [line for line in told if str(file) not in line or len(line) > 2000] == []
    if name in ("train.json", "config.yaml"):
        assert len(told) > ATTEMPTS / 4


def test_a_damaged_model_is_never_loaded(zipped):
    generator, content = random.Random(0), zipped.model_file.read_bytes()
    for _ in range(ATTEMPTS):
        zipped.model_file.write_bytes(damaged(content, generator))
        with pytest.raises(ValueError, match=r"model\.zip "):
            load_model(zipped, trust=True)


def test_a_damaged_model_of_a_run_without_a_checksum_is_never_loaded(zipped):
    training = read_json(zipped.train_file)
    del training["model_sha256"]
    write_json(zipped.train_file, training)
    generator, content = random.Random(1), zipped.model_file.read_bytes()
    for size in (0, 1, 100, len(content) // 2, len(content) - 1):
        zipped.model_file.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"model\.zip .* restore it from a copy, or train again"):
            load_model(zipped, trust=True)
    for _ in range(20):
        flipped = bytearray(content)
        flipped[generator.randrange(100, len(content) * 9 // 10)] ^= 1 << generator.randrange(8)
        zipped.model_file.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"model\.zip (is damaged|cannot be loaded)"):
            load_model(zipped, trust=True)


@pytest.mark.parametrize("change", ["empty", "missing"])
def test_a_model_without_weights_is_refused(zipped, change):
    training = read_json(zipped.train_file)
    del training["model_sha256"]
    write_json(zipped.train_file, training)
    with zipfile.ZipFile(zipped.model_file) as archive:
        parts = {each.filename: archive.read(each) for each in archive.infolist()}
    with zipfile.ZipFile(zipped.model_file, "w") as archive:
        for name, data in parts.items():
            if name != "policy.pth" or change == "empty":
                archive.writestr(name, b"" if name == "policy.pth" else data)
    with pytest.raises(ValueError, match=r"model\.zip (is damaged: policy\.pth in it is empty|cannot be loaded)"):
        load_model(zipped, trust=True)


def test_the_model_of_another_training_is_refused(zipped, trained):
    training = read_json(zipped.train_file)
    training["model_sha256"] = "0" * 64
    write_json(zipped.train_file, training)
    with pytest.raises(ValueError, match=r"model\.zip is not the file that training wrote: its SHA-256 is not the one"):
        load_model(zipped, trust=True)


@pytest.mark.parametrize("verb", ["evaluate", "explain", "export"])
def test_every_verb_refuses_a_damaged_policy_in_one_line(evaluated, tmp_path, capsys, verb):
    policy = make(encoder="compact", seed=2)
    save_policy(policy, tmp_path / "other")
    generator = random.Random(verb)
    for attempt in range(30):
        folder = RunFolder(tmp_path / str(attempt))
        folder.path.mkdir()
        for name in ("config.yaml", "train.json", "model.json", "model.safetensors", "model.zip"):
            shutil.copy(evaluated.path / name, folder.path / name)
        if damage(folder.path, tmp_path / "other", generator):
            assert run_main(verb, str(folder.path)) == 2
            assert "model." in refusal(capsys)


@pytest.mark.parametrize("verb", ["evaluate", "explain", "export"])
def test_every_verb_refuses_half_a_model_in_one_line(zipped, capsys, verb):
    content = zipped.model_file.read_bytes()
    zipped.model_file.write_bytes(content[: len(content) // 2])
    assert run_main(verb, str(zipped.path), "--trust") == 2
    assert "model.zip" in refusal(capsys)


@pytest.mark.parametrize("verb", ["evaluate", "explain", "export", "report"])
@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b"a: " * 3000, b"env: {id: 3}"])
def test_every_verb_refuses_a_broken_configuration_in_one_line(copied, capsys, verb, content):
    copied.config_file.write_bytes(content)
    assert run_main(verb, str(copied.path)) == 2
    assert "config.yaml" in refusal(capsys)


def test_a_comparison_refuses_a_broken_file_of_results_in_one_line(copied, capsys):
    for name, content in (("metrics.json", b"[" * 100_000), ("metrics.json", b"\xff"), ("train.json", b"{}")):
        (copied.path / name).write_bytes(content)
        copied.path.rename(copied.path.with_name("camal-seed0"))
        assert run_main("compare", "toy_grid", *TINY, "--seeds", "1", "--out", str(copied.path.parent)) == 2
        assert name in refusal(capsys)
        copied.path.with_name("camal-seed0").rename(copied.path)


def test_a_report_says_which_file_it_leaves_out(copied):
    copied.metrics_file.write_text("{")
    (copied.path / "provenance.json").write_text("[1]")
    group = read_everything(copied)
    assert [note for note in group.notes if "metrics.json cannot be read: it is not JSON" in note]
    assert [note for note in group.notes if "provenance.json cannot be read" in note and "left out here" in note]


def test_event_files_that_are_no_records_do_not_end_a_report(copied):
    (file,) = copied.tensorboard.rglob("events.out*")
    generator, content = random.Random(2), file.read_bytes()
    for _ in range(20):
        file.write_bytes(damaged(content, generator))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnreadableCurvesWarning)
            read_curves(copied.tensorboard, ["rollout/ep_rew_mean", "camal/value/epg"])


def test_event_files_that_cannot_be_read_are_told_in_the_report(copied, monkeypatch):
    def refuse(*_):
        raise RuntimeError("no records")

    monkeypatch.setattr("camal_rl.runs.curves.EventAccumulator.Reload", refuse)
    monkeypatch.setattr("camal_rl.comparison.report.sections.frame_grid", lambda _: None)
    page = document([read_everything(copied)])
    (part,) = [part for part in page.sections[0].parts if part.title == "Learning"]
    assert len(part.notes) == 1
    assert "cannot be read (RuntimeError: no records): its learning curves are left out" in part.notes[0]


def test_the_markdown_page_holds_no_html_of_names(copied, monkeypatch):
    copied.config_file.write_text(copied.config_file.read_text() + "# ```\n")
    (copied.path / "command.txt").write_text("camal-rl train '```' '<script>'\n")
    monkeypatch.setattr("camal_rl.comparison.report.sections.frame_grid", lambda _: None)
    text = render(document([read_everything(copied)], title="<img src=x> a < b"), "report.md")
    assert text.startswith("# &lt;img src=x> a < b\n")
    outside = re.sub(r"(?ms)^(`{3,})$.*?^\1$", "", text)
    assert "<script>" not in outside
    assert "````\ncamal-rl train" in text


def test_a_checkpoint_that_cannot_be_written_does_not_end_training(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    trial = prepare(load_config("toy_grid", TINY), folder)
    write_part, steps = checkpoints._write_part, []

    def full_the_second_time(path, name, tree):
        steps.append(path)
        if len(set(steps)) == 2:
            (path / name).write_text("half")
            raise OSError(28, "No space left on device")
        write_part(path, name, tree)

    monkeypatch.setattr(checkpoints, "_write_part", full_the_second_time)
    with pytest.warns(UserWarning, match=r"step-0+256 cannot be written \(No space left on device\)"):
        summary = run(trial, ["camal-rl"])
    assert summary["timesteps"] == 256
    assert [path.name for path in folder.checkpoints.iterdir()] == ["step-000000000128"]
    load_model(folder)
