"""A run as a Ray task, called here without Ray: where it writes, what it sends, what comes back."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from camal_rl.comparison.plan import PlannedRun, plan_runs
from camal_rl.comparison.ray_worker import COPY, NOT_SHARED, Job, Mailbox, Token, execute_job
from camal_rl.comparison.worker import DONE, FAILED, PROGRESS, WARNING
from camal_rl.runs.checkpoints import checkpoint_folders
from camal_rl.runs.json_files import read_json
from camal_rl.runs.loading import load_config
from camal_rl.runs.metrics_file import read_metrics
from camal_rl.runs.run_archive import pack_folder, unpack_folder
from tests.conftest import TINY

SMALL = (
    *TINY, "policy.encoder=nature", "log.held_out_every=0", "log.overlay_every=0", "evaluation.episodes=2",
    "evaluation.frames=2",
)  # fmt: skip


@pytest.fixture
def mailbox():
    """Return a mailbox that is an object and no actor."""
    held = Mailbox()
    return SimpleNamespace(put=SimpleNamespace(remote=held.put), take=held.take)


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Return a task whose folder is seen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    out = tmp_path / "out"
    out.mkdir()
    (planned,) = plan_runs(load_config("toy_grid", SMALL), ["ppo"], 1, out)
    token = Token(out / "token", "one")
    token.file.write_text("one")
    return Job(0, planned, ("camal-rl", "compare"), token, tmp_path, False, False)


def hidden(job):
    return replace(job, token=Token(job.token.file, "another"))


def test_a_run_writes_into_the_folder_that_it_sees(job, mailbox):
    assert execute_job(job, mailbox) == ((DONE,), None)
    assert job.planned.is_finished()
    kinds = {message[0] for number, message in mailbox.take() if number == 0}
    assert PROGRESS in kinds
    assert kinds <= {PROGRESS, WARNING}


@pytest.fixture
def all_progress(monkeypatch):
    monkeypatch.setattr("camal_rl.comparison.ray_worker.SECONDS_BETWEEN_PROGRESS", 0.0)


def test_a_run_that_does_not_see_the_folder_sends_copies_and_goes_on_from_one(job, mailbox, all_progress, tmp_path):
    last, archive = execute_job(hidden(job), mailbox)
    assert last == (DONE,)
    assert job.planned.folder.is_empty()
    copies = [message[1] for _, message in mailbox.take() if message[0] == COPY]
    assert copies
    unpack_folder(copies[0], job.planned.folder.path)
    (step, _), *_ = checkpoint_folders(job.planned.folder.checkpoints)
    assert step == 128
    goes_on = replace(hidden(job), has_files=True)
    assert execute_job(goes_on, mailbox) == ((NOT_SHARED,), None)
    last, second = execute_job(replace(goes_on, files=pack_folder(job.planned.folder.path)), mailbox)
    assert last == (DONE,)
    found = []
    for each in (archive, second):
        unpack_folder(each, job.planned.folder.path)
        assert job.planned.is_finished()
        found.append(read_metrics(job.planned.folder.metrics_file).results)
    assert found[0] == found[1]
    assert [each["step"] for each in read_json(job.planned.folder.provenance_file)["resumed"]] == [128]


class Fails(PlannedRun):
    """A run with a bug."""

    def is_trained(self):
        raise KeyError("no such thing")


def test_a_failure_names_the_file_where_it_will_lie(job, mailbox):
    planned = Fails(job.planned.method, job.planned.seed, job.planned.config, job.planned.folder)
    last, archive = execute_job(replace(hidden(job), planned=planned), mailbox)
    file = planned.folder.error_file
    assert last == (FAILED, f"KeyError: 'no such thing'; the traceback is in {file}", 1)
    unpack_folder(archive, planned.folder.path)
    assert 'raise KeyError("no such thing")' in file.read_text()
