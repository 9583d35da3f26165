"""Tests of other packages on this one: Stable-Baselines3's tests on CAMALPPO, Gymnasium's checker on environments.

The tests come from the source distribution of the installed version, which pip downloads into a temporary folder;
``--sb3-tests`` names a folder of tests instead. Every test that uses PPO runs three times: with stock PPO, which shows
failures of the tests themselves; with CAMALPPO at weight 0; and with CamPolicy and a weight in place of CnnPolicy. Run
``python benchmarks/peer_suites.py``; it takes 10 to 30 minutes of CPU time.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import gymnasium
from gymnasium.utils.env_checker import check_env

from camal_rl.envs import env_ids

HERE = Path(__file__).resolve().parent
ENV_LIMIT = 300
RUNS = {"PPO": "stock", "weight 0": "0", "weight .5": "0.5"}


@dataclass(frozen=True)
class Outcome:
    """The outcome of one test: ``passed``, ``failed`` or ``skipped``, and why."""

    state: str
    reason: str = ""


def download_tests(folder: Path) -> Path:
    """Download the tests of the installed Stable-Baselines3 into a folder and return their path."""
    version = importlib.metadata.version("stable-baselines3")
    command = [sys.executable, "-m", "pip", "download", f"stable-baselines3=={version}"]
    subprocess.run([*command, "--no-binary", ":all:", "--no-deps", "-q", "-d", str(folder)], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    tests = sorted(folder.glob("*/tests"))
    if not tests:
        raise SystemExit(f"the source distribution {archive.name} contains no tests; give a folder with --sb3-tests")
    return tests[0]


def run_suite(tests: Path, weight: str, work: Path, select: str, limit: int) -> dict[str, Outcome]:
    """Run the tests that use PPO and return their outcomes by name."""
    report = work / f"report-{weight}.xml"
    environment = {**os.environ, "PEER_WEIGHT": weight, "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-m", "pytest", str(tests), "-p", "peer_plugin", "-q", "--junitxml", str(report)]
    command += ["--rootdir", str(tests), "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    command += ["-k", select] if select else []
    try:
        subprocess.run(command, cwd=work, env=environment, timeout=limit, stdout=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"the tests took more than {limit} s; raise --limit or select fewer tests with -k") from None
    return {f"{case.get('classname')}::{case.get('name')}": _outcome(case) for case in _cases(report)}


def _cases(report: Path) -> list[ElementTree.Element]:
    return [*ElementTree.parse(report).getroot().iter("testcase")]


def _outcome(case: ElementTree.Element) -> Outcome:
    for tag, state in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        found = case.find(tag)
        if found is not None:
            reason = " ".join((found.get("message") or "").split())
            if reason == "collection failure":  # An import of the test file is not installed.
                lines = [line.removeprefix("E ").strip() for line in (found.text or "").splitlines()]
                return Outcome("skipped", next((line for line in reversed(lines) if "Error" in line), reason))
            return Outcome(state, reason[:160])
    return Outcome("passed")


def check_environments() -> dict[str, Outcome]:
    """Run Gymnasium's checker on one environment of every family, each in a process of its own."""
    families: dict[str, list[str]] = {}
    for env_id in env_ids():
        families.setdefault(env_id.partition("/")[0], []).append(env_id)
    return {family: _checked(members) for family, members in families.items()}


def _checked(members: list[str]) -> Outcome:
    command = [sys.executable, str(Path(__file__).resolve()), "--check-env", *members]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ENV_LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return Outcome("failed", f"not finished after {ENV_LIMIT} s")
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return Outcome("passed" if done.returncode == 0 else "failed", lines[-1][:160] if lines else "")


def check_first(members: list[str]) -> None:
    """Check the first environment that can be made by its plain id; those without masks cannot."""
    for env_id in members:
        try:
            env = gymnasium.make(f"camal_rl/{env_id.replace('/', '-')}-v0", disable_env_checker=True)
        except ValueError:
            continue
        check_env(env.unwrapped, skip_render_check=True)
        env.close()
        print(env_id)
        return
    raise SystemExit(f"none of {len(members)} environments could be made")


def print_suites(suites: dict[str, dict[str, Outcome]]) -> None:
    """Print how many tests pass in each run, and every failure with its reason."""
    print(f"\n| {'Stable-Baselines3':<18} | passed | failed | skipped |\n| --- | ---: | ---: | ---: |")
    for name, outcomes in suites.items():
        states = [outcome.state for outcome in outcomes.values()]
        print(f"| {name:<18} | {states.count('passed')} | {states.count('failed')} | {states.count('skipped')} |")
    for name, outcomes in suites.items():
        for test, outcome in outcomes.items():
            if outcome.state != "passed":
                print(f"\n{name}, {outcome.state}: {test}\n    {outcome.reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sb3-tests", type=Path, help="a folder with Stable-Baselines3's tests; none is downloaded")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=[*RUNS], help="which runs (default: all)")
    parser.add_argument("-k", default="", help="only tests that match, as in pytest")
    parser.add_argument("--limit", type=int, default=3600, help="seconds for each run (default: 3600)")
    parser.add_argument("--no-envs", action="store_true", help="leave out Gymnasium's checker")
    parser.add_argument("--check-env", nargs="+", metavar="ID", help="only Gymnasium's checker, in this process")
    arguments = parser.parse_args()
    if arguments.check_env:
        check_first(arguments.check_env)
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        tests = download_tests(work) if arguments.sb3_tests is None else arguments.sb3_tests.resolve()
        runs = {name: run_suite(tests, RUNS[name], work, arguments.k, arguments.limit) for name in arguments.runs}
    print_suites(runs)
    if not arguments.no_envs:
        print("\nGymnasium's checker")
        for family, outcome in check_environments().items():
            print(f"  {family:<10} {outcome.state:<7} {outcome.reason}")


if __name__ == "__main__":
    main()
