"""Event files of a run that goes on hold every step once."""

import shutil
import threading

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from camal_rl.atomic import WriteError
from camal_rl.runs.event_files import cut_events, event_files, let_new_files_follow, read_records, writing_events


def write(folder, steps):
    with SummaryWriter(str(folder)) as writer:
        for step in steps:
            writer.add_scalar("return", step / 10, step)
            writer.add_image("picture", np.zeros((3, 4, 4)), step)


def steps_of(folder):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    scalars, images = events.Scalars("return"), events.Images("picture")
    assert [each.step for each in scalars] == [each.step for each in images]
    return [each.step for each in scalars]


def test_what_is_beyond_the_step_is_cut_off_and_what_follows_joins_it(tmp_path):
    write(tmp_path / "run_1", range(0, 100, 10))
    assert cut_events(tmp_path, 50) == 1
    assert steps_of(tmp_path / "run_1") == [0, 10, 20, 30, 40, 50]
    write(tmp_path / "run_1", range(60, 80, 10))
    assert steps_of(tmp_path / "run_1") == [0, 10, 20, 30, 40, 50, 60, 70]


def test_a_file_with_nothing_beyond_the_step_stays_as_it_is(tmp_path):
    write(tmp_path, range(3))
    file = event_files(tmp_path)[0]
    before = file.read_bytes()
    assert cut_events(tmp_path, 2) == 0
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-3], lambda data: data[:-30] + bytes(30), lambda data: data + b"x"]
)
def test_an_end_that_cannot_be_read_is_cut_off(tmp_path, damage):
    write(tmp_path, range(5))
    file = event_files(tmp_path)[0]
    file.write_bytes(damage(file.read_bytes()))
    assert not read_records(file)[1]
    assert cut_events(tmp_path, 9) == 1
    assert read_records(file)[1]


def test_a_file_without_any_event_is_removed(tmp_path):
    write(tmp_path, range(2))
    event_files(tmp_path)[0].write_bytes(b"nothing that can be read")
    cut_events(tmp_path, 9)
    assert event_files(tmp_path) == []


@pytest.mark.parametrize("second", ["9999999999", "NOW"])
def test_what_is_written_next_is_read_last_whatever_the_clock_says(tmp_path, second, monkeypatch):
    now = 1_800_000_000
    monkeypatch.setattr("time.time", lambda: now + 0.5)
    for part in range(3):
        write(tmp_path / "run_1", range(10 * part, 10 * part + 10))
        newest = next(file for file in event_files(tmp_path) if f".{now}." in file.name)
        # Numbers of files within a process are compared as texts, so that the tenth comes before the ninth.
        newest.rename(newest.with_name(f"events.out.tfevents.{second.replace('NOW', str(now))}.host.9{9 - part}"))
        let_new_files_follow(tmp_path)
    assert steps_of(tmp_path / "run_1") == list(range(30))
    assert len(event_files(tmp_path)) == 3


def test_files_of_earlier_seconds_keep_their_names(tmp_path):
    write(tmp_path, range(2))
    (file,) = event_files(tmp_path)
    earlier = file.rename(tmp_path / "events.out.tfevents.1000000000.host.1")
    let_new_files_follow(tmp_path)
    assert event_files(tmp_path) == [earlier]


def log_after_the_folder_is_gone(folder):
    writer = SummaryWriter(str(folder))
    writer.flush()
    shutil.rmtree(folder)
    for step in range(1000):
        writer.add_scalar("return", 0.0, step)
        writer.flush()


def test_events_that_cannot_be_written_are_one_line_and_no_threads_traceback(tmp_path, capfd):
    usual = threading.excepthook
    with pytest.raises(WriteError, match="events cannot be written") as caught, writing_events(tmp_path / "events"):
        log_after_the_folder_is_gone(tmp_path / "events")
    assert str(caught.value).startswith(str(tmp_path / "events"))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
    assert threading.excepthook is usual


def test_failures_of_others_inside_the_block_stay_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), writing_events(tmp_path):
        (tmp_path / "missing").read_bytes()
    with pytest.raises(WriteError, match="of a checkpoint"), writing_events(tmp_path):
        raise WriteError("of a checkpoint")
