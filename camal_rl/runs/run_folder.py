"""The folder of one run: names of its files, and checks that nothing is overwritten."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camal_rl.atomic import PARTIAL, explained, remove_partial, write_text
from camal_rl.foreign_code import no_code_from
from camal_rl.runs.checkpoints import checkpoint_folders
from camal_rl.runs.config_files import check_whole
from camal_rl.runs.event_files import cut_events, let_new_files_follow, writing_events
from camal_rl.runs.folders import check_new_folder, check_writable, sha256_of, sha256_of_text, unique_name
from camal_rl.runs.json_files import MODEL_SUM, read_provenance, read_training, write_record
from camal_rl.runs.loading import dump_yaml, load_config
from camal_rl.runs.lock import LOCK, FolderInUse, locked
from camal_rl.runs.provenance import provenance
from camal_rl.runs.task import RunConfig
from camal_rl.utf8 import read_utf8

_CONFIG_SUM = "# sha256 of what follows: "


@dataclass(frozen=True)
class RunFolder:
    """The paths of everything in a run's folder.

    Attributes:
        path: the folder.
        trust: whether the user trusts the whole folder. Otherwise code in it is not imported, and a model whose file
            could run code is not loaded.
    """

    path: Path
    trust: bool = field(default=False, compare=False)

    @property
    def config_file(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def model_file(self) -> Path:
        """The trained agent, for its algorithm's ``load``: ``CAMALPPO.load``, and SB3's ``PPO.load`` too."""
        return self.path / "model.zip"

    @property
    def policy_file(self) -> Path:
        """Description of the trained agent's policy, without its weights: JSON. It contains no code."""
        return self.path / "model.json"

    @property
    def weights_file(self) -> Path:
        """The weights of a trained agent's policy, or of a trained classifier, which the configuration describes."""
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
        """Data to reproduce the step at which training produced NaN or infinity, see :mod:`camal_rl.failures`."""
        return self.path / "diverged.pt"

    @property
    def error_file(self) -> Path:
        """The traceback of an unforeseen exception of a run in a comparison."""
        return self.path / "error.txt"

    @property
    def train_file(self) -> Path:
        """Summary of training: JSON, written at its end."""
        return self.path / "train.json"

    @property
    def command_file(self) -> Path:
        """The command line that made the run."""
        return self.path / "command.txt"

    @property
    def provenance_file(self) -> Path:
        """Versions and machine: JSON."""
        return self.path / "provenance.json"

    @property
    def metrics_file(self) -> Path:
        """Results of evaluation: JSON."""
        return self.path / "metrics.json"

    def check_free(self) -> None:
        """Check that :meth:`create` will succeed, as far as this can be known in advance.

        Raises:
            FileExistsError: the folder exists and is not empty.
            OSError: it cannot be created, see :func:`camal_rl.runs.folders.check_new_folder`.
        """
        check_new_folder(self.path)
        if not self.is_empty():
            raise FolderInUse(f"{self.path} exists and is not empty; give another --run-dir or remove it")

    def is_empty(self) -> bool:
        """Return whether the folder is missing or has no files of a run, as after an early kill."""
        if not self.path.is_dir():
            return True
        no_part = {LOCK, self.error_file.name}
        return all(each.name in no_part or each.name.startswith(PARTIAL) for each in self.path.iterdir())

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the folder against other trainings inside the block; a missing folder is created.

        Raises:
            FolderInUse: another training writes into it.
            WriteError: the folder cannot be created, or TensorBoard's events cannot be written.
        """
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path, "training"), writing_events(self.tensorboard):
            remove_partial(self.path)
            remove_partial(self.checkpoints)
            self.error_file.unlink(missing_ok=True)
            yield

    def create(self, config: RunConfig, command: Sequence[str], computing: Mapping[str, str]) -> None:
        """Create the folder with configuration, command, versions and machine.

        Args:
            config: the configuration.
            command: the command line.
            computing: the actual ``device`` and ``precision`` of training.
        """
        self.check_free()
        self.path.mkdir(parents=True, exist_ok=True)
        self._describe(config, command, computing)

    def recreate(self, config: RunConfig, command: Sequence[str], computing: Mapping[str, str], step: int = 0) -> None:
        """Prepare a run's folder for resuming from a step; everything beyond that step is removed.

        Args:
            config: the configuration, which may be a longer one.
            command: the command line.
            computing: as for :meth:`create`.
            step: step to resume from; 0 starts again.
        """
        for former in (self.train_file, self.metrics_file, self.diverged_file):
            former.unlink(missing_ok=True)
        for written, checkpoint in checkpoint_folders(self.checkpoints):
            if written > step:  # damaged checkpoints, which would count as the newest
                shutil.rmtree(checkpoint, ignore_errors=True)
        if step == 0:
            shutil.rmtree(self.tensorboard, ignore_errors=True)
            self._describe(config, command, computing)
            return
        cut_events(self.tensorboard, step)
        let_new_files_follow(self.tensorboard)
        now = {"step": step, "command": shlex.join(command), **provenance(), "computing": dict(computing)}
        told = read_provenance(self.provenance_file) if self.provenance_file.is_file() else {}
        write_record(self.provenance_file, {**told, "resumed": [*told.get("resumed", ()), now]})
        self._write_config(config)

    def _write_config(self, config: RunConfig) -> None:
        write_text(self.config_file, signed_config(dump_yaml(config)))

    def _describe(self, config: RunConfig, command: Sequence[str], computing: Mapping[str, str]) -> None:
        # The configuration is written first, so that a run killed here can be resumed.
        self._write_config(config)
        write_record(self.provenance_file, {**provenance(), "computing": dict(computing)})
        write_text(self.command_file, shlex.join(command) + "\n")

    def config(self) -> RunConfig:
        """Read the resolved configuration."""
        if not self.config_file.is_file():
            raise FileNotFoundError(f"{self.path} is not a run folder: it has no {self.config_file.name}")
        try:
            with no_code_from(None if self.trust else self.path):
                check_whole(str(self.config_file))
                config = load_config(self.config_file)
        except (ValueError, TypeError) as error:
            told = " ".join(str(error).split())
            raise ValueError(
                f"{self.config_file} is not the configuration of a run: {told}; restore it from a copy, or train again"
            ) from error
        return config

    def config_is_as_written(self) -> bool:
        """Return whether ``config.yaml`` matches the checksum in its first line, if it has one."""
        head, _, text = read_utf8(self.config_file).partition("\n")
        return not head.startswith(_CONFIG_SUM) or head.removeprefix(_CONFIG_SUM).strip() == sha256_of_text(text)

    def training(self) -> dict[str, Any] | None:
        """Return the content of ``train.json``, ``None`` if it is missing.

        Raises:
            ValueError: the file holds something else; one line that names it.
        """
        return read_training(self.train_file) if self.train_file.is_file() else None

    def is_trained(self) -> bool:
        """Return whether training was completed."""
        training = self.training()
        return training is not None and not training["interrupted"]

    def check_model(self, file: Path, key: str = MODEL_SUM) -> None:
        """Check that a file is the one that training wrote, by the checksum in ``train.json``.

        Args:
            file: the file.
            key: key of its SHA-256 in ``train.json``.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is empty, or not the same file.
        """
        if not file.is_file():
            raise FileNotFoundError(f"{self.path} contains no {file.name}; is its training finished?")
        if not file.stat().st_size:
            raise ValueError(f"{file} is empty: it contains no model; restore it from a copy, or train again")
        expected = (self.training() or {}).get(key)
        if expected is not None and expected != sha256_of(file):
            raise ValueError(
                f"{file} is not the file that training wrote: its SHA-256 is not the one in {self.train_file.name}; "
                f"restore it from a copy, or train again (or remove {key} from {self.train_file.name} if you changed "
                "the model yourself)"
            )

    def check_metrics_writable(self) -> None:
        """Raise an OSError with a message of one line unless ``metrics.json`` can be written."""
        check_writable(self.metrics_file)


def signed_config(text: str) -> str:
    """Return the text of a run's ``config.yaml`` with its checksum in the first line."""
    return f"{_CONFIG_SUM}{sha256_of_text(text)}\n{text}"


def default_run_dir(config: RunConfig) -> Path:
    """Return ``runs/<name>/<method>-seed<k>``."""
    return Path("runs") / config.experiment_name / run_name(config.method_name, config.seed)


def run_name(method: str, seed: int) -> str:
    """Return the name of a run's folder, which is unique for each method and seed."""
    return f"{unique_name(method)}-seed{seed}"
