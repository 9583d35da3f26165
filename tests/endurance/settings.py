"""Draw configurations and command lines; each must be refused in one line with exit code 2, or run two updates."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import hypothesis
import torch
from hypothesis import strategies as st

from camal_rl.rl.config import ExperimentConfig
from camal_rl.runs.loading import shipped_configs
from camal_rl.runs.sections import known_keys
from camal_rl.supervised.config import SupervisedConfig
from tests.endurance.files import SMALL_RUN, call

# Exit codes of an accepted run: it reached its end, or the environment failed or training diverged.
_ACCEPTED = (0, 3)
_TOLD_EVERY = 250
_SMALL_FIT = (
    *("data.image_size=32", "device=cpu", "threads=1", "log.images=8", "log.overlays=2", "optimization.steps=2"),
    *("data.options.train_length=64", "data.options.validation_length=16", "data.options.test_length=16"),
    "optimization.batch_size=16",
)
VALUES = (
    *("0", "1", "2", "3", "7", "8", "16", "-1", "-0.5", "0.5", "1.0", "1e-9", "1e-40", "1e9", "1e300", "-1e300", "nan"),
    *("inf", "-inf", ".inf", ".nan", "true", "false", "null", "~", "", '""', "x", "cpu", "auto", "box", "silhouette"),
    *(
        "[]",
        "[1]",
        "[x, y]",
        "[value]",
        "[train]",
        "[held_out, held_out]",
        "{}",
        "{a: 1}",
        "[[",
        "}",
        ": :",
        "!!python/x",
    ),
    *("9999999999999", "2147483648", "1_000", "0x10", "1e", "${oc.env:HOME}", "../..", "os:system", "no.such:thing"),
    *("linear", "constant", "warmup", "relu", "absolute", "gradcam", "hirescam", "energy", "camal", "l1", "nature"),
    *(
        "\u00e9",
        "\u202e",
        "a" * 300,
        "a/b",
        ".hidden",
        "con",
        "1e309",
        "-0",
        "1,2",
        "'quoted'",
        "*anchor",
        "&a",
        "#",
        "%",
    ),
)
_NEVER_DRAWN = {"total_timesteps", "threads"}
"""Keys that would make a run long, or slow down later runs."""


def keys_of(kind: type) -> list[str]:
    """Return the dotted keys of a configuration."""
    return sorted({key for key, _ in known_keys(kind, {})} - _NEVER_DRAWN)


def settings(kind: type) -> st.SearchStrategy[list[str]]:
    """Return a strategy of settings in the form of the command line."""
    keys = st.sampled_from(
        [*keys_of(kind), "env.options.x", "camal.wieght", "terms.drac.weight", "no.key", "", "policy"]
    )
    values = st.one_of(st.sampled_from(VALUES), st.integers(-3, 20).map(str), st.floats(width=32).map(repr))
    setting = st.tuples(keys, values).map("=".join)
    return st.lists(
        st.one_of(setting, setting, setting, st.sampled_from(["~log", "~env.id", "=", "a", "seed"])), max_size=4
    )


def drawn_configurations(folder: Path, count: int, seed: int) -> list[str]:
    """Train agents, and classifiers in one case of ten, with drawn settings; return the problems."""
    trains = st.tuples(st.just(("train", "toy_grid", *SMALL_RUN, "total_timesteps=64")), settings(ExperimentConfig))
    fits = st.tuples(st.just(("fit", "supervised/spurious_shapes", *_SMALL_FIT)), settings(SupervisedConfig))
    drawn = st.integers(0, 9).flatmap(lambda number: fits if number == 0 else trains)
    return _tried(drawn.map(lambda pair: (*pair[0], *pair[1])), folder, count, seed, ("--no-progress",))


def drawn_commands(folder: Path, count: int, seed: int) -> list[str]:
    """Run drawn command lines; return the problems."""
    verbs = ["envs", "masks", "train", "fit", "evaluate", "explain", "export", "compare", "report", "bench", "glossary"]
    options = [
        *(
            "--help",
            "--version",
            "--seeds",
            "--jobs",
            "--methods",
            "--out",
            "--run-dir",
            "--resume",
            "--format",
            "--suite",
        ),
        *("--episodes", "--frames", "--json", "--trust", "--title", "--no-progress", "--no-such", "-h", "--"),
    ]
    names = [*shipped_configs(), "missing", "missing.yaml", ".", "..", "/", "x" * 300, "toy_grid/default", "procgen/x"]
    word = st.one_of(
        st.sampled_from(options),
        st.sampled_from(names),
        st.sampled_from(VALUES),
        settings(ExperimentConfig).map("".join),
    )
    # A valid command would train for minutes, so an invalid setting is always added.
    line = st.tuples(st.sampled_from([*verbs, "no-verb", ""]), st.lists(word, max_size=5))
    return _tried(line.map(lambda pair: (pair[0], *pair[1])), folder, count, seed, ("seed=no",), commands=True)


def _tried(
    lines: st.SearchStrategy[tuple[str, ...]],
    folder: Path,
    count: int,
    seed: int,
    always: tuple[str, ...],
    commands: bool = False,
) -> list[str]:
    problems: list[str] = []
    codes: Counter[int] = Counter()
    threads = torch.get_num_threads()

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(lines)
    def attempt(line: tuple[str, ...]) -> None:
        if any("\0" in word or "\ud800" <= letter <= "\udfff" for word in line for letter in word or " "):
            return
        run = folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        named = () if commands else ("--run-dir", str(run))
        problem = _outcome(lambda: call(*line, *always, *named), run, codes)
        torch.set_num_threads(threads)
        if problem is not None:
            problems.append(f"{line}: {problem}")
        if sum(codes.values()) % _TOLD_EVERY == 0:  # The log shows the progress of a killed program.
            print(f"exit codes so far: {dict(sorted(codes.items()))}, {len(problems)} with problems", flush=True)

    attempt()
    print("exit codes:", dict(sorted(codes.items())), flush=True)
    return problems


def _outcome(run_it: Callable[[], tuple[int, str]], run: Path, codes: Counter[int]) -> str | None:
    try:
        code, errors = run_it()
        codes[code] += 1
    except Exception as error:  # A user would see a traceback.
        return f"{type(error).__name__}: {error}"
    if code == 2:
        told = [line for line in errors.splitlines() if line.startswith("camal-rl: ") and "warning" not in line]
        if len(told) != 1:
            return f"expected 1 line with the reason, got {len(told)}: {errors}"
        # An environment can fail after training has begun; the run folder is then complete.
        if run.exists() and not (run / "config.yaml").is_file():
            return "an incomplete run folder is left"
        return None
    if code not in _ACCEPTED:
        return f"exit code {code}: {errors}"
    return None
