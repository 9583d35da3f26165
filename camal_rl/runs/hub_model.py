"""What a task says of a trained model that is to be shared: its files, how it is loaded, what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class HubModel:
    """A trained model that is ready to be written, with what its card says of it.

    Attributes:
        write: writes the model's files into a folder; returns what ``train.json`` holds of them, checksums by key.
        pipeline: the task as the Hub names it: ``reinforcement-learning`` or ``image-classification``.
        tags: what it can be found by, besides.
        what: what it is, a sentence.
        answers: what goes in and what comes out, a sentence.
        training: what training had that the model does not need, a sentence.
        acting: what must be done to images before they go in; empty where that is nothing.
        loading: Python code that loads it from the current folder and asks it about images.
        license: whose license the environment or the images have, a sentence.
        level_sets: what the level sets, or parts of the images, are, in words; empty where it is not known.
    """

    write: Callable[[Path], Mapping[str, str]]
    pipeline: str
    tags: tuple[str, ...]
    what: str
    answers: str
    training: str
    acting: str
    loading: str
    license: str
    level_sets: Mapping[str, str] = field(default_factory=dict)
