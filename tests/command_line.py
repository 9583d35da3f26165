"""The command line as tests call it."""

import pytest

from camal_rl.cli.main import main


def run_main(*arguments):
    """Return the exit code of a command."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return end.value.code


def refusal(capsys):
    """Return the one line by which a command has refused its input; nothing else was printed."""
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("camal-rl: ")
    return err
