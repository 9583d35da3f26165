"""Writes the pages of ``docs/reference`` that follow from the code: ``python -m docs.site.reference``.

The tables of settings come from the dataclasses that configurations are checked with, those of commands from the
command line itself. A test holds that the pages are what this module writes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from camal_rl.agents import TERMS
from camal_rl.cli.main import app
from camal_rl.rl.algorithms import ALGORITHMS
from camal_rl.rl.config import ExperimentConfig
from camal_rl.runs.checks import kinds_of
from camal_rl.runs.sections import KEY
from camal_rl.supervised.config import SupervisedConfig

FOLDER = Path(__file__).parents[1] / "reference"
WRITTEN_BY = "This page is written by `python -m docs.site.reference` from {}; change it there."
HUGE = 10**6
"""An upper bound from here on only says that a number is finite."""

_ROLE = re.compile(r":(?:class|func|meth|data|mod|attr):`(~?)([\w.]+)(?:\(\))?`")


def pages() -> dict[str, str]:
    """Return the text of every page, by its name in ``docs/reference``."""
    written: dict[str, Callable[[], str]] = {
        "agent_settings.md": agent_settings,
        "classifier_settings.md": classifier_settings,
        "command_line.md": command_line,
    }
    return {name: write() for name, write in written.items()}


def agent_settings() -> str:
    """Return the page of an agent's settings."""
    parts = list(_settings_of(ExperimentConfig, {"algorithm"}))
    for name, spec in ALGORITHMS.items():
        parts += [f"## `algorithm`, where `algorithm.name` is `{name}`", _table(spec.settings, "algorithm.")]
    parts.append("## `terms`")
    parts.append("Terms that join PPO's loss beside CAMAL's ([methods](../methods.md)), each under its name.")
    for name, term in TERMS.items():
        if name != "camal":
            parts += [f"### `terms.{name}`", _table(term.config_type, f"terms.{name}.")]
    return _page(
        "Settings of an agent",
        "Every key of a configuration for `camal-rl train`, `compare`, `sweep` and `bench`. How files and command "
        "lines are read: [configurations](../configuration.md).",
        "the dataclasses of the package",
        parts,
    )


def classifier_settings() -> str:
    """Return the page of an image classifier's settings."""
    return _page(
        "Settings of an image classifier",
        "Every key of a configuration for `camal-rl fit` and `compare`. How files and command lines are read: "
        "[configurations](../configuration.md).",
        "the dataclasses of the package",
        _settings_of(SupervisedConfig, set()),
    )


def command_line() -> str:
    """Return the page of the command line."""
    return _page(
        "Command line",
        "What `camal-rl VERB --help` says. Every verb ends with exit code 0, or 2 and one line for bad input; 3 for a "
        "run that diverged; 130 or 143 where a signal ended it.",
        "the command line itself",
        _commands(typer.main.get_command(app), "camal-rl"),
    )


def _page(title: str, about: str, source: str, parts: Iterable[str]) -> str:
    return "\n\n".join([f"# {title}", about, WRITTEN_BY.format(source), *parts]) + "\n"


def _settings_of(config: type[Any], elsewhere: set[str]) -> Iterator[str]:
    """Yield the table of the keys at the top, and a heading and a table for each section."""
    hints = get_type_hints(config)
    sections = [each.name for each in fields(config) if _section_of(hints[each.name]) is not None]
    yield "## At the top"
    yield _table(config, "", {*sections, *elsewhere})
    for name in sections:
        yield f"## `{name}`"
        section = _section_of(hints[name])
        if section is not None:
            yield f"{_first_paragraph(section)}\n\n{_table(section, f'{name}.')}"


def _section_of(hint: Any) -> type[Any] | None:
    found = [kind for kind in kinds_of(hint) if isinstance(kind, type) and is_dataclass(kind)]
    return found[0] if found else None


def _table(section: type[Any], prefix: str, without: Container[str] = ()) -> str:
    """Return a table with one row for each setting of a dataclass."""
    hints, told = get_type_hints(section, include_extras=True), attributes_of(section)
    rows = ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    for item in fields(section):
        if item.name not in without:
            key = item.metadata.get(KEY, f"{prefix}{item.name}")
            kind = _cell(type_words(hints[item.name]))
            rows.append(f"| `{key}` | {kind} | {_cell(_default(item))} | {_cell(told.get(item.name, ''))} |")
    return _wide(rows)


def _wide(rows: list[str]) -> str:
    """Return a table whose last column holds sentences; the site's style sheet keeps it wide."""
    return "\n".join(['<div class="settings" markdown="1">', "", *rows, "", "</div>"])


