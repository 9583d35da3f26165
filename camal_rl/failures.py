"""Failures of a run after its settings were accepted: non-finite numbers, a failing environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from camal_rl.atomic import replacing

MAX_AMOUNT = 1e9
"""The largest coefficient, rate or range; products of larger ones may overflow float32."""


class RunFailure(Exception):
    """A failure that ends a run; the message is one line.

    Attributes:
        exit_code: exit code of the command line.
    """

    exit_code: ClassVar[int] = 2

    def one_line(self) -> str:
        """Return the message; for an error from another process with a traceback, its last part."""
        last = (str(self).strip().splitlines() or [""])[-1]
        return " ".join(last.rpartition(f"{type(self).__name__}: ")[2].split()) or type(self).__name__


class NotFiniteError(RunFailure, ValueError):
    """An environment returned NaN or infinity; training turns this into a :class:`DivergedError` with the step.

    Attributes:
        what: ``reward`` or ``observation``.
    """

    exit_code = 3

    def __init__(self, what: str, message: str) -> None:
        super().__init__(what, message)
        self.what, self.message = what, message

    def __str__(self) -> str:
        """Return the message."""
        return self.message


class DivergedError(RunFailure, ArithmeticError):
    """Training produced NaN or infinity; the model still has its last finite parameters.

    Attributes:
        step: environment steps of an agent, optimizer steps of a classifier.
        what: the non-finite quantity, such as ``the loss``, ``the gradient``, ``a parameter``, ``the policy's output``,
            ``the observation``, ``the reward``.
        term: the term of the loss, the array or the parameter.
        advice: the most likely cause among the settings, and a remedy.
        dump: the file that reproduces the step, once :meth:`save` has written it.
        evidence: content of that file: tensors, numbers and texts.
    """

    exit_code = 3

    def __init__(
        self,
        step: int,
        what: str,
        term: str,
        advice: str,
        dump: Path | None = None,
        evidence: Mapping[str, Any] | None = None,
    ) -> None:
        # Worker processes pickle the exception by its arguments; the evidence stays in the worker.
        super().__init__(step, what, term, advice, dump)
        self.step, self.what, self.term, self.advice, self.dump = step, what, term, advice, dump
        self.evidence = dict(evidence or {})

    def __str__(self) -> str:
        """Return one line: what, where, when, why, and the file."""
        text = f"training diverged at step {self.step:,}: {self.what} is not finite ({self.term}); {self.advice}"
        return text if self.dump is None else f"{text}; {self.dump} reproduces the step"

    def save(self, path: Path) -> None:
        """Write the evidence to a file for ``torch.load(path, weights_only=True)``, and set ``dump`` to its path."""
        import torch

        header = {"step": self.step, "what": self.what, "term": self.term, "advice": self.advice}
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            torch.save({**header, **self.evidence}, partial)
        self.dump = path
        self.args = (*self.args[:-1], path)


def read_evidence(path: Path, device: Any = "cpu") -> dict[str, Any]:
    """Read a file of :meth:`DivergedError.save` without executing anything in it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or foreign; one line that names it.
    """
    import torch

    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; did its training diverge?")
    try:
        found = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # errors of the zip and pickle readers on a foreign file
        raise ValueError(f"{path} does not contain a training step ({type(error).__name__}); train again") from error
    if not isinstance(found, dict) or not {"what", "term", "minibatch"} <= found.keys():
        raise ValueError(f"{path} does not contain a training step; train again")
    return found


def blame(settings: Mapping[str, tuple[float, float]], otherwise: str | None = None) -> str:
    """Return the setting that most likely made training diverge, and a remedy.

    Args:
        settings: name to its value and the largest usual value; must include ``learning_rate``.
        otherwise: advice if no value is unusually large; by default, to lower the learning rate.
    """
    name, (value, ordinary) = max(settings.items(), key=lambda item: abs(item[1][0]) / item[1][1])
    if abs(value) <= ordinary:
        rate = settings["learning_rate"][0]
        return otherwise or f"learning_rate={rate:g} is the most likely cause, since no setting is unusual: lower it"
    return f"{name}={value:g} is the most likely cause, {ordinary:g} is already large: lower it"


def check_amount(name: str, value: Any, low: float = 0.0, high: float = MAX_AMOUNT) -> None:
    """Raise unless a coefficient, rate or range is a number in [low, high], so that its products fit into float32.

    Raises:
        TypeError: not a number.
        ValueError: NaN, infinity, or outside the bounds.
    """
    if isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not low <= number <= high:
        raise ValueError(f"{name} must be a finite number in [{low:g}, {high:g}], got {number:g}")


def memory_bytes() -> int | None:
    """Return the memory of this machine in bytes, ``None`` if unknown."""
    import os

    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def check_fits_memory(what: str, size: int, remedy: str, memory: int | None = None) -> None:
    """Raise a ValueError if something is larger than the machine's memory.

    Args:
        what: description for the message.
        size: its size in bytes.
        remedy: advice for the message.
        memory: available bytes; ``None`` asks the system.
    """
    there = memory_bytes() if memory is None else memory
    if there is not None and size > there:
        raise ValueError(f"{what} takes {size / 2**30:,.0f} GiB, and there are {there / 2**30:,.1f} GiB; {remedy}")
