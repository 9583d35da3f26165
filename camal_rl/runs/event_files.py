"""TensorBoard's event files when a run is resumed, and when they cannot be written."""

from __future__ import annotations

import io
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
from tensorboard.compat.tensorflow_stub import errors  # type: ignore[import-untyped]
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

from camal_rl.atomic import WriteError, explained, write_bytes

_PREFIX = "events.out.tfevents."
_WRITERS = "tensorboard"
"""The package in which event files are written."""


def event_files(folder: Path) -> list[Path]:
    """Return the event files below a folder, in the order of their names."""
    return sorted(folder.rglob(f"{_PREFIX}*"))


def _is_of_writer(error: BaseException | None) -> bool:
    """Return whether an OSError was raised where event files are written."""
    frames = traceback.walk_tb(error.__traceback__) if isinstance(error, OSError) else ()
    return any(frame.f_globals.get("__name__", "").partition(".")[0] == _WRITERS for frame, _ in frames)


@contextmanager
def writing_events(folder: Path) -> Iterator[None]:
    """Turn failures to write an event file inside the block into an error of one line.

    TensorBoard writes in a separate thread, which prints its traceback; the next logging call raises the same
    exception. Inside the block the thread is silent.

    Args:
        folder: the folder of the files.

    Raises:
        WriteError: an event file cannot be written, because the disk is full, or the folder is missing or not writable.
    """
    usual = threading.excepthook

    def hook(unhandled: threading.ExceptHookArgs) -> None:
        if not _is_of_writer(unhandled.exc_value):
            usual(unhandled)

    threading.excepthook = hook
    try:
        yield
    except OSError as error:
        if isinstance(error, WriteError) or not _is_of_writer(error):
            raise
        raise WriteError(
            f"{folder}: TensorBoard's events cannot be written ({error.strerror or error}); the files in the folder "
            "are intact; free some space, or make sure that the folder exists and is writable, and try again"
        ) from error
    finally:
        threading.excepthook = usual


def cut_events(folder: Path, step: int) -> int:
    """Remove events beyond ``step`` from every event file in a folder, so that a resumed run continues from there.

    Unreadable data, such as the end of a file that a killed program was writing, is cut off too. A file without events
    is removed.

    Returns:
        The number of changed files.

    Raises:
        WriteError: a file cannot be written.
    """
    changed = 0
    for file in event_files(folder):
        records, whole = read_records(file)
        kept = [record for record, event in records if event.step <= step]
        if whole and len(kept) == len(records):
            continue
        changed += 1
        if not kept:
            file.unlink()
            continue
        stream = io.BytesIO()
        writer = RecordWriter(stream)
        for record in kept:
            writer.write(record)
        write_bytes(file, stream.getvalue())
    return changed


def let_new_files_follow(folder: Path) -> None:
    """Make sure that new event files are read after the existing ones in a folder.

    TensorBoard reads the files of a folder in the order of their names, which begin with the time of creation in
    seconds. If that order would be wrong, because the clock was set back or a file has the current second, the existing
    files are renamed to come first.

    Raises:
        WriteError: a file cannot be renamed.
    """
    now = int(time.time())
    for place in sorted({file.parent for file in event_files(folder)}):
        files = sorted(place.glob(f"{_PREFIX}*"))
        names = [file.name.removeprefix(_PREFIX).partition(".") for file in files]
        if all(second.isdigit() and int(second) < now for second, _, _ in names):
            continue
        for index, (file, (_, _, rest)) in enumerate(zip(files, names, strict=True)):
            with explained(file):
                file.rename(place / f"{_PREFIX}{index:010d}.{rest}")


def read_records(file: Path) -> tuple[list[tuple[bytes, Event]], bool]:
    """Return the records of a file with their events, up to the first damaged one, and whether all are intact."""
    records: list[tuple[bytes, Event]] = []
    reader = PyRecordReader_New(str(file))
    while True:
        try:
            reader.GetNext()
            record = reader.record()
            records.append((record, Event.FromString(record)))
        except errors.OutOfRangeError:
            return records, True
        except (errors.DataLossError, DecodeError):
            return records, False