def attributes_of(section: type[Any]) -> dict[str, str]:
    """Return what a dataclass's docstring says of each of its attributes, as Markdown on one line."""
    block = (inspect.getdoc(section) or "").partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", block, re.MULTILINE)
    return {name: _markdown(" ".join(text.split())) for name, text in found}


def type_words(hint: Any) -> str:
    """Return a setting's type and range in words, as Markdown."""
    kinds = list(_members(hint))
    words = [_words_of(kind) for kind in kinds if kind is not NoneType]
    return " or ".join([*words, *(["`null`"] if NoneType in kinds else [])])


def _members(hint: Any) -> Iterator[Any]:
    """Yield the members of a union, or the type itself; bounds stay with each."""
    if get_origin(hint) is Annotated or not (NoneType in get_args(hint) or _is_union(hint)):
        yield hint
    else:
        yield from get_args(hint)


def _is_union(hint: Any) -> bool:
    return type(hint).__name__ in ("UnionType", "_UnionGenericAlias", "Union")


def _words_of(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _words_of(arguments[0]) + _bounds(arguments[1:])
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in arguments)
    if origin is tuple:
        return f"list: {_words_of(arguments[0])}"
    if origin is not None and issubclass(origin, Mapping):
        return "mapping"
    plain = {int: "whole number", float: "number", bool: "`true` or `false`", str: "text", Any: "mapping"}
    return plain.get(kind) or f"section [`{kind.__name__.lower()}`](#{kind.__name__.lower()})"


def _bounds(metadata: tuple[Any, ...]) -> str:
    limits: dict[str, Any] = {}
    for each in (part for item in metadata for part in getattr(item, "metadata", [item])):
        limits |= {name: getattr(each, name) for name in ("ge", "gt", "le", "lt") if hasattr(each, name)}
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    if high is not None and high < HUGE:
        return f", {low:g} to {high:g}"
    return f", {'at least' if 'ge' in limits else 'above'} {low:g}" if low is not None else ""


def _default(item: Field[Any]) -> str:
    if item.default is not MISSING:
        return _yaml(item.default)
    if item.default_factory is not MISSING:
        return _yaml(item.default_factory())
    return "required"


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return f"`{str(value).lower().replace('none', 'null')}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return "`{}`" if isinstance(value, Mapping) else f"`{value}`"


def _first_paragraph(section: type[Any]) -> str:
    return _markdown(" ".join((inspect.getdoc(section) or "").split("\n\n")[0].split()))


def _markdown(text: str) -> str:
    """Return a docstring's text with code in single backquotes, and names in place of roles."""
    text = _ROLE.sub(lambda role: f"`{role[2].rpartition('.')[2] if role[1] else role[2]}`", text)
    return text.replace("``", "`").replace("`None`", "`null`")


def _cell(text: str) -> str:
    """Return text for a cell of a table: bars are escaped, and so is what looks like HTML outside code."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))


def _commands(group: Any, name: str) -> Iterator[str]:
    for verb, command in group.commands.items():
        yield f"## `{name} {verb}`"
        yield from _command(command, f"{name} {verb}")


def _command(command: Any, name: str) -> Iterator[str]:
    """Yield a command's text, its examples, its parameters, and its own commands."""
    text, _, examples = inspect.cleandoc(command.help or "").partition("For example:")
    yield _prose(text)
    lines = [line.strip() for line in examples.splitlines() if line.strip().startswith("camal-rl")]
    if lines:
        yield "```sh\n" + "\n".join(lines) + "\n```"
    shown = [each for each in command.params if not getattr(each, "hidden", False) and "--help" not in each.opts]
    if shown:
        rows = [f"| {_cell(_signature(each))} | {_cell(_prose(each.help or ''))} |" for each in shown]
        yield _wide(["| argument or option | meaning |", "| --- | --- |", *rows])
    for verb, own in getattr(command, "commands", {}).items():
        yield f"### `{name} {verb}`"
        yield from _command(own, f"{name} {verb}")


def _prose(text: str) -> str:
    return re.sub(r"\n(?!\n)", " ", re.sub(r"\n{2,}", "\n\n", text.strip())).replace("\n ", "\n\n")


def _signature(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name.upper()
        return f"`{name}`" if parameter.required else f"`[{name}]`"
    names = ", ".join(f"`{each}`" for each in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    if parameter.is_flag or default is None or callable(default) or isinstance(default, list | tuple):
        return names
    return f"{names} (default `{default}`)"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
