"""Damage files of a run at random; each must be refused in one line, left out, or read as it was written."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from camal_rl.cli.main import main
from camal_rl.comparison.groups import group_runs, read_run
from camal_rl.rl import load_policy
from camal_rl.runs.checkpoints import checkpoint_folders, newest_checkpoint, read_checkpoint
from camal_rl.runs.curves import read_curves
from camal_rl.state_tree import pack

MOST_LINES = 12
"""Largest number of lines that a command may print to stderr for refusals and warnings; a traceback has more."""
SMALL_RUN = (
    *("env.num_envs=4", "total_timesteps=192", "algorithm.n_steps=8", "algorithm.batch_size=16", "threads=1"),
    *("policy.encoder=nature", "policy.precision=float32", "device=cpu", "evaluation.episodes=2"),
    *("evaluation.frames=4", "evaluation.num_envs=2", "log.overlay_every=0", "log.held_out_every=0"),
    *("log.checkpoint_every=64", "evaluation.sets=[train,held_out]", "evaluation.attention_sets=[held_out]"),
)
SETTINGS = ("train", "toy_grid", *SMALL_RUN)


def call(*arguments: str) -> tuple[int, str]:
    """Return exit code and stderr of a command, run in this process.

    Raises:
        Exception: the command raised it; a user would see a traceback.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(arguments))
        except SystemExit as end:
            return int(end.code or 0), err.getvalue()
    raise AssertionError("main() always exits")


def damage_file(file: Path, others: list[Path], generator: random.Random) -> str:
    """Damage a file in a random way and return the name of the way."""
    data = file.read_bytes()
    kind = generator.choice(("truncated", "flipped", "zeroed", "emptied", "removed", "swapped", "appended", "random"))
    if kind == "removed":
        file.unlink()
        return kind
    place = generator.randrange(max(1, len(data)))
    changed = bytearray(data)
    if kind == "truncated":
        changed = changed[:place]
    elif kind == "flipped" and data:
        changed[place] ^= 1 << generator.randrange(8)
    elif kind == "zeroed":
        changed[place : place + 64] = bytes(len(changed[place : place + 64]))
    elif kind == "emptied":
        changed = bytearray()
    elif kind == "swapped":
        changed = bytearray(generator.choice(others).read_bytes())
    elif kind == "appended":
        changed += generator.randbytes(16)
    else:
        changed = bytearray(generator.randbytes(len(data)))
    file.write_bytes(changed)
    return kind


def small_run(folder: Path, *more: str) -> Path:
    """Train and evaluate a small agent; return its folder."""
    training = (*SETTINGS, *more, "--run-dir", str(folder), "--no-progress")
    for command in (training, ("evaluate", str(folder), "--no-progress")):
        code, errors = call(*command)
        if code:
            raise RuntimeError(f"{command} ended with {code}: {errors}")
    return folder


def damaged_checkpoints(folder: Path, count: int, seed: int) -> list[str]:
    """Damage checkpoints; return the problems: a state that was never written, or an exception."""
    generator, problems = random.Random(seed), []
    whole = small_run(folder / "whole", "seed=3")
    other = small_run(folder / "other", "seed=4")
    written = {path.name: _bits(read_checkpoint(path).parts) for _, path in checkpoint_folders(whole / "checkpoints")}
    swaps = sorted(path for path in other.rglob("*") if path.is_file())
    for number in range(count):
        copy = folder / f"copy{number}"
        shutil.copytree(whole, copy)
        newest = checkpoint_folders(copy / "checkpoints")[-1][1]
        file = generator.choice(sorted(newest.iterdir()))
        told = f"{number}: {file.name} {damage_file(file, swaps, generator)}"
        problems += _problems(told, lambda place=copy: _check_newest(place, written))  # type: ignore[misc]
        if number % 10 == 0:
            problems += _problems(told, lambda place=copy: _check_resumed(place))  # type: ignore[misc]
        shutil.rmtree(copy)
    return problems


def _check_newest(run: Path, written: dict[str, Any]) -> str | None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = newest_checkpoint(run / "checkpoints")
    if found is None:
        return "no checkpoint was found"
    if not _same(_bits(found.parts), written[found.path.name]):
        return f"{found.path.name} was loaded, but differs from what was written"
    if found.path.name != max(written) and len(caught) != 1:
        return f"expected 1 warning, got {len(caught)}"
    return None


def _check_resumed(run: Path) -> str | None:
    (run / "train.json").unlink()
    code, errors = call(*SETTINGS, "seed=3", "--run-dir", str(run), "--no-progress", "--resume")
    return None if code == 0 else f"exit code {code}: {errors}"


