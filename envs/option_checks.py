"""What every family checks of the options that a user gives: names, lists of classes, render modes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from camal_rl.spelling import did_you_mean


def check_option_names(owner: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raise a TypeError for an option that does not exist; it names the one that may be meant and lists them all.

    Args:
        owner: whose options they are, for the message.
        given: names of the options that were given.
        known: names of the options that there are.
    """
    for key in given:
        if key not in known:
            hint = did_you_mean(key, known)
            raise TypeError(f"unknown {owner} option {key!r}; {hint}Options: {', '.join(known)}")


def class_names(relevant: object) -> tuple[str, ...] | None:
    """Return the option ``relevant`` as a tuple of names; ``None`` stays.

    Raises:
        TypeError: no list of names.
    """
    if relevant is None:
        return None
    if isinstance(relevant, str) or not isinstance(relevant, Sequence):
        raise TypeError(f"relevant is a list of class names, got {relevant!r}; write [{relevant}]")
    return tuple(str(name) for name in relevant)


def check_render_mode(render_mode: object) -> None:
    """Raise a ValueError unless a render mode is ``None`` or ``"rgb_array"``; it says what opens a window instead."""
    if render_mode not in (None, "rgb_array"):
        window = (
            "; for a window: gymnasium.make(id, render_mode='human'), or vec_env.render('human') of a vectorized one"
        )
        raise ValueError(
            f"render_mode is None or 'rgb_array', got {render_mode!r}{window if render_mode == 'human' else ''}"
        )
