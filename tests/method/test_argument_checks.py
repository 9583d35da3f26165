"""Checks of single arguments: what passes, and the one line that says what was expected and what came."""

import math

import pytest

from camal_rl.argument_checks import check_choice, check_flag, check_integer, check_number, check_seed
from camal_rl.spelling import check_names


def test_values_within_their_bounds_pass():
    check_integer("n", 1, 1, 1)
    check_number("x", 1, 0.0, 1.0)
    check_number("x", math.inf)
    check_choice("kind", None, ("a", None))
    check_flag("on", False)
    check_seed("seed", 2**32 - 1)
    check_names(["a"], {"a": 1}, "name")


@pytest.mark.parametrize(
    ("check", "error", "message"),
    [
        (lambda: check_integer("n", True, 0, 9), TypeError, "n must be an integer, got True"),
        (lambda: check_integer("n", 2.0, 0, 9), TypeError, "n must be an integer, got 2.0"),
        (lambda: check_integer("n", 10, 0, 9), ValueError, "n must be in [0, 9], got 10"),
        (lambda: check_number("x", False), TypeError, "x must be a number, got False"),
        (lambda: check_number("x", "1", 0, 1), TypeError, "x must be a number, got '1'"),
        (lambda: check_number("x", 1.5, 0.0, 0.9), ValueError, "x must be in [0, 0.9], got 1.5"),
        (lambda: check_number("x", math.nan, 0.0, 1.0), ValueError, "x must be in [0, 1], got nan"),
        (lambda: check_choice("kind", "c", ("a", None)), ValueError, "kind must be one of 'a', None, got 'c'"),
        (lambda: check_flag("on", 1), TypeError, "on must be true or false, got 1"),
        (lambda: check_seed("seed", 2**32), ValueError, "seed must be in [0, 4294967295], got 4294967296"),
        (lambda: check_names(["bok"], ["box"], "mask"), ValueError,
         "unknown mask 'bok'; did you mean 'box'? known: box"),
        (lambda: check_names(["a"], [], "mask"), ValueError, "unknown mask 'a'; known: none"),
    ],
)  # fmt: skip
def test_anything_else_is_one_line(check, error, message):
    with pytest.raises(error) as caught:
        check()
    assert str(caught.value) == message