def damaged_models(folder: Path, count: int, seed: int) -> list[str]:
    """Damage the files of a policy; return the problems: a policy that was never written, or an exception."""
    generator, problems = random.Random(seed), []
    whole, other = small_run(folder / "whole", "seed=3"), small_run(folder / "other", "seed=4")
    expected = load_policy(whole, "cpu").state_dict()
    for number in range(count):
        copy = folder / "copy"
        shutil.copytree(whole, copy, ignore=shutil.ignore_patterns("checkpoints", "tensorboard"))
        name = generator.choice(("model.safetensors", "model.json"))
        told = f"{number}: {name} {damage_file(copy / name, [other / name, other / 'model.zip'], generator)}"
        problems += _problems(told, lambda place=copy: _check_policy(place, expected))  # type: ignore[misc]
        shutil.rmtree(copy)
    return problems


def _check_policy(run: Path, expected: dict[str, torch.Tensor]) -> str | None:
    code, errors = 0, ""
    try:
        found = load_policy(run, "cpu").state_dict()
    except (ValueError, OSError) as error:
        code, errors = call("evaluate", str(run), "--no-progress")
        return None if code == 2 and "\n" not in str(error) else f"exit code {code}: {errors}; {error}"
    same = found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
    return None if same else "another policy was loaded"


def damaged_results(folder: Path, count: int, seed: int) -> list[str]:
    """Damage the files that a report reads; return the problems."""
    generator, problems = random.Random(seed), []
    whole, other = small_run(folder / "whole", "seed=3"), small_run(folder / "other", "seed=4")
    swaps = sorted(path for path in other.rglob("*") if path.is_file() and "checkpoints" not in path.parts)
    names = ("train.json", "metrics.json", "config.yaml", "provenance.json", "command.txt", "tensorboard/run_1/*")
    for number in range(count):
        copy = folder / f"copy{number}"
        shutil.copytree(whole, copy, ignore=shutil.ignore_patterns("checkpoints"))
        file = generator.choice(sorted(copy.glob(generator.choice(names))))
        before = file.read_bytes()
        told = f"{number}: {file.name} {damage_file(file, swaps, generator)}"
        changed = not file.is_file() or file.read_bytes() != before
        problems += _problems(told, lambda place=copy, needs=changed: _check_read(place, needs))  # type: ignore[misc]
        if number % 10 == 0:
            problems += _problems(told, lambda place=copy: _check_report(place))  # type: ignore[misc]
        shutil.rmtree(copy)
    return problems


def _check_read(run: Path, changed: bool) -> str | None:
    """Read what a report reads; a changed record must be refused, left out with a note, or reported by a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            (group,) = group_runs([read_run(run)])
            read_curves(run / "tensorboard", ["rollout/ep_rew_mean"])
        except (ValueError, OSError) as error:
            return None if "\n" not in str(error) else f"the message has several lines: {error}"
    # command.txt is left out: any text is a valid command.
    records = ["train.json", "metrics.json", "config.yaml"]
    if (run / "provenance.json").is_file():  # Runs of earlier versions have none.
        records.append("provenance.json")
    differs = [name for name in records if _missing_or_other(run / name, run.parent / "whole" / name)]
    if changed and differs and not caught and not group.notes:
        return "no warning and no note mention the damage"
    return None


def _missing_or_other(file: Path, written: Path) -> bool:
    return not file.is_file() or file.read_bytes() != written.read_bytes()


def _check_report(run: Path) -> str | None:
    code, errors = call("report", str(run), "--out", str(run / "report"), "--no-progress")
    if code not in (0, 2) or len(errors.splitlines()) > MOST_LINES:
        return f"exit code {code}: {errors}"
    return None


def _problems(told: str, check: Callable[[], str | None]) -> list[str]:
    try:
        problem = check()
    except Exception as error:  # A user would see a traceback.
        problem = f"{type(error).__name__}: {error}"
    return [] if problem is None else [f"{told}: {problem}"]


def _bits(parts: Any) -> tuple[dict[str, torch.Tensor], Any]:
    return pack(dict(parts))


def _same(first: tuple[dict[str, torch.Tensor], Any], second: tuple[dict[str, torch.Tensor], Any]) -> bool:
    tensors, others = first[0], second[0]
    equal = tensors.keys() == others.keys() and all(torch.equal(tensors[name], others[name]) for name in tensors)
    return equal and repr(first[1]) == repr(second[1])
