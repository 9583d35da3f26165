"""Removes private texts from a run's data before it is shared: paths, names of people and machines, secrets."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

LEFT_OUT = "left_out"
"""Placeholder for a removed text; it is a valid value for settings such as ``name``."""


class StaysHere(ValueError):
    """The shared data would need a private text; the message is one line."""


_PRIVATE = re.compile(
    r"(?<![\w.:/\\-])~?/[^\s/]"  # /home/me, ~/me, also behind an equals sign or a bracket
    r"|(?<![\w/])~[\w-]*(?:[/\\]|$)"
    r"|(?:file:|/)//"  # file:///home
    r"|:\\?/[^\s/]|(?<![A-Za-z0-9])[A-Za-z]:[\\/]"  # PATH=x:/y, C:\me
    r"|\\\\[^\s\\]"  # \\server\share
    r"|(?:^|[^\w.])\.\.[\\/]"  # above the current folder
    r"|://[^/\s@]+@"  # https://me:password@host
    r"|\$\{?[A-Za-z_]|%[A-Za-z_]+%"  # variables of the environment
    r"|\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+="
)
_IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_SECRET_KEY = re.compile(
    r"(?:^|[_.-])(?:token|secret|password|passwd|api_?key|access_?key|private_?key|credentials?)$", re.IGNORECASE
)
_SECRET_VARIABLE = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL", re.IGNORECASE)
_SHORTEST_SECRET = 8
_SHORTEST_NAME = 3
# Generic names of accounts and machines, and names that also occur as ordinary words in every run.
_NOBODY = frozenset(
    {
        *(
            "root",
            "user",
            "users",
            "home",
            "admin",
            "ubuntu",
            "debian",
            "runner",
            "jovyan",
            "localhost",
            "host",
            "docker",
        ),
        *("vagrant", "build", "work", "data", "dev", "app", "gpu", "cpu", "cuda", "linux", "test", "tests", "train"),
        *("training", "validation", "held_out", "value", "policy", "default", "box", "camal", "compact", "impala"),
        *("nature", "patch", "none", "null", "true", "false", "auto"),
    }
)


def published(data: Any, keep: Collection[str] = ()) -> Any:
    """Return plain data with :data:`LEFT_OUT` in place of every text that is :func:`private`.

    Args:
        data: mappings, lists and plain values.
        keep: texts to keep although they may contain the name of a user or machine: names of methods, environments.
    """
    names = _names_of_here()
    if isinstance(data, Mapping):
        return {
            LEFT_OUT if _is_private(str(key), names, keep) else str(key): (
                LEFT_OUT if _holds_secret(str(key), value) else published(value, keep)
            )
            for key, value in data.items()
        }
    if isinstance(data, list | tuple):
        return [published(value, keep) for value in data]
    return LEFT_OUT if isinstance(data, str) and _is_private(data, names, keep) else data


def left_out_keys(data: Any, keep: Collection[str] = ()) -> list[str]:
    """Return the dotted keys of texts that :func:`published` removes."""
    return list(_left_out(data, keep, ""))


def private(text: str, keep: Collection[str] = ()) -> bool:
    """Return whether a text is private.

    Private texts are absolute paths and paths above the current folder, environment variables and the values of secret
    ones, addresses with a password, and the names of this user and machine. An import path ``package.module:name`` is
    not private, since loading needs it.
    """
    return _is_private(text, _names_of_here(), keep)


def _left_out(data: Any, keep: Collection[str], key: str) -> Iterator[str]:
    if isinstance(data, Mapping):
        for name, value in data.items():
            ((shown, other),) = published({name: value}, keep).items()
            place = f"{key}.{shown}" if key else shown
            if shown != str(name) or (isinstance(value, str) and other != value):
                yield place
            else:
                yield from _left_out(value, keep, place)
    elif isinstance(data, list | tuple):
        for number, value in enumerate(data):
            yield from _left_out(value, keep, f"{key}.{number}")
    elif published(data, keep) != data:
        yield key


def _is_private(text: str, names: Collection[str], keep: Collection[str]) -> bool:
    if _PRIVATE.search(text):
        return True
    if text in keep:
        return False
    if any(value in text for value in _secrets_of_here()):
        return True
    if _IMPORT_PATH.fullmatch(text):
        return False
    return any(re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", text, re.IGNORECASE) for name in names)


def _holds_secret(key: str, value: object) -> bool:
    return isinstance(value, str) and value != "" and _SECRET_KEY.search(key) is not None


def _names_of_here() -> set[str]:
    """Return the names of this user and of this machine, unless they are generic."""
    names = {Path.home().name, socket.gethostname(), socket.gethostname().partition(".")[0]}
    with contextlib.suppress(KeyError, OSError, ImportError):  # an account without a name, as in containers
        names.add(getpass.getuser())
    return {name for name in names if len(name) >= _SHORTEST_NAME and name.lower() not in _NOBODY}


def _secrets_of_here() -> list[str]:
    return [
        value for name, value in os.environ.items() if _SECRET_VARIABLE.search(name) and len(value) >= _SHORTEST_SECRET
    ]
