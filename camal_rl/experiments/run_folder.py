"""The folder of one run: what lies where, and that nothing is overwritten."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camal_rl.experiments.config import ExperimentConfig
from camal_rl.experiments.loading import AnyConfig, agent_config, dump_yaml, load_config
from camal_rl.experiments.provenance import provenance


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
        """The trained agent, for ``CAMALPPO.load`` and SB3's ``PPO.load``."""
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
    def train_file(self) -> Path:
        """How training went: JSON, written when it ends."""
        return self.path / "train.json"

    @property
    def metrics_file(self) -> Path:
        """What evaluation found: JSON."""
        return self.path / "metrics.json"

    def check_free(self) -> None:
        """Raise a FileExistsError unless the folder is missing or empty."""
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise FileExistsError(f"{self.path} exists and is not empty; give another --run-dir or remove it")

    def create(self, config: AnyConfig, command: Sequence[str]) -> None:
        """Make the folder with configuration, command, versions and machine."""
        self.check_free()
        self.path.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(dump_yaml(config), encoding="utf-8")
        (self.path / "command.txt").write_text(shlex.join(command) + "\n", encoding="utf-8")
        write_json(self.path / "provenance.json", provenance())

    def config(self) -> ExperimentConfig:
        """Read the resolved configuration of an agent's run; one of a run on images is a ValueError."""
        config = self.any_config()
        try:
            return agent_config(config)
        except ValueError as error:
            raise ValueError(f"{self.config_file}: {error}") from error

    def any_config(self) -> AnyConfig:
        """Read the resolved configuration."""
        if not self.config_file.is_file():
            raise FileNotFoundError(f"{self.path} is not a run folder: it has no {self.config_file.name}")
        return load_config(self.config_file)

    def is_trained(self) -> bool:
        """Say whether training came to its end."""
        return self.train_file.is_file() and not read_json(self.train_file)["interrupted"]


def default_run_dir(config: AnyConfig) -> Path:
    """Return ``runs/<name>/<method>-seed<k>``."""
    return Path("runs") / config.experiment_name / f"{config.method_name}-seed{config.seed}"


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write JSON in one piece; numbers that are not finite become null, as JSON has none."""
    text = json.dumps(_finite(data), indent=2, allow_nan=False) + "\n"
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise ValueError(f"{path} does not hold a JSON object")
    return data


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
