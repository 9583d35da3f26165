"""Where a setting comes from that the user did not give: a note for the message that refuses it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from camal_rl.runs.config_files import Layer, merged, read_layers
from camal_rl.runs.overrides import read_overrides

_OPTIONS = {"env.options": "env.id", "data.options": "data.name", "model.options": "model.name"}
"""Options, and the setting that says whose they are."""
_NAMED_SECTIONS = {"algorithm": "algorithm.name"}
"""Sections, and the setting that says what their other keys are."""
_OF_THE_ENVIRONMENT = ("env.relevant", "env.segmentation", "evaluation.sets", "evaluation.attention_sets")
"""Other settings that mean something for one environment and may mean nothing for another."""


def inherited_note(source: str, overrides: Sequence[str], message: str) -> str:
    """Return where the setting that a message speaks of comes from, and how to be rid of it.

    A note is made where a later file or the command line chose another environment, image set or model than the file
    that gave the setting; otherwise the text is empty.

    Args:
        source: the configuration.
        overrides: settings over it.
        message: why something was refused; it names the option or setting.
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
    """Return the note on the keys of a section that were given for another of what it can be."""
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
        f"inherited from configuration {names}: {removals} leaves {'it' if len(found) == 1 else 'them'} out, in a file "
        f"{section} with _replace_: true leaves out all that is inherited"
    )


def _inherited_from(layers: Sequence[Layer], given: list[tuple[str, ...]], key: str, selector: str) -> Layer | None:
    """Return the layer that a setting comes from, if what it belongs to was chosen after that."""
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
    """Return what a dotted key holds, ``None`` where there is nothing."""
    for part in key.split("."):
        if not isinstance(data, Mapping):
            return None
        data = data.get(part)
    return data


def _speaks_of(message: str, words: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(words)}(?!\w)", message) is not None
