"""Reads the user's text files in UTF-8 with or without a byte order mark; errors name file and line."""

from __future__ import annotations

from pathlib import Path


def read_utf8(path: Path) -> str:
    """Return the text of a file, without a byte order mark.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is in another encoding.
    """
    data = path.read_bytes()
    try:
        text, wrong = data.decode("utf-8-sig"), data.find(b"\x00")
    except UnicodeDecodeError as error:
        text, wrong = "", error.start
    if wrong >= 0:
        line = data.count(b"\n", 0, wrong) + 1
        raise ValueError(f"{path}, line {line} is not text in UTF-8 (byte 0x{data[wrong]:02x}); save the file as UTF-8")
    return text
