"""ViZDoom's scenarios: their classes and relevant sets, which need no engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from camal_rl.envs.segmentation import SegmentationSpec

BACKGROUND, OTHER = "background", "other"
_SEEN_ANYWHERE = ("effect", "corpse", "player", OTHER)

# The engine's object names by class. The scenarios' scripts spawn these, and nothing else.
_OBJECTS: Mapping[str, tuple[str, ...]] = {
    "cacodemon": ("Cacodemon",),
    "demon": ("Demon",),
    "imp": ("DoomImp",),
    "zombieman": ("Zombieman",),
    "shotgun_guy": ("ShotgunGuy",),
    "chaingun_guy": ("ChaingunGuy",),
    "marine": ("MarineChainsawVzd",),
    "hell_knight": ("HellKnight",),
    "fireball": ("DoomImpBall", "BaronBall"),
    "missile": ("Rocket", "PlasmaBall"),
    "medikit": ("Medikit", "CustomMedikit"),
    "stimpack": ("Stimpack",),
    "health_bonus": ("HealthBonus",),
    "poison": ("Poison",),
    "armor": ("GreenArmor", "BlueArmor", "ArmorBonus"),
    "ammo": ("Clip", "ClipBox", "Shell", "ShellBox", "RocketAmmo", "RocketBox", "Cell", "CellPack"),
    "weapon": ("Shotgun", "SuperShotgun", "Chaingun", "RocketLauncher", "PlasmaRifle", "Chainsaw"),
    "effect": ("BulletPuff", "Blood", "RocketSmokeTrail", "TeleportFog"),
    "player": ("DoomPlayer",),
}
_CLASS_OF_OBJECT: Mapping[str, str] = MappingProxyType(
    {name: kind for kind, names in _OBJECTS.items() for name in names}
)


@dataclass(frozen=True)
class Scenario:
    """One of ViZDoom's scenarios.

    Attributes:
        config: the name of its configuration file in ViZDoom, without suffix.
        relevant: the classes that the decision depends on.
        rest: further classes that occur in it, besides those that may occur anywhere.
    """

    config: str
    relevant: tuple[str, ...]
    rest: tuple[str, ...] = ()

    @property
    def spec(self) -> SegmentationSpec:
        """The classes and the default relevant set."""
        return SegmentationSpec((BACKGROUND, *self.relevant, *self.rest, *_SEEN_ANYWHERE), self.relevant)


SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "Basic": Scenario("basic", ("cacodemon",), ("self",)),
        "DeadlyCorridor": Scenario(
            "deadly_corridor", ("zombieman", "shotgun_guy", "chaingun_guy", "armor"), ("ammo", "weapon", "self")
        ),
        "DefendCenter": Scenario("defend_the_center", ("demon", "marine"), ("self",)),
        "DefendLine": Scenario("defend_the_line", ("demon", "imp", "fireball"), ("self",)),
        "HealthGathering": Scenario("health_gathering", ("medikit",)),
        "HealthGatheringSupreme": Scenario("health_gathering_supreme", ("medikit", "poison")),
        "MyWayHome": Scenario("my_way_home", ("armor",)),
        "PredictPosition": Scenario("predict_position", ("cacodemon",), ("missile", "self")),
        "TakeCover": Scenario("take_cover", ("imp", "fireball")),
        "Deathmatch": Scenario(
            "deathmatch",
            (
                *("demon", "zombieman", "shotgun_guy", "chaingun_guy", "marine", "hell_knight", "fireball"),
                *("medikit", "stimpack", "health_bonus", "armor", "ammo", "weapon"),
            ),
            ("missile", "self"),
        ),
    }
)


def class_of_object(name: str, category: str) -> str:
    """Return the class of an object of the engine; ``other`` for unknown objects.

    Args:
        name: the engine's name of the object's class; killed objects have the prefix ``Dead``.
        category: the engine's category; ``Self`` distinguishes the player's own weapon from other players.
    """
    if category == "Self":
        return "self"
    if name.startswith("Dead"):
        return "corpse"
    return _CLASS_OF_OBJECT.get(name, OTHER)
