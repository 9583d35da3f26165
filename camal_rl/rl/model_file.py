"""The file of an agent: written whole, during training too, and checked before it is loaded."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from camal_rl.atomic import replacing
from camal_rl.rl.algorithms import Agent, checked_agent, find_algorithm
from camal_rl.rl.config import agent_run_config
from camal_rl.runs.run_folder import RunFolder


def save_model(model: Agent, path: Path) -> None:
    """Write a model as one file, in the place of an earlier one only when it is complete.

    Raises:
        WriteError: the file cannot be written.
    """
    with replacing(path) as partial:
        model.save(partial)


def load_model(folder: RunFolder) -> Any:
    """Load a run's trained model, an :class:`camal_rl.rl.algorithms.Agent`, without an environment.

    Raises:
        FileNotFoundError: the run has no model.
        ValueError: the file is empty, damaged, or not the one that training wrote; one line that names it.
    """
    config = agent_run_config(folder)
    file = folder.model_file
    folder.check_model(file)
    if zipfile.is_zipfile(file):
        _check_zip(file)
    # A run that was trained on a GPU can be evaluated where there is none.
    device = "cpu" if config.device == "cpu" else "auto"
    spec = find_algorithm(config.algorithm_name)
    try:
        model = spec.load(file, device=device)
    # What a foreign file does to the readers of zip, JSON, pickle and torch is any exception at all.
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(
            f"{file} cannot be loaded as a model of algorithm {config.algorithm_name!r} ({told}); bring it back from a "
            "copy, or train again"
        ) from error
    return checked_agent(model, config.algorithm_name)


def _check_zip(file: Path) -> None:
    """Raise a ValueError unless every part of a zip file is as its checksum says, and none of its weights is empty."""
    remedy = "bring it back from a copy, or train again"
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
            weights = [each for each in archive.infolist() if each.filename.endswith(".pth")]
    except Exception as error:  # zipfile raises what its parts raise: zlib.error, struct.error, NotImplementedError
        raise ValueError(f"{file} is damaged: {type(error).__name__}: {error}; {remedy}") from error
    empty = next((each.filename for each in weights if not each.file_size), None)
    if damaged is not None or empty is not None:
        raise ValueError(f"{file} is damaged: {damaged or empty} in it is {'broken' if damaged else 'empty'}; {remedy}")
