"""TensorBoard's event files of a run that goes on: what was logged beyond its checkpoint is cut off.

Readers of the files then see one run, without a gap or an overlap.
"""

from __future__ import annotations

import io
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
from tensorboard.compat.tensorflow_stub import errors  # type: ignore[import-untyped]
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

from camal_rl.atomic import write_bytes


def event_files(folder: Path) -> list[Path]:
    """Return the event files below a folder, in the order of their names."""
    return sorted(folder.rglob("events.out.tfevents.*"))


def cut_events(folder: Path, step: int) -> int:
    """Cut out of every event file below a folder what is beyond ``step``.

    What cannot be read, as the end of a file that a killed program was writing, is cut off too. A file without events
    is removed.

    Returns:
        How many files were changed.

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


def read_records(file: Path) -> tuple[list[tuple[bytes, Event]], bool]:
    """Return the records of a file with their events, up to the first that is damaged, and whether none is."""
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
