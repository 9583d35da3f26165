"""A task's description of a trained model for sharing: its files, how it is loaded, what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class HubModel:
    """A trained model that is ready to be written, with the texts for its card.

    Attributes:
        write: writes the model's files into a folder; returns their checksums by key, as in ``train.json``.
        pipeline: the Hub's name of the task: ``reinforcement-learning`` or ``image-classification``.
        tags: further tags.
        what: what it is, a sentence.
        answers: inputs and outputs, a sentence.
        training: what training used that the model does not need, a sentence.
        acting: preprocessing of images before inference; empty if none.
        loading: Python code that loads it from the current folder and applies it to images.
        license: license of the environment or the images, a sentence.
        level_sets: descriptions of the level sets or splits; empty if unknown.
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
