"""Checks of a user's options that all families share: names, lists of classes, render modes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from camal_rl.spelling import did_you_mean


def check_option_names(owner: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raise a TypeError for an unknown option; the message names the nearest known option and lists all of them.

    Args:
        owner: whose options they are, for the message.
        given: names of the options that were given.
        known: names of the existing options.
    """
    for key in given:
        if key not in known:
            hint = did_you_mean(key, known)
            raise TypeError(f"unknown {owner} option {key!r}; {hint}options are {', '.join(known)}")


def class_names(relevant: object) -> tuple[str, ...] | None:
    """Return the option ``relevant`` as a tuple of names; ``None`` stays ``None``.

    Raises:
        TypeError: not a list of names.
    """
    return None if relevant is None else list_of_names("relevant", "class names", relevant)


def list_of_names(option: str, kind: str, given: object) -> tuple[str, ...]:
    """Return an option as a tuple of names.

    Args:
        option: its name, for the message.
        kind: what it lists, for the message.
        given: its value.

    Raises:
        TypeError: not a list of names.
    """
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(f"{option} must be a list of {kind}, got {given!r}; write [{given}]")
    return tuple(str(name) for name in given)


def check_render_mode(render_mode: object) -> None:
    """Raise a ValueError unless a render mode is ``None`` or ``"rgb_array"``; for a window, it says what to call."""
    if render_mode not in (None, "rgb_array"):
        window = (
            "; for a window: gymnasium.make(id, render_mode='human'), or vec_env.render('human') of a vectorized one"
        )
        raise ValueError(
            f"render_mode must be None or 'rgb_array', got {render_mode!r}{window if render_mode == 'human' else ''}"
        )
