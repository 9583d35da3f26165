"""Archives a result as a small file in a folder of results; creates a manifest and a page if there are none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camal_rl.atomic import explained, write_text
from camal_rl.comparison.results.extension import extended
from camal_rl.comparison.results.manifest import MANIFEST, read_manifest
from camal_rl.comparison.results.result_file import ResultFile, read_result_file
from camal_rl.comparison.results.sources import comparison_text
from camal_rl.runs.checks import check_folder_name
from camal_rl.runs.json_files import read_json, with_sum
from camal_rl.runs.metrics_file import RunMetrics, read_metrics
from camal_rl.runs.origin import run_origin
from camal_rl.runs.provenance import plain_command
from camal_rl.runs.results import Results
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.yaml_text import write_yaml

COMPARISON, REPORT = "comparison.json", "report.json"
MOST_BYTES = 1_000_000
"""Larger files do not belong in a repository."""
_PAGE = "README.md"
_BEGINNING = """# Results

Mean ± standard deviation over seeds. Definitions of the terms: `camal-rl glossary`.
"""
_HEADLINES = ("return/", "accuracy/", "worst_group_accuracy/", "epg/", "deletion_effect/")


def find_result(source: Path) -> Path:
    """Return the result file of a path: the file itself, or the file in a comparison's, report's or run's folder.

    Raises:
        FileNotFoundError: there is none.
    """
    if source.is_file():
        return source
    for name in (COMPARISON, REPORT, RunFolder(source).metrics_file.name):
        if (source / name).is_file():
            return source / name
    raise FileNotFoundError(
        f"{source} contains no {COMPARISON}, {REPORT} or metrics.json, which camal-rl compare, report and evaluate "
        "write"
    )


def add_result(file: Path, name: str, folder: Path, extend: bool = False) -> Path:
    """Write a result file into a folder of results, replacing an earlier one of the same name; return its path.

    Args:
        file: ``comparison.json``, ``report.json``, ``metrics.json`` or the JSON of a measurement. Curves over the share
            of removed pixels are dropped from ``metrics.json``, since no table shows them.
        name: its name there, without suffix.
        folder: the folder of results; a manifest and a page are created if there are none.
        extend: add the runs of a comparison to those of the earlier file, see
            :func:`camal_rl.comparison.results.extension.extended`.

    Raises:
        FileNotFoundError: there is no earlier file to extend.
        ValueError: the name cannot be a file name, the file is not a result, it is too large, or the earlier file
            cannot be extended by it.
        WriteError: a file cannot be written.
    """
    check_folder_name("--name", name)
    found = read_result_file(file)
    begins = not (folder / MANIFEST).is_file()
    target = folder / ("files" if begins else read_manifest(folder).files[0]) / f"{name}.json"
    text = _extended_text(target, file) if extend else _text(file, found)
    if len(text.encode()) > MOST_BYTES:
        raise ValueError(
            f"{file} would take {len(text.encode()):,} bytes, but a kept result may take at most {MOST_BYTES:,}; "
            "compare fewer methods or level sets at a time"
        )
    with explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, text)
    if begins:
        write_text(folder / MANIFEST, write_yaml({"pages": [_PAGE], "tables": table_of_result(name, found)}))
        if not (folder / _PAGE).exists():
            write_text(folder / _PAGE, f"{_BEGINNING}\n<!-- results: {name} -->\n<!-- end -->\n")
    return target


def table_of_result(name: str, found: ResultFile) -> dict[str, Any]:
    """Return the part of a manifest that shows a result as a table: its first figures, one column per method."""
    if not found.runs:
        return {name: {"file": name, "rows": "PATH", "columns": [{"title": "TITLE", "text": "{KEY}"}]}}
    figures = [each for each in found.figures if each.startswith(_HEADLINES)] or list(found.figures)
    rows = [{"title": found.words.get(each, each), "figure": each} for each in figures]
    columns = [{"title": method, "method": method} for method in found.methods]
    return {name: {"title": "figure", "file": name, "columns": columns, "rows": rows}}


def _text(file: Path, found: ResultFile) -> str:
    data = read_json(file)
    if "figures" in data:
        return comparison_text(data)
    if found.runs:
        return _with_origin(read_metrics(file), file.parent).text(checksum=True)
    return _measurement_text(data)


def _extended_text(target: Path, file: Path) -> str:
    """Return the text of an earlier file with the runs of another comparison."""
    read_result_file(target)
    kept, new = read_json(target), read_json(file)
    for path, data in ((target, kept), (file, new)):
        if "figures" not in data:
            raise ValueError(f"{path} is not the {COMPARISON} of a comparison; only these can be joined")
    try:
        return comparison_text(extended(kept, new))
    except ValueError as error:
        raise ValueError(f"{target}, {file}: {error}") from error


def _with_origin(metrics: RunMetrics, folder: Path) -> RunMetrics:
    """Return an evaluation without its long curves; an evaluation of an earlier version gets the origin of its run."""
    run = {**metrics.run, "provenance": metrics.run.get("provenance") or run_origin(RunFolder(folder))}
    kept = Results(each for each in metrics.results if not each.figure.endswith("_curve"))
    return RunMetrics(run, metrics.suite, metrics.settings, kept, metrics.maps)


def _measurement_text(data: Mapping[str, Any]) -> str:
    import json

    command = {"command": plain_command(str(data["command"]))} if data.get("command") else {}
    return json.dumps(with_sum({**data, **command}), indent=1) + "\n"
