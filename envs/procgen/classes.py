"""What each Procgen game draws: object types, their classes, and which classes the decision depends on.

``drawn`` maps the type that is drawn (``image_for_type(image_type)`` in the game's C++ source) to a class, because
games draw one object with several types: coinrun's player has one type per running sprite. Ids and remappings are from
the source of openai/procgen 0.10.7 and were checked against renders (``benchmarks/procgen_masks.py``).

The relevant set contains the classes that the decision depends on, whether they move or not. Of the terrain, only the
edges are relevant, because the agent stands on them and bumps into them; the inside carries no information. In mazes
the walls' edges cover most of the frame. Marking them as relevant would tell the agent nothing, so only objects are
relevant there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from camal_rl.envs.segmentation import SegmentationSpec

Color = tuple[int, int, int]

BACKGROUND = "background"
_EXPLOSION = {54: "explosion", 55: "explosion", 56: "explosion", 57: "explosion", 58: "explosion"}


@dataclass(frozen=True)
class GameClasses:
    """The classes of one game.

    Attributes:
        drawn: class by drawn type.
        relevant: the default relevant set.
        colors: class by color, for shapes that the game paints itself, outside the scheme of one color per type.
        edges: class of a terrain's edge by the class of the terrain; empty if edges have no class of their own.
        themes: number of themes by drawn type, for types whose themes the flat-color render must keep.
        theme_classes: class by (drawn type, theme), where the theme decides the class.
        display: classes painted onto the screen, in front of the world but not part of it.
        turned: classes of a single object that is drawn turned by 90 degrees, so that its box has to be turned as well.
        translucent: colors with an opacity in [0, 255]; classes behind them stay visible.
    """

    drawn: Mapping[int, str]
    relevant: tuple[str, ...]
    colors: Mapping[Color, str] = field(default_factory=lambda: MappingProxyType({}))
    edges: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    themes: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    theme_classes: Mapping[tuple[int, int], str] = field(default_factory=lambda: MappingProxyType({}))
    display: tuple[str, ...] = ()
    turned: tuple[str, ...] = ()
    translucent: tuple[tuple[Color, int], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by label; the background is 0."""
        found = [BACKGROUND, *self.drawn.values(), *self.theme_classes.values()]
        found += [*self.colors.values(), *self.edges.values()]
        return tuple(dict.fromkeys(found))

    @property
    def spec(self) -> SegmentationSpec:
        """The classes of the game and its default relevant set."""
        return SegmentationSpec(self.names, self.relevant)


