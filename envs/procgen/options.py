"""Procgen's options, checked in Python, because the C++ library ends the process on an unknown value."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields
from typing import Any

from camal_rl.envs.option_checks import check_option_names, check_render_mode

MAX_SEED = 2**31 - 1
_EVERY_GAME = ("easy", "hard")
_MODE_GAMES = {
    "extreme": ("chaser", "dodgeball", "leaper", "starpilot"),
    "memory": ("caveflyer", "dodgeball", "heist", "jumper", "maze", "miner"),
    "exploration": ("coinrun", "caveflyer", "leaper", "jumper", "maze", "heist", "climber", "ninja"),
}


@dataclass(frozen=True)
class ProcgenOptions:
    """Procgen's own options, under Procgen's names.

    Attributes:
        start_level: seed of the first level.
        num_levels: number of levels; 0 is every level, whatever ``start_level`` says.
        distribution_mode: ``easy``, ``hard``, ``extreme``, ``memory`` or ``exploration`` (not every game has the last
            three). The default is ``easy`` (Procgen's own is ``hard``), because the level sets and the constants of the
            normalized score are those of easy mode.
        use_backgrounds: paint the background image.
        restrict_themes: one sprite per object instead of several.
        use_monochrome_assets: flat rectangles instead of sprites.
        center_agent: scroll with the agent, in games that do not set this themselves.
        use_sequential_levels: go on to the next level, in the same episode, when one is completed.
        paint_vel_info: paint the agent's velocity in the corner.
        use_generated_assets: random textures instead of sprites; there are then no masks and no saved states.
        debug_mode: Procgen's own debugging aid.
        num_threads: threads that step the environments; ``None`` is the number of cores, at most 4.
        render_mode: ``rgb_array`` makes ``render()`` return 512 x 512 pixels instead of the observations.
    """

    start_level: int = 0
    num_levels: int = 0
    distribution_mode: str = "easy"
    use_backgrounds: bool = True
    restrict_themes: bool = False
    use_monochrome_assets: bool = False
    center_agent: bool = True
    use_sequential_levels: bool = False
    paint_vel_info: bool = False
    use_generated_assets: bool = False
    debug_mode: int = 0
    num_threads: int | None = None
    render_mode: str | None = None

    def simulator_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of ``ProcgenGym3Env``."""
        arguments = asdict(self)
        if self.num_threads is None:
            arguments["num_threads"] = min(4, os.cpu_count() or 1)
        if self.distribution_mode == "exploration":
            del arguments["start_level"], arguments["num_levels"]
        return arguments

    def of_a_state(self) -> dict[str, str]:
        """Return the options that a saved state depends on: all but ``num_threads`` and ``render_mode``."""
        return {name: str(value) for name, value in asdict(self).items() if name not in ("num_threads", "render_mode")}


def parse_options(game: str, given: dict[str, Any]) -> ProcgenOptions:
    """Check the options given for a game.

    Raises:
        TypeError: unknown option (the message names the nearest one), or a value of the wrong type.
        ValueError: a value that the game does not support.
    """
    known = [option.name for option in fields(ProcgenOptions)]
    check_option_names("Procgen", given, [*known, "segmentation", "relevant"])
    options = ProcgenOptions(**given)
    _check_types(options)
    _check_values(game, options, given)
    return options


def _check_types(options: ProcgenOptions) -> None:
    for option in fields(ProcgenOptions):
        value = getattr(options, option.name)
        if isinstance(option.default, bool):
            expected, valid = "True or False", isinstance(value, bool)
        elif isinstance(option.default, int):
            expected, valid = "an integer", isinstance(value, int) and not isinstance(value, bool)
        elif option.name == "num_threads":
            expected, valid = "an integer or None", value is None or (isinstance(value, int) and value is not True)
        else:
            expected, valid = "a string", isinstance(value, str) or value is option.default
        if not valid:
            raise TypeError(f"{option.name} must be {expected}, got {value!r}")


def _check_values(game: str, options: ProcgenOptions, given: dict[str, Any]) -> None:
    mode = options.distribution_mode
    modes = [*_EVERY_GAME, *(name for name, games in _MODE_GAMES.items() if game in games)]
    if mode not in modes:
        raise ValueError(f"{game} has no distribution_mode {mode!r}; it has {', '.join(modes)}")
    if mode == "exploration" and not given.keys().isdisjoint({"start_level", "num_levels"}):
        raise ValueError("distribution_mode 'exploration' has one level of its own; leave out start_level, num_levels")
    if options.start_level < 0 or options.num_levels < 0:
        raise ValueError(
            f"start_level and num_levels must be at least 0, got {options.start_level} and {options.num_levels}"
        )
    if options.start_level + options.num_levels > MAX_SEED:
        raise ValueError(f"start_level + num_levels must be at most {MAX_SEED}: level seeds are 32-bit integers")
    if options.num_threads is not None and options.num_threads < 0:
        raise ValueError(f"num_threads must be at least 0, got {options.num_threads}")
    check_render_mode(options.render_mode)


def check_seed(seed: int) -> int:
    """Return a seed after checking its range.

    Raises:
        ValueError: not in [0, 2^31).
    """
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed must be in [0, {MAX_SEED}], got {seed}")
    return int(seed)
