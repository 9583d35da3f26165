"""Logs the figures of a training as a table: one row for each step, one column for each figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from camal_rl.atomic import explained, write_bytes
from camal_rl.runs.scalar_logs import ScalarLog

FILE_NAME = "progress.csv"
STEP = "step"
Row = dict[str, str]


class CsvLog(ScalarLog):
    """Writes ``progress.csv`` into the run folder.

    A figure that was not logged at a step has an empty cell. Every call of :meth:`write` leaves a complete table. If
    training is resumed from a checkpoint, the rows beyond its step are removed.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], step: int) -> None:
        super().__init__(folder, settings, step)
        self.file = folder / FILE_NAME
        self._columns, rows = read_table(self.file) if step else ([STEP], [])
        kept = [row for row in rows if int(row[STEP]) <= step]
        # More figures of the last step may follow.
        self._row: dict[str, Any] = {name: value for name, value in kept.pop().items() if value} if kept else {}
        self._start = self._write_all(kept)
        if self._row:
            self._write_last()

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Add figures to the row of a step."""
        with explained(self.file):
            if str(self._row.get(STEP)) != str(step):
                self._row = {STEP: step}
                self._start = self.file.stat().st_size
            self._row.update(scalars)
            new = [name for name in scalars if name not in self._columns]
            if new:
                before = [row for row in read_table(self.file)[1] if row[STEP] != str(step)]
                self._columns = [*self._columns, *new]
                self._start = self._write_all(before)
            self._write_last()

    def _write_last(self) -> None:
        with self.file.open("r+b") as stream:
            stream.seek(self._start)
            stream.truncate()
            stream.write(_lines([[self._row.get(name, "") for name in self._columns]]))

    def _write_all(self, rows: Sequence[Row]) -> int:
        """Rewrite the whole table and return its size."""
        data = _lines([self._columns, *([row.get(name, "") for name in self._columns] for row in rows)])
        write_bytes(self.file, data)
        return len(data)


def read_table(file: Path) -> tuple[list[str], list[Row]]:
    """Return columns and rows of a table, up to the first damaged row, which a killed program may leave."""
    text = file.read_bytes().decode(errors="replace") if file.is_file() else ""
    whole = text[: text.rfind("\n") + 1]
    if "\0" in whole:  # after a power failure
        whole = whole[: whole.rfind("\n", 0, whole.index("\0")) + 1]
    lines = list(csv.reader(io.StringIO(whole)))
    if not lines or STEP not in lines[0]:
        return [STEP], []
    columns, rows = lines[0], []
    for line in lines[1:]:
        row = dict(zip(columns, line, strict=False))
        if len(line) != len(columns) or not row[STEP].isdecimal():
            break
        rows.append(row)
    return columns, rows


def _lines(rows: Sequence[Sequence[Any]]) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode()
