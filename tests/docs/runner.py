"""Runs files and commands in processes of their own, forked from one that has imported the package.

``python -m tests.docs.runner`` reads requests, one JSON object a line, and answers with exit codes. A process that runs
longer than :data:`SECONDS` is ended. An optional package that is missing gives :data:`MISSING`, outside CI.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import traceback
from pathlib import Path

from tests.docs.pages import ROOT

PACKAGE = (
    "camal_rl.cli.main",
    "camal_rl.comparison.local",
    "camal_rl.rl.explain.explanation",
    "camal_rl.rl.export",
    "camal_rl.rl.mask_sheet",
    "camal_rl.supervised.models",
)
SLOW = ("torch._dynamo", "torch.onnx", "torch.utils.tensorboard", "procgen", "minigrid", "av", "accelerate", "onnx")
"""What else takes long to import, where it is there."""
MISSING = 77
SECONDS = 300


class Runner:
    """The process that forks, as tests use it."""

    def __init__(self):
        command = [sys.executable, "-m", "tests.docs.runner"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, kind, argv, folder):
        """Return exit code and output of a file (``python``), a command, or a file's ``arguments`` alone."""
        log = Path(folder) / "output.log"
        request = {"kind": kind, "argv": list(argv), "folder": str(folder), "log": str(log)}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        return int(answer), log.read_text()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def serve():
    _import_everything()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
            return
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _import_everything():
    """Import what snippets and commands import, so that they need not, each for itself."""
    for name in (*PACKAGE, *SLOW):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # Otherwise each process copies and looks through all of this again when it ends.


def _become(request):
    """Be the process that was asked for; leaves with its exit code."""
    signal.alarm(SECONDS)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["folder"])
    sys.argv = request["argv"]
    try:
        _KINDS[request["kind"]]()
    except ImportError as error:
        traceback.print_exc()
        optional = "pip install" in str(error) or (error.name or "").partition(".")[0] in OPTIONAL
        sys.exit(MISSING if optional and "CI" not in os.environ else 1)
    except Exception:
        # A snippet ends as Python ends it, with exit code 1; nothing of this program may go on.
        traceback.print_exc()
        sys.exit(1)


OPTIONAL = (
    *(
        "ale_py",
        "av",
        "Box2D",
        "captum",
        "crafter",
        "minigrid",
        "onnx",
        "onnxscript",
        "procgen",
        "procgen_gym",
        "transformers",
        "tyro",
        "vizdoom",
    ),
)


def _run_file():
    from tests.docs.small import shrink_python

    shrink_python()
    # Worker processes look for the file from where the forking process was started.
    file = Path(sys.argv[0]).resolve()
    sys.argv[0], sys.path[0] = str(file), str(file.parent)
    runpy.run_path(str(file), run_name="__main__")


def _run_command():
    from camal_rl.cli.main import main
    from tests.docs.small import shrink_commands

    shrink_commands()
    main(sys.argv[1:])


def _read_arguments():
    """Run a file as far as it has read its arguments."""
    import argparse

    def ends_after(real):
        def parse(*arguments, **named):
            real(*arguments, **named)
            sys.exit(0)

        return parse

    argparse.ArgumentParser.parse_args = ends_after(argparse.ArgumentParser.parse_args)
    argparse.ArgumentParser.parse_intermixed_args = ends_after(argparse.ArgumentParser.parse_intermixed_args)
    with contextlib.suppress(ImportError):
        import tyro

        tyro.cli = ends_after(tyro.cli)
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


_KINDS = {"python": _run_file, "command": _run_command, "arguments": _read_arguments}

if __name__ == "__main__":
    serve()
