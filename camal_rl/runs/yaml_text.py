"""The YAML of configurations: plain values as in YAML 1.2, without tags or other types.

The surprises of YAML 1.1, PyYAML's default, are avoided: ``yes``, ``no``, ``on`` and ``off`` are texts, not booleans;
``2024-05-01`` is a text, not a date; ``1:30`` is a text, not 90; ``010`` is 10, not 8; ``1e-4`` is a number. There is
no interpolation: ``${...}`` is text.
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
"""Maximum nesting of mappings and lists, which are processed by recursion; no setting needs as many levels."""
_TOO_DEEP = f"mappings, lists or brackets nested too deeply, more than {MAX_DEPTH} levels"


class _Loader(yaml.SafeLoader):
    """Reads plain data; a repeated key in a mapping is an error."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name and kind

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is repeated", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


class _TextLoader(yaml.BaseLoader):
    """Reads mappings, lists, and every other value as text."""


class _Dumper(yaml.SafeDumper):
    """Quotes texts that :class:`_Loader` or a YAML 1.1 reader would not read back as the same text."""

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
    """Return the plain data in a YAML text.

    Raises:
        ValueError: the text is not YAML, a key is repeated, or data contains itself; the message is one line.
    """
    return _read(text, _Loader)


def write_yaml(data: Any) -> str:
    """Return plain data as YAML in its own order; :func:`read_yaml` reads it back."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def read_value(text: str) -> Any:
    """Parse a value on the command line.

    ``[...]`` is a list, ``{...}`` a mapping, ``"..."`` and ``'...'`` a quoted text; ``null``, ``true``, ``false`` and
    numbers have their usual meaning. Anything else is text exactly as typed: no part of it is a comment or a tag.

    Raises:
        ValueError: the value is empty, or its brackets or quotes cannot be parsed.
    """
    if not text.strip():
        raise ValueError("the value is missing; use null for none, '\"\"' for an empty text")
    return _flow(text, _Loader) if text.strip()[0] in "[{" else _scalar(text)


def read_texts(text: str) -> Any:
    """Parse a value on the command line, with every item of a list as text exactly as typed.

    Raises:
        ValueError: as :func:`read_value`.
    """
    return _flow(text, _TextLoader) if text.strip().startswith("[") else read_value(text)


def unquoted(text: str) -> str:
    """Return a text without the quotes around it, if there are any."""
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
        raise ValueError(f"a '#' in a list or mapping begins a comment; put the text with it in quotes: {text}")
    return _read(text, loader)


def _has_comment(text: str) -> bool:
    """Return whether YAML ignores a part of the text as a comment: text between its tokens that is not whitespace."""
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
        raise ValueError("a mapping or list that contains itself")
    if len(inside) == MAX_DEPTH:
        raise ValueError(_TOO_DEEP)
    for item in data.values() if isinstance(data, dict) else data:
        _check_depth(item, (*inside, id(data)))
