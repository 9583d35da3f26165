"""The folder of one run: what lies where, and that nothing is overwritten."""

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
    """Names of everything in a run's folder.

    Attributes:
        path: the folder.
        trust: whether all of the folder is the user's own. Otherwise code that lies in it is not imported, and a model
            whose file could run code is not loaded.
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
        """What the trained agent's policy is made with, beside its weights: JSON. It holds no code."""
        return self.path / "model.json"

    @property
    def weights_file(self) -> Path:
        """The weights of a trained agent's policy, or of a trained classifier, whose configuration says what it is."""
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
    def error_file(self) -> Path:
        """The traceback of an exception that nobody has foreseen, of a run in a comparison."""
        return self.path / "error.txt"

    @property
    def train_file(self) -> Path:
        """How training went: JSON, written when it ends."""
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
        """What evaluation found: JSON."""
        return self.path / "metrics.json"

    def check_free(self) -> None:
        """Make sure that :meth:`create` will succeed, as far as can be known before.

        Raises:
            FileExistsError: the folder is there and not empty.
            OSError: it cannot be made, see :func:`camal_rl.runs.folders.check_new_folder`.
        """
        check_new_folder(self.path)
        if not self.is_empty():
            raise FolderInUse(f"{self.path} exists and is not empty; give another --run-dir or remove it")

    def is_empty(self) -> bool:
        """Say whether nothing of a run is there: the folder is missing, or a run was killed before it wrote a file."""
        if not self.path.is_dir():
            return True
        no_part = {LOCK, self.error_file.name}
        return all(each.name in no_part or each.name.startswith(PARTIAL) for each in self.path.iterdir())

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other trainings out of the folder inside the block; it is made where it is missing.

        Raises:
            FolderInUse: another training writes into it.
            WriteError: the folder cannot be made, or TensorBoard's events cannot be written.
        """
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path, "training"), writing_events(self.tensorboard):
            remove_partial(self.path)
            remove_partial(self.checkpoints)
            self.error_file.unlink(missing_ok=True)
            yield

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
        self._describe(config, command, computing)

    def recreate(self, config: RunConfig, command: Sequence[str], computing: Mapping[str, str], step: int = 0) -> None:
        """Make a run's folder ready for going on from a step; what was written beyond it is removed.

        Args:
            config: the configuration, perhaps a longer one.
            command: the command line.
            computing: as for :meth:`create`.
            step: where training goes on; 0 begins it anew.
        """
        for former in (self.train_file, self.metrics_file, self.diverged_file):
            former.unlink(missing_ok=True)
        for written, checkpoint in checkpoint_folders(self.checkpoints):
            if written > step:  # damaged ones: they would count as the newest
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
        # The configuration is the first file: a run that is killed here can be resumed.
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
                f"{self.config_file} is not the configuration of a run: {told}; bring it back from a copy, or train "
                "again"
            ) from error
        return config

    def config_is_as_written(self) -> bool:
        """Say whether ``config.yaml`` agrees with the checksum in its first line; without one it is taken as it is."""
        head, _, text = read_utf8(self.config_file).partition("\n")
        return not head.startswith(_CONFIG_SUM) or head.removeprefix(_CONFIG_SUM).strip() == sha256_of_text(text)

    def training(self) -> dict[str, Any] | None:
        """Return what ``train.json`` holds, ``None`` where it is missing.

        Raises:
            ValueError: the file holds something else; one line that names it.
        """
        return read_training(self.train_file) if self.train_file.is_file() else None

    def is_trained(self) -> bool:
        """Say whether training came to its end."""
        training = self.training()
        return training is not None and not training["interrupted"]

    def check_model(self, file: Path, key: str = MODEL_SUM) -> None:
        """Make sure that a file is the one that training wrote, as far as ``train.json`` knows.

        Args:
            file: the file.
            key: where ``train.json`` keeps its SHA-256.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is empty, or another one.
        """
        if not file.is_file():
            raise FileNotFoundError(f"{self.path} holds no {file.name}; has its training ended?")
        if not file.stat().st_size:
            raise ValueError(f"{file} is empty: it holds no model; bring it back from a copy, or train again")
        expected = (self.training() or {}).get(key)
        if expected is not None and expected != sha256_of(file):
            raise ValueError(
                f"{file} is not the file that training wrote: its SHA-256 is not that of {self.train_file.name}; bring "
                f"it back from a copy, or train again (or remove {key} from {self.train_file.name}, if you have "
                "changed the model yourself)"
            )

    def check_metrics_writable(self) -> None:
        """Raise an OSError, whose message is one line, unless ``metrics.json`` can be written."""
        check_writable(self.metrics_file)


def signed_config(text: str) -> str:
    """Return the text of a run's ``config.yaml`` with its checksum in the first line."""
    return f"{_CONFIG_SUM}{sha256_of_text(text)}\n{text}"


def default_run_dir(config: RunConfig) -> Path:
    """Return ``runs/<name>/<method>-seed<k>``."""
    return Path("runs") / config.experiment_name / run_name(config.method_name, config.seed)


def run_name(method: str, seed: int) -> str:
    """Return the name of a run's folder: another one for each method and seed, whatever the method is called."""
    return f"{unique_name(method)}-seed{seed}"
