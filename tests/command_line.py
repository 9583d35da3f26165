"""The command line as tests call it."""

import pytest

from camal_rl.cli.main import main


def run_main(*arguments):
    """Return the exit code of a command."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return end.value.code
