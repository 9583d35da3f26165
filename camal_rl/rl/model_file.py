"""The files of an agent: written atomically, also during training, and checked before they are loaded.

Every agent has a file in the format of its algorithm. Files of Stable-Baselines3 contain pickles, which can run code
when they are loaded. Therefore the policy is also written without pickles if possible (:mod:`camal_rl.rl.policy_file`),
and that file is loaded.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camal_rl.agents import AttentivePolicy
from camal_rl.atomic import replacing
from camal_rl.rl.algorithms import Agent, checked_agent, find_algorithm
from camal_rl.rl.config import ExperimentConfig, agent_run_config
from camal_rl.rl.policy_file import read_policy, save_policy
from camal_rl.runs.json_files import POLICY_SUM
from camal_rl.runs.run_folder import RunFolder


def save_model(model: Agent, path: Path) -> None:
    """Write a model as one file atomically, replacing an earlier one.

    Raises:
        WriteError: the file cannot be written.
    """
    with replacing(path) as partial:
        model.save(partial)


@dataclass(eq=False)
class LoadedAgent:
    """A trained policy with the interface of an agent for evaluation, explanation and export.

    Attributes:
        policy: the policy, in evaluation mode.
        num_timesteps: number of environment steps of its training.
        training: data on its training, as far as the file contains it.
    """

    policy: AttentivePolicy
    num_timesteps: int
    training: Mapping[str, Any] = field(default_factory=dict)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return actions for observations from environments, and no state."""
        return self.policy.act(observation, state, episode_start, deterministic)


def save_policy_of(model: Any, folder: Path) -> Path | None:
    """Write a model's policy into a folder, see :func:`camal_rl.rl.policy_file.save_policy`.

    Returns:
        The JSON file; ``None`` where the policy is no :class:`camal_rl.agents.AttentivePolicy`, or is made with
        something that has no name in a file, of which a warning tells.

    Raises:
        WriteError: a file cannot be written.
    """
    if not isinstance(model.policy, AttentivePolicy):
        return None
    try:
        return save_policy(model, folder)
    except ValueError as error:
        told = " ".join(str(error).split())
        warnings.warn(
            f"{told}; the model is only in the file of its algorithm, which --trust loads",
            PolicyFileWarning,
            stacklevel=2,
        )
        return None


class PolicyFileWarning(UserWarning):
    """A policy cannot be written into a file without code."""


def has_model(folder: RunFolder) -> bool:
    """Return whether a run has a trained model."""
    return folder.policy_file.is_file() or folder.model_file.is_file()


def load_model(folder: RunFolder, trust: bool = False) -> Any:
    """Load a run's trained model, an :class:`camal_rl.rl.algorithms.TrainedAgent`, without an environment.

    The policy file is loaded if there is one, and nothing in it is executed. The file of an algorithm may run code: it
    is loaded only if there is no other, and only if it is trusted.

    Args:
        folder: the run.
        trust: whether the user trusts the whole folder, in addition to ``folder.trust``.

    Raises:
        FileNotFoundError: the run has no model.
        ValueError: the file is empty, damaged, not the one that training wrote, or not trusted; one line that names it.
    """
    trust = trust or folder.trust
    config = agent_run_config(folder)
    # A run that was trained on a GPU can be evaluated where there is none.
    device = "cpu" if config.device == "cpu" else "auto"
    if folder.policy_file.is_file() or (folder.weights_file.is_file() and not trust):
        folder.check_model(folder.policy_file, POLICY_SUM)
        found = read_policy(folder.path, device, trust)
        return LoadedAgent(found.policy, found.num_timesteps, found.training)
    file = folder.model_file
    if file.is_file() and not trust:
        raise ValueError(
            f"{file} may hold pickles, which run code when they are loaded, and {folder.path} has no "
            f"{folder.policy_file.name} with {folder.weights_file.name}, which cannot; give --trust (trust=True) if "
            "you made this file yourself, otherwise do not load it"
        )
    return _load_trusted(folder, config, device)


def _load_trusted(folder: RunFolder, config: ExperimentConfig, device: str) -> Agent:
    file = folder.model_file
    folder.check_model(file)
    if zipfile.is_zipfile(file):
        _check_zip(file)
    spec = find_algorithm(config.algorithm_name)
    try:
        model = spec.load(file, device=device)
    # What a foreign file does to the readers of zip, JSON, pickle and torch is any exception at all.
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(
            f"{file} cannot be loaded as a model of algorithm {config.algorithm_name!r} ({told}); restore it from a "
            "copy, or train again"
        ) from error
    return checked_agent(model, config.algorithm_name)


def _check_zip(file: Path) -> None:
    """Raise a ValueError unless every part of a zip file is as its checksum says, and none of its weights is empty."""
    remedy = "restore it from a copy, or train again"
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
            weights = [each for each in archive.infolist() if each.filename.endswith(".pth")]
    except Exception as error:  # zipfile raises what its parts raise: zlib.error, struct.error, NotImplementedError
        raise ValueError(f"{file} is damaged: {type(error).__name__}: {error}; {remedy}") from error
    empty = next((each.filename for each in weights if not each.file_size), None)
    if damaged is not None or empty is not None:
        raise ValueError(f"{file} is damaged: {damaged or empty} in it is {'broken' if damaged else 'empty'}; {remedy}")
