"""Table of the games: classes, modes and difficulties, and how exact the masks are.

Classes are those of OCAtari's RAM detectors, modes and difficulties those of ALE. The table makes them available
without these packages, and tests compare it with them. A game starts in its first mode and its first difficulty. The
exactness was measured by `benchmarks/atari_masks.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from camal_rl.envs.registry import Exactness
from camal_rl.envs.segmentation import SegmentationSpec


@dataclass(frozen=True)
class Game:
    """One game.

    Attributes:
        objects: OCAtari's categories of the game's objects, separated by spaces.
        displays: OCAtari's categories of displays such as score and lives, separated by spaces.
        exactness: how exact the masks are; ``none``: masks are refused.
        note: what is not exact, or why there are no masks; may be empty.
        modes: ALE's modes.
        difficulties: ALE's difficulties.
        other: mode and difficulty of the held-out sets; ``None`` chooses the second mode or, if there is only one, the
            second difficulty.
        held_out_checked: whether the masks in :attr:`held_out` were measured and are good.
    """

    objects: str = ""
    displays: str = ""
    exactness: Exactness = "poor"
    note: str = ""
    modes: tuple[int, ...] = (0,)
    difficulties: tuple[int, ...] = (0,)
    other: tuple[int, int] | None = None
    held_out_checked: bool = False

    @property
    def default(self) -> tuple[int, int]:
        """Mode and difficulty that the game starts with."""
        return self.modes[0], self.difficulties[0]

    @property
    def held_out(self) -> tuple[int, int] | None:
        """Mode and difficulty of the held-out sets; ``None`` if the game has only one of each."""
        if self.other is not None:
            return self.other
        for variant in ((self.modes[1:], self.difficulties), (self.modes, self.difficulties[1:])):
            if all(variant):
                return variant[0][0], variant[1][0]
        return None

    @property
    def checked(self) -> tuple[tuple[int, int], ...]:
        """Pairs of mode and difficulty in which masks are available."""
        if self.exactness == "none":
            return ()
        return (self.default, *([self.held_out] if self.held_out is not None and self.held_out_checked else []))

    def labels(self) -> dict[str, int]:
        """Return the label of each of OCAtari's categories; 0 is the background."""
        return {name: label for label, name in enumerate((self.objects + " " + self.displays).split(), start=1)}

    def spec(self) -> SegmentationSpec:
        """Return the classes, ``player_score`` for ``PlayerScore``; all objects are relevant, displays are not."""
        names = ("background", *(class_name(category) for category in self.labels()))
        return SegmentationSpec(names, tuple(class_name(category) for category in self.objects.split()))

    @staticmethod
    def rom(name: str) -> str:
        """Return ALE's name of the game's ROM, ``ms_pacman`` for ``MsPacman``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def class_name(category: str) -> str:
    """Return the name of a class, ``player_score`` for OCAtari's ``PlayerScore``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", category).lower()


