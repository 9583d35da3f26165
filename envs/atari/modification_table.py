"""Table of each game's modifications as changes of the RAM. Names and addresses are those of HackAtari.

HackAtari (Delfosse et al. 2024, arXiv 2406.03997, MIT) found the addresses. Its package is not used; docs/atari.md says
why. `benchmarks/atari_modifications.py` measured which modifications are ``checked``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from camal_rl.envs.atari.modifications import Change, Drift, Effect, Follow, Hold, Modification, StandStill

_COLORS = {"red": 48, "blue": 113, "green": 200, "white": 12, "black": 0}
_CAR_COLORS = {"black": 0, "white": 15, "red": 66, "blue": 145, "green": 210}


def _fixed(addresses: Iterable[int], value: int) -> Hold:
    return Hold(dict.fromkeys(addresses, value))


def _colors(
    name: str, things: str, classes: tuple[str, ...], addresses: Iterable[int], colors: Mapping[str, int] = _COLORS
) -> dict[str, Modification]:
    """Return one modification per color; ``{}`` in ``name`` stands for the color."""
    places = tuple(addresses)
    return {
        name.format(color): Modification("appearance", f"{things} {color}", _fixed(places, value), classes)
        for color, value in colors.items()
    }


def _behavior(summary: str, effect: Effect) -> Modification:
    return Modification("behavior", summary, effect)


# Vertical and horizontal coordinates of the ghosts, and a place in the middle of the maze for each.
_GHOSTS = {
    "orange": {6: 93, 12: 80},
    "cyan": {7: 83, 13: 80},
    "pink": {8: 93, 14: 67},
    "red": {9: 83, 15: 67},
}

_ALL: dict[str, dict[str, Modification]] = {
    "Asterix": {
        "even_lines_free": _behavior(
            "the even lines are empty",
            Hold({**{73 + i: i + 1 for i in (1, 3, 5, 7)}, **dict.fromkeys((17, 15, 13, 11), 11)}),
        ),
        "odd_lines_free": _behavior(
            "the odd lines are empty",
            Hold({**{73 + i: i + 1 for i in (0, 2, 4, 6)}, **dict.fromkeys((18, 16, 14, 12), 11)}),
        ),
    },
    "Boxing": {
        "one_armed": _behavior("the player cannot hit with the right arm", Hold({101: 128})),
        "gravity": _behavior("the player is pulled down", Drift(34, by=1, every=3, least=0, most=86)),
        **_colors("color_player_{}", "the player is", ("player",), [1]),
        **_colors("color_enemy_{}", "the enemy is", ("enemy",), [2]),
    },
    "Breakout": {
        "right_drift": _behavior(
            "the ball drifts to the right", Drift(99, by=2, every=10, least=55, most=197, in_sight=(101, 187))
        ),
        "left_drift": _behavior(
            "the ball drifts to the left", Drift(99, by=-2, every=10, least=59, most=201, in_sight=(101, 187))
        ),
        "gravity": _behavior("the ball is pulled down", Drift(101, by=2, every=10, least=88, most=163)),
        "inverse_gravity": _behavior("the ball is pulled up", Drift(101, by=-2, every=10, least=92, most=182)),
        **_colors("color_all_blocks_{}", "all blocks are", ("block",), range(64, 70)),
        **_colors("color_player_and_ball_{}", "player and ball are", ("player", "ball"), [62]),
    },
    "Carnival": {
        "no_flying_ducks": _behavior("ducks of the last row vanish instead of flying", Hold({1: 79})),
        "missile_speed_large_increase": _behavior("shots are faster by 3 pixels a frame", Drift(55, -3, 1, least=5)),
    },
    "DonkeyKong": {"no_barrel": _behavior("there are no barrels", Hold({25: 255}))},
    "Freeway": {
        "stop_all_cars": _behavior(
            "no car moves; the cars stand in two columns, one on either side",
            Hold(
                {
                    **dict.fromkeys(range(33, 43), 100),
                    **dict.fromkeys(range(108, 113), 15),
                    **dict.fromkeys(range(113, 118), 150),
                }
            ),
        ),
        **_colors("all_{}_cars", "all cars are", ("car",), range(77, 87), _CAR_COLORS),
    },
    "Frostbite": {
        "no_birds": _behavior("there are no animals between the floes", _fixed(range(92, 96), 0)),
        "many_enemies": _behavior("there are many animals between the floes", _fixed(range(92, 96), 15)),
        "reposition_floes_easy": _behavior(
            "floes stand still, one below another", Hold({22: 0, **dict.fromkeys(range(31, 35), 80)})
        ),
    },
    "Kangaroo": {
        "disable_monkeys": _behavior("there are no monkeys", _fixed(range(8, 12), 127)),
        "disable_coconut": _behavior("no coconut falls", _fixed((33, 35), 255)),
        "disable_thrown_coconut": _behavior("no coconut is thrown", Hold({25: 255, 28: 255, 31: 0})),
        "change_level_1": _behavior("the second level is played", Hold({36: 1})),
        "change_level_2": _behavior("the third level is played", Hold({36: 2})),
    },
    "MsPacman": {
        "caged_ghosts": _behavior(
            "all ghosts stay in the middle", Hold({k: v for each in _GHOSTS.values() for k, v in each.items()})
        ),
        "set_level_1": _behavior("the second maze is played", Hold({0: 1})),
        "set_level_2": _behavior("the third maze is played", Hold({0: 2})),
    },
    "Pong": {
        "lazy_enemy": _behavior(
            "the enemy stands still while the ball flies away from it", StandStill(21, while_grows=49)
        ),
        "up_drift": _behavior("the ball drifts up", Drift(54, by=-1, every=6)),
        "down_drift": _behavior("the ball drifts down", Drift(54, by=1, every=6)),
        "right_drift": _behavior("the ball drifts to the right", Drift(49, by=1, every=6)),
        "left_drift": _behavior("the ball drifts to the left", Drift(49, by=-1, every=6)),
    },
    "Seaquest": {
        "gravity": _behavior("the player sinks", Drift(97, by=1, every=5, least=0, most=104)),
        "disable_enemies": _behavior("there are no enemies", _fixed((36, 37, 38, 39, 60), 0)),
    },
    "SpaceInvaders": {
        "disable_shield_left": _behavior("the left shield is missing", _fixed(range(43, 52), 0)),
        "disable_shield_middle": _behavior("the middle shield is missing", _fixed(range(52, 61), 0)),
        "disable_shield_right": _behavior("the right shield is missing", _fixed(range(61, 71), 0)),
        "controlable_missile": _behavior("the player's shot follows the player", Follow(87, leader=28)),
    },
    "Tennis": {
        "always_upper_player": _behavior("the player always plays on the upper side", Hold({80: 0})),
        "always_lower_player": _behavior("the player always plays on the lower side", Hold({80: 1})),
    },
}

# Modifications with which masks are not good or were not measured.
_NOT_GOOD = {
    "Asterix": "even_lines_free odd_lines_free",
    "Breakout": "color_all_blocks_red color_all_blocks_blue color_all_blocks_green color_all_blocks_white "
    "color_all_blocks_black color_player_and_ball_black",
    "Carnival": "no_flying_ducks missile_speed_large_increase",
    "DonkeyKong": "no_barrel",
    "Frostbite": "no_birds many_enemies reposition_floes_easy",
    "Kangaroo": "change_level_1 change_level_2",
    "MsPacman": "caged_ghosts set_level_1 set_level_2",
    "Seaquest": "gravity disable_enemies",
    "SpaceInvaders": "disable_shield_left disable_shield_middle disable_shield_right",
    "Tennis": "always_upper_player always_lower_player",
}
MODIFICATIONS = {
    game: {name: replace(each, checked=name not in _NOT_GOOD.get(game, "").split()) for name, each in known.items()}
    for game, known in _ALL.items()
}
_LEVEL_SETS: Mapping[str, Change] = {"held_out_object_colors": "appearance", "held_out_behavior": "behavior"}


def held_out_modifications(game: str) -> dict[str, tuple[str, ...]]:
    """Return the modifications of a game's level sets: of each kind, the first with which masks are good."""
    found: dict[str, tuple[str, ...]] = {}
    for key, kind in _LEVEL_SETS.items():
        fitting = [name for name, each in MODIFICATIONS.get(game, {}).items() if each.checked and each.changes == kind]
        if fitting:
            found[key] = (fitting[0],)
    return found
