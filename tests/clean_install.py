"""Installs the wheel in ``dist`` into clean environments, base and each extra, and uses it there.

``python tests/clean_install.py [--python python3.11] [--extras base minigrid ...] [--sdist]``. Each environment lies in
a temporary folder and is removed; versions come from ``constraints.txt``. Run ``make dist`` before.
"""

from __future__ import annotations

import argparse
import configparser
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASE = "base"
# What serves work on a checkout, not the installed package.
OF_A_CHECKOUT = ("docs", "examples", "dev")
# docs/install.md, Python 3.13.
WITHOUT_REQUIREMENTS = """
import subprocess, sys
if sys.version_info >= (3, 13):
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "dm_control==1.0.50"], check=True)
"""
USED = {
    BASE: "import camal_rl.agents",
    "procgen": "from camal_rl.envs import make_vec; make_vec('procgen/coinrun', num_envs=1, seed=0).reset()",
    "minigrid": "from camal_rl.envs import make_vec; make_vec('minigrid/Empty-8x8', num_envs=1, seed=0).reset()",
    "vizdoom": "from camal_rl.envs import make_vec; make_vec('vizdoom/Basic', num_envs=1, seed=0).reset()",
    # Where OCAtari is not installed by the extra, there are no masks.
    "atari": "import sys; from camal_rl.envs import make_vec; masks = {} if sys.version_info < (3, 13) else "
    "{'segmentation': None}; make_vec('atari/Pong', num_envs=1, seed=0, **masks).reset()",
    "crafter": "from camal_rl.envs import make_vec; make_vec('crafter/Reward', num_envs=1, seed=0).reset()",
    "dm-control": WITHOUT_REQUIREMENTS
    + "from camal_rl.envs import make_vec; make_vec('dm_control/walker-walk', num_envs=1, seed=0).reset()",
    "supervised": "import camal_rl.supervised, accelerate, transformers",
    "vision": "import timm, torchvision",
    "onnx": "import onnx, onnxscript",
    "video": "import av",
    "explain": "import captum.attr",
    "ray": "import ray",
    "tune": "import optuna",
    "wandb": "import wandb",
    "all": WITHOUT_REQUIREMENTS
    + "import accelerate, av, captum, crafter, dm_control, minigrid, onnx, optuna, ray, vizdoom, wandb; "
    "from camal_rl.envs import make_vec; make_vec('procgen/coinrun', num_envs=1, seed=0)",
}
"""What must work with an extra, by its name."""


def extras() -> list[str]:
    """Return the extras that setup.cfg declares for users."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    return [name for name in setup["options.extras_require"] if name not in OF_A_CHECKOUT]


def try_extra(python: str, archive: Path, extra: str) -> str:
    """Install into a new environment, use it away from the checkout, and return what went wrong, or nothing."""
    with tempfile.TemporaryDirectory(prefix="camal_rl_clean_") as folder:
        venv = Path(folder) / "venv"
        inside = str(venv / "bin" / "python")
        wanted = str(archive) if extra == BASE else f"{archive}[{extra}]"
        commands = [
            [python, "-m", "venv", str(venv)],
            [inside, "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), wanted],
            [inside, "-m", "pip", "check"],
            [str(venv / "bin" / "camal-rl"), "--version"],
            [inside, "-c", USED[extra]],
            [
                inside,
                "-c",
                "from camal_rl.envs import make_vec; make_vec('toy_grid/default', num_envs=1, seed=0).reset()",
            ],
        ]
        for command in commands:
            done = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode:
                return f"{' '.join(command)}\n{done.stdout}"
    return ""


def main() -> None:
    """Try what was asked for; exit code 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environments")
    parser.add_argument("--extras", nargs="+", choices=[BASE, *extras()], default=[BASE, *extras()])
    parser.add_argument("--sdist", action="store_true", help="install the source distribution instead of the wheel")
    asked = parser.parse_args()
    found = sorted((ROOT / "dist").glob("*.tar.gz" if asked.sdist else "*.whl"))
    if len(found) != 1:
        parser.error(f"dist must hold one archive of this kind, got {len(found)}; run: make dist")
    failed = False
    for extra in asked.extras:
        wrong = try_extra(asked.python, found[0], extra)
        print(f"{extra}: {wrong or 'installs and works'}", flush=True)
        failed = failed or bool(wrong)
    sys.exit(failed)


if __name__ == "__main__":
    main()
