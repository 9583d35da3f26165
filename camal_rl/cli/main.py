"""Entry point of ``camal-rl``: one module for each verb."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from camal_rl import __version__
from camal_rl.cli.bench import bench
from camal_rl.cli.compare import compare
from camal_rl.cli.envs import envs
from camal_rl.cli.errors import BadInput, cannot_write, warning_in_one_line
from camal_rl.cli.evaluate import evaluate
from camal_rl.cli.explain import explain
from camal_rl.cli.export import export
from camal_rl.cli.fit import fit
from camal_rl.cli.glossary import glossary
from camal_rl.cli.masks import masks
from camal_rl.cli.report import report
from camal_rl.cli.results import results
from camal_rl.cli.sweep import sweep
from camal_rl.cli.train import train
from camal_rl.failures import RunFailure

BAD_INPUT = 2
INTERRUPTED = 130
# Typer carries its own copy of Click or uses the installed one, depending on its version.
_UsageError: type[Any] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="camal-rl",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(envs)
app.command()(masks)
app.command()(train)
app.command()(fit)
app.command()(evaluate)
app.command()(explain)
app.command()(export)
app.command()(compare)
app.command()(sweep)
app.command()(report)
app.add_typer(results)
app.command()(bench)
app.command()(glossary)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"camal-rl {__version__}")
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train agents and image classifiers to attend to relevant objects, and measure whether they do."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its exit code.

    Modules in the current folder can be imported, also by worker processes. The folder is last in the search path, so
    that a file cannot shadow a module of Python or of a package.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        with warning_in_one_line():
            given = None if arguments is None else list(arguments)
            # Untrusted paths are forgotten when the command ends.
            context = contextvars.copy_context()
            code = context.run(app, args=given, prog_name="camal-rl", standalone_mode=False)
    except BadInput as error:
        _fail(str(error))
    except RunFailure as error:
        _fail(error.one_line(), error.exit_code)
    except _UsageError as error:
        _fail(f"{error.format_message()} (camal-rl --help lists the commands)")
    except OSError as error:
        message = cannot_write(error)
        if message is None:
            raise
        _fail(message)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int = BAD_INPUT) -> None:
    print(f"camal-rl: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