GAMES: Mapping[str, GameClasses] = MappingProxyType(
    {
        # All decisions depend on which fish are smaller than the agent.
        "bigfish": GameClasses(
            drawn={0: "agent", 2: "fish"},
            relevant=("agent", "fish"),
            themes={2: 3},
        ),
        # The shield shows when the boss can be hit. Meteors give cover and kill on contact. A laser's trail is drawn
        # with the laser's own sprite, so both are one class. The agent's own lasers do not affect its next decision.
        "bossfight": GameClasses(
            drawn={
                0: "agent",
                1: "player_laser",
                2: "boss",
                3: "shield",
                4: "enemy_laser",
                7: "meteor",
                **_EXPLOSION,
            },
            relevant=("agent", "boss", "shield", "enemy_laser", "meteor"),
        ),
        # A cave to fly through: its walls kill, targets give reward, the goal ends the episode.
        "caveflyer": GameClasses(
            drawn={
                0: "agent",
                1: "goal",
                2: "obstacle",
                3: "target",
                4: "player_laser",
                5: "enemy",
                8: "wall",
                9: "exhaust",
                **_EXPLOSION,
            },
            relevant=("agent", "goal", "obstacle", "target", "enemy", "wall_edge"),
            edges={"wall": "wall_edge"},
        ),
        # Every orb gives reward; weak enemies are drawn with a sprite of their own; eggs become enemies.
        "chaser": GameClasses(
            drawn={
                0: "agent",
                2: "large_orb",
                3: "weak_enemy",
                4: "enemy_egg",
                5: "wall",
                6: "enemy",
                7: "enemy",
                8: "enemy",
            },
            relevant=("agent", "orb", "large_orb", "weak_enemy", "enemy_egg", "enemy"),
            colors={(0, 255, 0): "orb"},
            edges={"wall": "wall_edge"},
        ),
        # Relevant: the edges of the platforms to jump to, the enemies on them, and coins.
        "climber": GameClasses(
            drawn={
                0: "agent",
                9: "agent",
                12: "agent",
                13: "agent",
                1: "coin",
                6: "enemy",
                7: "enemy",
                15: "wall",
                16: "wall",
            },
            relevant=("agent", "coin", "enemy", "wall_edge"),
            edges={"wall": "wall_edge"},
        ),
        # Relevant: the edges of ground and pits, everything that kills, crates to jump on, and the coin. Walking
        # enemies leave a trail.
        "coinrun": GameClasses(
            drawn={
                0: "agent",
                9: "agent",
                12: "agent",
                13: "agent",
                1: "coin",
                2: "saw",
                3: "saw",
                6: "enemy",
                7: "enemy",
                15: "wall",
                16: "wall",
                17: "lava",
                18: "lava",
                20: "crate",
                59: "trail",
            },
            relevant=("agent", "coin", "saw", "enemy", "lava", "crate", "wall_edge"),
            edges={"wall": "wall_edge"},
        ),
        # Walls kill; the door opens (and is drawn differently) when no enemy is left.
        "dodgeball": GameClasses(
            drawn={
                0: "agent",
                1: "wall",
                3: "player_ball",
                4: "enemy",
                5: "closed_door",
                6: "enemy_ball",
                7: "open_door",
                8: "dust",
                10: "outside",
            },
            relevant=("agent", "wall", "enemy", "closed_door", "enemy_ball", "open_door"),
        ),
        # The robot drives by itself. Relevant: gaps in walls, locks to throw keys at, good and bad food.
        "fruitbot": GameClasses(
            drawn={
                0: "agent",
                1: "wall",
                2: "outside",
                3: "thrown_key",
                4: "bad_food",
                7: "fruit",
                10: "door",
                11: "lock",
                12: "present",
            },
            relevant=("agent", "wall", "bad_food", "fruit", "door", "lock", "present"),
        ),
        # The held keys, shown in the corner, determine which doors open.
        "heist": GameClasses(
            drawn={0: "agent", 1: "locked_door", 2: "key", 9: "gem", 11: "held_key", 51: "wall"},
            relevant=("agent", "locked_door", "key", "gem", "held_key"),
            edges={"wall": "wall_edge"},
            themes={1: 3, 2: 3},
            display=("held_key",),
        ),
        # The compass points to the goal, which is rarely in view. The puff under a double jump is translucent.
        "jumper": GameClasses(
            drawn={
                0: "agent",
                9: "agent",
                10: "agent",
                11: "agent",
                12: "agent",
                13: "agent",
                1: "goal",
                2: "spike",
                6: "wall",
                7: "wall",
                51: "wall",
                59: "trail",
            },
            relevant=("agent", "goal", "spike", "compass", "wall_edge"),
            colors={(168, 166, 158): "compass", (252, 186, 3): "compass"},
            edges={"wall": "wall_edge"},
            display=("compass",),
            translucent=(((255, 255, 255), 120),),
        ),
        # Logs carry the agent over the water. The water is not relevant: it is everything between the logs.
        "leaper": GameClasses(
            drawn={0: "agent", 1: "log", 2: "road", 3: "water", 4: "car", 5: "finish_line"},
            relevant=("agent", "log", "car", "finish_line"),
            themes={0: 5},
        ),
        "maze": GameClasses(
            drawn={0: "agent", 2: "cheese", 51: "wall"},
            relevant=("agent", "cheese"),
            edges={"wall": "wall_edge"},
        ),
        # Boulders and diamonds fall when the dirt under them is dug away; dirt fills the rest of the frame.
        "miner": GameClasses(
            drawn={0: "agent", 1: "boulder", 2: "diamond", 5: "enemy", 6: "exit", 9: "dirt", 10: "outside"},
            relevant=("agent", "boulder", "diamond", "enemy", "exit"),
        ),
        # The bar shows how far the jump is charged; an explosion kills the agent.
        "ninja": GameClasses(
            drawn={
                0: "agent",
                9: "agent",
                12: "agent",
                13: "agent",
                1: "mushroom",
                6: "bomb",
                7: "throwing_star",
                14: "fire",
                20: "wall",
                **_EXPLOSION,
            },
            relevant=("agent", "mushroom", "bomb", "fire", "explosion", "jump_charge", "wall_edge"),
            colors={(66, 245, 135): "jump_charge"},
            edges={"wall": "wall_edge"},
            display=("jump_charge",),
        ),
        # The legend in the corner shows which ships to sink; panels stop cannon balls. Player and ships share a type;
        # ``repaint.py`` separates them.
        "plunder": GameClasses(
            drawn={0: "agent", 1: "cannon_ball", 2: "legend", 4: "legend_background", 6: "panel", **_EXPLOSION},
            relevant=("agent", "target_ship", "other_ship", "legend", "panel"),
            colors={(66, 245, 135): "display", (245, 66, 144): "display"},
            theme_classes={(7, 0): "target_ship", (7, 2): "other_ship"},
            display=("display",),
            turned=("agent",),
        ),
        # The agent's own bullets lead to rewards, so the value depends on them. Clouds hide what flies behind them but
        # do no harm.
        "starpilot": GameClasses(
            drawn={
                0: "agent",
                1: "player_bullet",
                2: "enemy_bullet",
                3: "enemy_bullet",
                4: "flyer",
                8: "flyer",
                5: "meteor",
                6: "cloud",
                7: "turret",
                9: "finish_line",
                **_EXPLOSION,
            },
            relevant=("agent", "player_bullet", "enemy_bullet", "flyer", "meteor", "turret", "finish_line"),
        ),
    }
)
