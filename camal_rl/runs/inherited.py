"""Explains in an error message from which file a refused setting is inherited."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from camal_rl.runs.config_files import Layer, merged, read_layers
from camal_rl.runs.overrides import read_overrides

_OPTIONS = {"env.options": "env.id", "data.options": "data.name", "model.options": "model.name"}
"""Sections of options, and the setting that selects what they belong to."""
_NAMED_SECTIONS = {"algorithm": "algorithm.name"}
"""Sections, and the setting that selects their other keys."""
_OF_THE_ENVIRONMENT = ("env.relevant", "env.segmentation", "evaluation.sets", "evaluation.attention_sets")
"""Other settings that apply to one environment and may not apply to another."""


def inherited_note(source: str, overrides: Sequence[str], message: str) -> str:
    """Return the source of the setting in a message, and how to remove it.

    There is a note if a later file or the command line chose another environment, image set or model than the file with
    the setting; otherwise the text is empty.

    Args:
        source: the configuration.
        overrides: settings over it.
        message: the error message, which names the option or setting.
    """
    layers = read_layers(source)
    given = [override.path for override in read_overrides(overrides, {})]
    data = merged(layers)
    for section, selector in _OPTIONS.items():
        options = _found(data, section)
        for option in options if isinstance(options, Mapping) else ():
            layer = _inherited_from(layers, given, f"{section}.{option}", selector)
            if layer is not None and _speaks_of(message, str(option)):
                return (
                    f"{section}.{option} is inherited from configuration {layer.name}: ~{section}.{option} removes it, "
                    f"{section}={{}} removes all of {section}"
                )
    for section, selector in _NAMED_SECTIONS.items():
        note = _of_a_named_section(layers, given, section, selector, message)
        if note:
            return note
    for key in _OF_THE_ENVIRONMENT:
        layer = _inherited_from(layers, given, key, "env.id")
        words = key.rpartition(".")[2] if key.startswith("env.") else key
        if layer is not None and _speaks_of(message, words):
            return f"{key} is inherited from configuration {layer.name}: give {key}=..., or ~{key} for the default"
    return ""


def _of_a_named_section(
    layers: Sequence[Layer], given: list[tuple[str, ...]], section: str, selector: str, message: str
) -> str:
    """Return the note on keys of a section that were given for another choice of its name."""
    settings = _found(merged(layers), section)
    found: dict[str, str] = {}
    for key in [f"{section}.{name}" for name in settings] if isinstance(settings, Mapping) else []:
        layer = _inherited_from(layers, given, key, selector)
        if key != selector and layer is not None and _speaks_of(message, key):
            found[key] = layer.name
    if not found:
        return ""
    names, removals = ", ".join(dict.fromkeys(found.values())), " ".join(f"~{key}" for key in found)
    return (
        f"inherited from configuration {names}: {removals} removes {'it' if len(found) == 1 else 'them'}; in a file, "
        f"{section} with _replace_: true removes everything inherited"
    )


def _inherited_from(layers: Sequence[Layer], given: list[tuple[str, ...]], key: str, selector: str) -> Layer | None:
    """Return the layer of a setting if the thing it belongs to was chosen by a later layer."""
    path = tuple(key.split("."))
    if any(path[: len(each)] == each for each in given):
        return None
    sources = [index for index, layer in enumerate(layers) if _found(layer.data, key) is not None]
    if not sources:
        return None
    chosen = [index for index, layer in enumerate(layers) if _found(layer.data, selector) is not None]
    if tuple(selector.split(".")) in given:
        chosen.append(len(layers))
    return layers[sources[-1]] if chosen and chosen[-1] > sources[-1] else None


def _found(data: Any, key: str) -> Any:
    """Return the value of a dotted key, ``None`` if there is none."""
    for part in key.split("."):
        if not isinstance(data, Mapping):
            return None
        data = data.get(part)
    return data


def _speaks_of(message: str, words: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(words)}(?!\w)", message) is not None
