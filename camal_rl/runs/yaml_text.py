"""YAML as configurations are written in it: YAML 1.2's plain values, with nothing that reads anything else.

Of YAML 1.1, which PyYAML follows by default, what surprises is left out: ``yes``, ``no``, ``on`` and ``off`` are texts,
not booleans; ``2024-05-01`` is a text, not a date; ``1:30`` is a text, not 90; ``010`` is 10, not 8; ``1e-4`` is a
number. There is no interpolation: ``${...}`` is text.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

_NULL, _BOOL, _INT, _FLOAT, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "merge"))
_PLAIN_VALUES = (
    (_NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    (_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    (_INT, re.compile(r"^[-+]?(?:[0-9]+(?:_[0-9]+)*|0x[0-9a-fA-F]+|0o[0-7]+)$"), list("-+0123456789")),
    (
        _FLOAT,
        re.compile(
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
            r"|\.(?:nan|NaN|NAN))$"
        ),
        list("-+.0123456789"),
    ),
    (_MERGE, re.compile(r"^<<$"), ["<"]),
)
_MAX_DIGITS = 400
MAX_DEPTH = 64
"""Levels of mappings and lists: no setting has as many, and everything that walks through them does so by recursion."""
_TOO_DEEP = f"mappings, lists or brackets nested too deeply, more than {MAX_DEPTH} levels"


class _Loader(yaml.SafeLoader):
    """Reads plain data; a key that stands twice in a mapping is an error."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name and kind

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


class _TextLoader(yaml.BaseLoader):
    """Reads mappings, lists, and every other value as text."""


class _Dumper(yaml.SafeDumper):
    """Quotes what :class:`_Loader`, or a reader of YAML 1.1, would not read back as the same text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(node.value).replace("_", "")
    if len(text) > _MAX_DIGITS:
        raise yaml.constructor.ConstructorError(None, None, f"a number of {len(text)} digits", node.start_mark)
    return int(text, 0 if re.match(r"[-+]?0[xo]", text) else 10)


def _float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    text = str(node.value).replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


for _kind in (_Loader, _Dumper):
    for _tag, _pattern, _first in _PLAIN_VALUES:
        _kind.add_implicit_resolver(_tag, _pattern, _first)
_Loader.add_constructor(_INT, _int)
_Loader.add_constructor(_FLOAT, _float)


def read_yaml(text: str) -> Any:
    """Return the plain data that a YAML text holds.

    Raises:
        ValueError: not YAML, a key that stands twice, or data that holds itself; the message is one line.
    """
    return _read(text, _Loader)


def write_yaml(data: Any) -> str:
    """Return plain data as YAML, in the order that it has; :func:`read_yaml` reads it back."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def read_value(text: str) -> Any:
    """Return what a value on the command line says.

    ``[...]`` is a list, ``{...}`` a mapping, ``"..."`` and ``'...'`` a quoted text; ``null``, ``true``, ``false`` and
    numbers are what they look like. Anything else is text, whole, as it was typed: no part of it is a comment or a tag.

    Raises:
        ValueError: nothing at all, or brackets or quotes that cannot be read.
    """
    if not text.strip():
        raise ValueError("there is no value; null stands for none, '\"\"' for an empty text")
    return _flow(text, _Loader) if text.strip()[0] in "[{" else _scalar(text)


def read_texts(text: str) -> Any:
    """Return what a value on the command line says, with every item of a list as text, as it was typed.

    Raises:
        ValueError: as :func:`read_value`.
    """
    return _flow(text, _TextLoader) if text.strip().startswith("[") else read_value(text)


def unquoted(text: str) -> str:
    """Return a text without the quotes around all of it, where it has such; any other text as it is."""
    if len(text) < 2 or text[0] not in "\"'" or text[-1] != text[0]:
        return text
    try:
        tokens = list(yaml.scan(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError:
        return text
    # Start of the stream, one scalar, end of the stream.
    return str(tokens[1].value) if len(tokens) == 3 and isinstance(tokens[1], yaml.ScalarToken) else text


def _scalar(text: str) -> Any:
    if (inner := unquoted(text.strip())) != text.strip():
        return inner
    plain = text.strip()
    tag = next((tag for tag, pattern, _ in _PLAIN_VALUES if tag != _MERGE and pattern.match(plain)), None)
    return text if tag is None else _read(plain, _Loader)


def _flow(text: str, loader: Any) -> Any:
    if _has_comment(text):
        raise ValueError(f"a '#' in a list or mapping begins a comment; put the text that holds it in quotes: {text}")
    return _read(text, loader)


def _has_comment(text: str) -> bool:
    """Say whether YAML leaves out a part of the text as a comment: something between its tokens that is no space."""
    end = 0
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if text[end : token.start_mark.index].strip():
                return True
            end = max(end, token.end_mark.index)
    except (yaml.YAMLError, RecursionError):
        return re.search(r"(?:^|\s)#", text) is not None
    return False


def _read(text: str, loader: Any) -> Any:
    try:
        data = yaml.load(text, Loader=loader)
        _check_depth(data, ())
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    return data


def _check_depth(data: Any, inside: tuple[int, ...]) -> None:
    if not isinstance(data, dict | list):
        return
    if id(data) in inside:
        raise ValueError("a mapping or list that holds itself")
    if len(inside) == MAX_DEPTH:
        raise ValueError(_TOO_DEEP)
    for item in data.values() if isinstance(data, dict) else data:
        _check_depth(item, (*inside, id(data)))