GAMES: dict[str, Game] = {
    "Adventure": Game(
        exactness="none",
        note="OCAtari's detector does not find its objects",
        modes=(0, 1, 2),
        difficulties=(0, 1, 2, 3),
    ),
    "Alien": Game(
        "Player Alien Egg Pulsar Rocket",
        "Score Life",
        exactness="good",
        note="eggs could hardly be checked",
        modes=(0, 1, 2, 3),
        difficulties=(0, 1, 2, 3),
    ),
    "Amidar": Game(
        "Player Warrior Pig Shadow Chicken",
        "Score Life",
        note="warriors and shadows are mistaken for each other",
        difficulties=(0, 3),
    ),
    "Assault": Game(exactness="none", note="OCAtari's detector fails on its RAM"),
    "Asterix": Game("Player Enemy Consumable Reward", "Score Lives", exactness="good"),
    "BankHeist": Game(
        "Player Bank Police Dynamite",
        "Score Life Gas_Tank",
        note="checked on few objects",
        modes=(0, 4, 8, 12, 16, 20, 24, 28),
        difficulties=(0, 1, 2, 3),
    ),
    "BeamRider": Game(
        "Player Player_Projectile Torpedos Saucer Rejuvenator Sentinel Blocker Jumper Charger Bouncecraft "
        "Chriper Rock Enemy_Projectile",
        "Torpedos_Available HUD Enemy_Amount Life",
        note="boxes of saucers are displaced, enemy fire has no boxes",
        difficulties=(0, 1),
    ),
    "Bowling": Game(
        "Player Ball Pin",
        "PlayerScore PlayerRound Player2Round",
        exactness="good",
        modes=(0, 2, 4),
        difficulties=(0, 1),
        held_out_checked=True,
    ),
    "Boxing": Game(
        "Player Enemy",
        "Clock PlayerScore EnemyScore",
        exactness="good",
        difficulties=(0, 1, 2, 3),
        held_out_checked=True,
    ),
    "Breakout": Game(
        "Player Ball Block",
        "PlayerScore Live PlayerNumber",
        exactness="good",
        modes=(0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44),
        difficulties=(0, 1),
        held_out_checked=True,
    ),
    "Carnival": Game(
        "Player PlayerMissile Owl Duck FlyingDuck Rabbit ExtraBullets Wheel",
        "PlayerScore AmmoBar BonusSign BonusValue",
        exactness="good",
    ),
    "ChopperCommand": Game(
        "Player MiniPlayer Truck MiniTruck EnemyHelicopter EnemyPlane MiniEnemy Bomb Shot",
        "Score Life",
        note="bombs and some planes are missed",
        modes=(0, 2),
        difficulties=(0, 1),
    ),
    "DemonAttack": Game(
        "Player Enemy EnemyPart PlayerMissile EnemyMissile",
        "Score Lives",
        note="enemy missiles and parts of enemies are often missed",
        modes=(1, 3, 5, 7),
        difficulties=(0, 1),
    ),
    "DonkeyKong": Game(
        "Player Girlfriend Barrel Hammer Ladder Platform DonkeyKong",
        "Score Life",
        exactness="good",
        note="ladders beside girders are missed",
    ),
    "Enduro": Game(exactness="none", note="OCAtari's detector fails on its RAM"),
    "Freeway": Game(
        "Chicken Car",
        "Score",
        exactness="good",
        modes=tuple(range(0, 8)),
        difficulties=(0, 1),
        other=(0, 1),
        held_out_checked=True,
    ),
    "Frostbite": Game(
        "Player Bear House Door FloatingBlock Bird Crab GreenFish Clam",
        "Lives Temperature Score",
        exactness="good",
        note="the player is sometimes missed",
        modes=(0, 2),
        held_out_checked=True,
    ),
    "Gopher": Game(
        "Player Gopher Carrot Bird Hole Floor",
        "Score",
        exactness="good",
        note="masks of holes are the least exact",
        modes=(0, 2),
        difficulties=(0, 1),
        held_out_checked=True,
    ),
    "Hero": Game(
        "Wall LavaWall Platform Enemy Player LaserBeam Bomb EndNPC Lamp",
        "PowerBar BombStock Life Score",
        note="laser beams and bombs are missed",
        modes=tuple(range(0, 5)),
    ),
    "Jamesbond": Game(
        "Player Player_Shot Helicopter Hornet Enemy_Shot Ice Fire_Hole Eruption Diver",
        "Score Life",
        exactness="good",
        note="masks of the player and of shots are the least exact",
        modes=(0, 1),
    ),
    "Kangaroo": Game(
        "Player Child Monkey Fruit Ladder Platform FallingCoconut ThrownCoconut Bell",
        "Score Lives Time",
        exactness="good",
        modes=(0, 1),
        held_out_checked=True,
    ),
    "KungFuMaster": Game(
        "Player Knife_Throwers Henchmen Snake Dragon Dragon_Smoke Dragon_Balls Red_Ball Airball "
        "Small_Enemy Killer_Moth Enemy_Final_Fighter Knifes Dragon_Fire",
        "Score Time Lives Player_Health_Bar Enemy_Health_Bar",
        exactness="good",
        note="a quarter of the player's boxes are wrong",
    ),
    "MarioBros": Game(
        "Player Fireball Platform PowBlock BonusBlock Pest BonusCoin",
        "Life Score Time Level",
        exactness="good",
        modes=(0, 2, 4, 6),
        held_out_checked=True,
    ),
    "MontezumaRevenge": Game(
        "Player Skull Spider Snake Key Amulet Torch Sword Ruby Barrier Beam Rope Key_HUD Amulet_HUD "
        "Torch_HUD Sword_HUD Platform Ladder Conveyer_Belt Wall Disappearing_Platform",
        "Score Life",
        exactness="good",
    ),
    "MsPacman": Game(
        "Player Ghost Fruit PowerPill Pill",
        "Score Life",
        exactness="good",
        note="ghosts flicker, but have a mask in every frame",
        modes=(0, 1, 2, 3),
        held_out_checked=True,
    ),
    "NameThisGame": Game(
        "Player Shot Oxygen_Boat Oxygen_Pipe Shark Treasure Octopus Tentacle",
        "Score Timer Oxygen_Meter",
        exactness="good",
        note="tentacles and the air pipe are often missed",
        modes=(8, 24, 40),
        difficulties=(0, 1),
        held_out_checked=True,
    ),
    "Phoenix": Game(
        "Player Player_Projectile Phoenix Enemy_Projectile Bat Boss Boss_Block_Green Boss_Block_Blue Boss_Block_Red",
        "Score Life",
        note="silhouettes of the player are half empty, enemy fire is often missed",
    ),
    "Pitfall2": Game(exactness="none", note="OCAtari has no detector for it"),
    "Pong": Game(
        "Player Enemy Ball",
        "PlayerScore EnemyScore",
        exactness="good",
        modes=(0, 1),
        difficulties=(0, 1, 2, 3),
        held_out_checked=True,
    ),
    "Pooyan": Game(
        "Player Arrow Bait Balloon Enemy Stone Rock",
        "PlayerScore Lives",
        note="checked on few objects",
        modes=(10, 30, 50, 70),
    ),
    "Qbert": Game(
        "Player Cube Disk PurpleBall RedBall GreenBall Coily Sam",
        "Score Lives",
        note="the balls are missed",
        difficulties=(0, 1),
    ),
    "Riverraid": Game(
        "Player PlayerMissile House Helicopter Tanker Jet Bridge FuelDepot",
        "PlayerScore Lives",
        note="checked on few objects; missiles are often missed",
        difficulties=(0, 1),
    ),
    "RoadRunner": Game(exactness="none", note="OCAtari's detector fails on its RAM"),
    "Seaquest": Game(
        "Player Diver Shark Submarine SurfaceSubmarine EnemyMissile PlayerMissile",
        "PlayerScore Lives OxygenBar OxygenBarDepleted CollectedDiver",
        exactness="good",
        difficulties=(0, 1),
        held_out_checked=True,
    ),
    "Skiing": Game(
        "Player Flag Mogul Tree", "Clock Score", exactness="good", note="masks of trees are the least exact"
    ),
    "SpaceInvaders": Game(
        "Player Alien Satellite Shield Bullet",
        "P1Score P2Score Lives",
        exactness="good",
        note="masks of bullets are the least exact",
        modes=tuple(range(0, 16)),
        difficulties=(0, 1),
        other=(2, 0),
        held_out_checked=True,
    ),
    "Tennis": Game(
        "Player Enemy Ball BallShadow",
        "PlayerScore EnemyScore",
        exactness="good",
        note="masks of the ball and of its shadow are the least exact",
        modes=(0, 2),
        difficulties=(0, 1, 2, 3),
    ),
    "Zaxxon": Game(exactness="none", note="OCAtari has no detector for it", modes=(0, 8, 16, 24)),
}
