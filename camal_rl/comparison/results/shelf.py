"""The result files of a manifest, each read once, with a record of which are used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from camal_rl.comparison.results.manifest import Names
from camal_rl.comparison.results.result_file import ResultFile, read_result_file
from camal_rl.spelling import did_you_mean

_LINK = re.compile(r"\]\(([^)\s#]+)")


class Shelf:
    """Result files by name, which is the file name without ``.json``.

    Args:
        folders: the folders that contain them.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: two files have the same name.
    """

    def __init__(self, folders: list[Path]) -> None:
        self.folders = folders
        self.paths: dict[str, Path] = {}
        self.used: set[str] = set()
        self._read: dict[str, ResultFile] = {}
        for folder in folders:
            if not folder.is_dir():
                raise FileNotFoundError(f"{folder} is missing; it must contain the result files")
            for path in sorted(folder.glob("*.json")):
                if path.stem in self.paths:
                    raise ValueError(f"{self.paths[path.stem]} and {path} have the same name; rename one of them")
                self.paths[path.stem] = path

    def take(self, name: str) -> ResultFile:
        """Return a result file and mark it as used.

        Raises:
            FileNotFoundError: there is no such file; the message suggests a similar name.
            ValueError: it cannot be read; one line that names it.
        """
        if name not in self.paths:
            told = f"there is no {name}.json in {', '.join(map(str, self.folders))}"
            raise FileNotFoundError(f"{told}; {did_you_mean(name, self.paths)}".rstrip("; "))
        self.used.add(name)
        if name not in self._read:
            self._read[name] = read_result_file(self.paths[name])
        return self._read[name]

    def note_links(self, page: Path, text: str) -> None:
        """Mark the files that a page links to as used."""
        targets = {(page.parent / target).resolve() for target in _LINK.findall(text) if target.endswith(".json")}
        self.used |= {name for name, path in self.paths.items() if path.resolve() in targets}

    def unused(self) -> Iterator[Path]:
        """Yield the unused files."""
        return (path for name, path in self.paths.items() if name not in self.used)


def names_of(names: Names | None) -> tuple[str, ...]:
    """Return one name or several as a tuple."""
    return () if names is None else (names,) if isinstance(names, str) else names
