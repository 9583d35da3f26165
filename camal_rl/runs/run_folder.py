"""The folder of one run: what lies where, and that nothing is overwritten."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camal_rl.runs.folders import check_new_folder, unique_name
from camal_rl.runs.loading import dump_yaml, load_config
from camal_rl.runs.provenance import provenance
from camal_rl.runs.task import RunConfig
from camal_rl.utf8 import read_utf8


@dataclass(frozen=True)
class RunFolder:
    """Names of everything in a run's folder.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def config_file(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def model_file(self) -> Path:
        """The trained agent, for its algorithm's ``load``: ``CAMALPPO.load``, and SB3's ``PPO.load`` too."""
        return self.path / "model.zip"

    @property
    def weights_file(self) -> Path:
        """The weights of a trained image classifier; the configuration says of which model."""
        return self.path / "model.safetensors"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's events."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """The folder of models saved during training."""
        return self.path / "checkpoints"

    @property
    def diverged_file(self) -> Path:
        """What reproduces the step at which training came to NaN or infinity, see :mod:`camal_rl.failures`."""
        return self.path / "diverged.pt"

    @property
    def train_file(self) -> Path:
        """How training went: JSON, written when it ends."""
        return self.path / "train.json"

    @property
    def metrics_file(self) -> Path:
        """What evaluation found: JSON."""
        return self.path / "metrics.json"

    def check_free(self) -> None:
        """Make sure that :meth:`create` will succeed, as far as can be known before.

        Raises:
            FileExistsError: the folder is there and not empty.
            OSError: it cannot be made, see :func:`camal_rl.runs.folders.check_new_folder`.
        """
        check_new_folder(self.path)
        if self.path.is_dir() and any(self.path.iterdir()):
            raise FileExistsError(f"{self.path} exists and is not empty; give another --run-dir or remove it")

    def create(self, config: RunConfig, command: Sequence[str], computing: Mapping[str, str]) -> None:
        """Make the folder with configuration, command, versions and machine.

        Args:
            config: the configuration.
            command: the command line.
            computing: where training computes, and in what arithmetic: ``device`` and ``precision``, whatever was
                asked for.
        """
        self.check_free()
        self.path.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(dump_yaml(config), encoding="utf-8")
        (self.path / "command.txt").write_text(shlex.join(command) + "\n", encoding="utf-8")
        write_json(self.path / "provenance.json", {**provenance(), "computing": dict(computing)})

    def config(self) -> RunConfig:
        """Read the resolved configuration."""
        if not self.config_file.is_file():
            raise FileNotFoundError(f"{self.path} is not a run folder: it has no {self.config_file.name}")
        return load_config(self.config_file)

    def is_trained(self) -> bool:
        """Say whether training came to its end."""
        return self.train_file.is_file() and not read_json(self.train_file)["interrupted"]


def default_run_dir(config: RunConfig) -> Path:
    """Return ``runs/<name>/<method>-seed<k>``."""
    return Path("runs") / config.experiment_name / run_name(config.method_name, config.seed)


def run_name(method: str, seed: int) -> str:
    """Return the name of a run's folder: another one for each method and seed, whatever the method is called."""
    return f"{unique_name(method)}-seed{seed}"


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write JSON in one piece; numbers that are not finite become null, as JSON has none."""
    write_whole(path, json.dumps(finite(data), indent=2, allow_nan=False) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a text in one piece: nobody reads half of it."""
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    data = json.loads(read_utf8(path))
    if not isinstance(data, dict):
        raise ValueError(f"{path} does not hold a JSON object")
    return data


def finite(value: Any) -> Any:
    """Return plain data with null in place of numbers that are not finite; keys become texts."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
