"""What people call the actions of an environment."""

from __future__ import annotations

from gymnasium import spaces

_NAMES = {
    "toy_grid": ("up", "right", "down", "left"),
    # Some environments have the first of them only.
    "minigrid": ("left", "right", "forward", "pick up", "drop", "toggle", "done"),
    # Procgen's order of key combinations; what D, A, W, S, Q and E do differs from game to game.
    "procgen": (
        "left down",
        "left",
        "left up",
        "down",
        "none",
        "up",
        "right down",
        "right",
        "right up",
        "key D",
        "key A",
        "key W",
        "key S",
        "key Q",
        "key E",
    ),
}


def action_names(env_id: str, space: spaces.Space) -> tuple[str, ...]:
    """Return one name for each action; ``action 0``, ``action 1``, ... where the family has no names.

    Raises:
        ValueError: the actions are not discrete.
    """
    if not isinstance(space, spaces.Discrete):
        raise ValueError(f"actions can be named only where they are discrete, got {space}")
    names = _NAMES.get(env_id.partition("/")[0], ())
    return names[: space.n] if len(names) >= space.n else tuple(f"action {index}" for index in range(int(space.n)))
