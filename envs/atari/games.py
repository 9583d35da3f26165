"""What is known about each game: its classes, modes and difficulties, and how exact its masks are.

Classes are those of OCAtari's RAM detectors, modes and difficulties those of ALE; both are written down here so that
they are known without either, and compared with them in the tests. The first mode and the first difficulty are those
that a game starts with. The exactness is what `benchmarks/atari_masks.py` measured.
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
        objects: OCAtari's categories of what takes part in the game, in one string.
        displays: its categories of scores, lives and the like.
        exactness: how exact the masks are; ``none`` where they are refused.
        note: one sentence on what is not exact, or why there are no masks; may be empty.
        modes: ALE's modes.
        difficulties: ALE's difficulties.
        other: mode and difficulty of the held-out sets, where not the second mode or else the second difficulty.
        held_out_checked: whether the masks were measured in :attr:`held_out` and found good.
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
        """Mode and difficulty of the held-out sets; ``None`` where there is only one of each."""
        if self.other is not None:
            return self.other
        for variant in ((self.modes[1:], self.difficulties), (self.modes, self.difficulties[1:])):
            if all(variant):
                return variant[0][0], variant[1][0]
        return None

    @property
    def checked(self) -> tuple[tuple[int, int], ...]:
        """Modes and difficulties in which masks can be asked for."""
        if self.exactness == "none":
            return ()
        return (self.default, *([self.held_out] if self.held_out is not None and self.held_out_checked else []))

    def labels(self) -> dict[str, int]:
        """Return the label of each of OCAtari's categories; 0 is the background."""
        return {name: label for label, name in enumerate((self.objects + " " + self.displays).split(), start=1)}

    def spec(self) -> SegmentationSpec:
        """Return the classes, ``player_score`` for ``PlayerScore``; everything but the displays is relevant."""
        names = ("background", *(class_name(category) for category in self.labels()))
        return SegmentationSpec(names, tuple(class_name(category) for category in self.objects.split()))

    @staticmethod
    def rom(name: str) -> str:
        """Return ALE's name of the game's file, ``ms_pacman`` for ``MsPacman``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def class_name(category: str) -> str:
    """Return the name of a class, ``player_score`` for OCAtari's ``PlayerScore``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", category).lower()


GAMES: dict[str, Game] = {
    "Adventure": Game(
        modes=(0, 1, 2),
        difficulties=(0, 1, 2, 3),
        exactness="none",
        note="OCAtari's detector does not find its objects",
    ),
    "AirRaid": Game(
        "Player Building Enemy25 Enemy50 Enemy75 Enemy100 Missile", "PlayerScore Lives", modes=tuple(range(1, 9))
    ),
    "Alien": Game("Player Alien Egg Pulsar Rocket", "Score Life", modes=(0, 1, 2, 3), difficulties=(0, 1, 2, 3)),
    "Amidar": Game("Player Warrior Pig Shadow Chicken", "Score Life", difficulties=(0, 3)),
    "Assault": Game(exactness="none", note="OCAtari's detector fails on its RAM"),
    "Asterix": Game("Player Enemy Consumable Reward", "Score Lives"),
    "Asteroids": Game(
        "Player Asteroid PlayerMissile", "PlayerScore Lives", modes=(*range(32), 128), difficulties=(0, 3)
    ),
    "Atlantis": Game(
        "Sentry Projectile AquaPlane DomedPalace Generator BridgedBazaar AcropolisCommandPost BanditBomber GorgonShip Deathray",
        "Score",
        modes=(0, 1, 2, 3),
    ),
    "BankHeist": Game(
        "Player Bank Police Dynamite",
        "Score Life Gas_Tank",
        modes=(0, 4, 8, 12, 16, 20, 24, 28),
        difficulties=(0, 1, 2, 3),
    ),
    "BattleZone": Game(
        "Player Crosshair Shot Radar Radar_Content Blue_Tank Yellow_Blue_Tank Red_Thing Boss",
        "Score Life",
        modes=(1, 2, 3),
    ),
    "BeamRider": Game(
        "Player Player_Projectile Torpedos Saucer Rejuvenator Sentinel Blocker Jumper Charger Bouncecraft Chriper Rock Enemy_Projectile",
        "Torpedos_Available HUD Enemy_Amount Life",
        difficulties=(0, 1),
    ),
    "Berzerk": Game(
        "Player PlayerMissile Enemy EnemyMissile",
        "PlayerScore BonusPoints Lives",
        modes=(1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 18),
    ),
    "Bowling": Game("Player Ball Pin", "PlayerScore PlayerRound Player2Round", modes=(0, 2, 4), difficulties=(0, 1)),
    "Boxing": Game("Player Enemy", "Clock PlayerScore EnemyScore", difficulties=(0, 1, 2, 3)),
    "Breakout": Game(
        "Player Ball Block",
        "PlayerScore Live PlayerNumber",
        modes=(0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44),
        difficulties=(0, 1),
    ),
    "Carnival": Game(
        "Player PlayerMissile Owl Duck FlyingDuck Rabbit ExtraBullets Wheel", "PlayerScore AmmoBar BonusSign BonusValue"
    ),
    "Centipede": Game(
        "CentipedeSegment Player Projectile Mushroom Spider Flea Scorpion", "Score Ground Life", modes=(22, 86)
    ),
    "ChopperCommand": Game(
        "Player MiniPlayer Truck MiniTruck EnemyHelicopter EnemyPlane MiniEnemy Bomb Shot",
        "Score Life",
        modes=(0, 2),
        difficulties=(0, 1),
    ),
    "CrazyClimber": Game(
        "Player Window Enemy_Red Enemy_Bird Yellow_Projectile Purple_Projectile Blue_Projectile Yellow_Ball Helicopter",
        "Score Life",
        modes=(0, 1, 2, 3),
        difficulties=(0, 1),
    ),
    "DemonAttack": Game(
        "Player Enemy EnemyPart PlayerMissile EnemyMissile", "Score Lives", modes=(1, 3, 5, 7), difficulties=(0, 1)
    ),
    "DonkeyKong": Game("Player Girlfriend Barrel Hammer Ladder Platform DonkeyKong", "Score Life"),
    "DoubleDunk": Game(
        "Player_Small Player_Big Opponent_Small Opponent_Big Ball Basket Backboard",
        "Player_Score Opponent_Score",
        modes=tuple(range(0, 16)),
    ),
    "Enduro": Game(exactness="none", note="OCAtari's detector fails on its RAM"),
    "FishingDerby": Game(
        "Fish Shark PlayerOneHook PlayerTwoHook", "ScorePlayerOne ScorePlayerTwo", difficulties=(0, 1, 2, 3)
    ),
    "Freeway": Game("Chicken Car", "Score", modes=tuple(range(0, 8)), difficulties=(0, 1)),
    "Frogger": Game(
        "Frog Car Log Turtle Alligator LadyFrog HappyFrog AlligatorHead Fly Snake",
        "Score Lives Time",
        modes=(0, 1, 2),
        difficulties=(0, 1),
    ),
    "Frostbite": Game(
        "Player Bear House Door FloatingBlock Bird Crab GreenFish Clam", "Lives Temperature Score", modes=(0, 2)
    ),
    "Galaxian": Game(
        "Player PlayerMissile EnemyMissile EnemyShip DivingEnemy",
        "Score Round Lives",
        modes=tuple(range(1, 10)),
        difficulties=(0, 1),
    ),
    "Gopher": Game("Player Gopher Carrot Bird Hole Floor", "Score", modes=(0, 2), difficulties=(0, 1)),
    "Hero": Game(
        "Wall LavaWall Platform Enemy Player LaserBeam Bomb EndNPC Lamp",
        "PowerBar BombStock Life Score",
        modes=tuple(range(0, 5)),
    ),
    "IceHockey": Game("Player Enemy Ball", "PlayerScore EnemyScore Timer", modes=(0, 2), difficulties=(0, 1, 2, 3)),
    "Jamesbond": Game(
        "Player Player_Shot Helicopter Hornet Enemy_Shot Ice Fire_Hole Eruption Diver", "Score Life", modes=(0, 1)
    ),
    "Kangaroo": Game(
        "Player Child Monkey Fruit Ladder Platform FallingCoconut ThrownCoconut Bell", "Score Lives Time", modes=(0, 1)
    ),
    "KeystoneKapers": Game(
        "Kop Krook Ball Moneybag Suitcase Elevator Escalator SecuritySystem Radio Cart Biplane", "BonusKops Score Timer"
    ),
    "KingKong": Game("Player Girlfriend Enemy Bomb Ladder", "Score BonusPoints", modes=(0, 1, 2, 3)),
    "Krull": Game(
        "Player Lyssa Slayers Slayer_Shot Fire_Mare Spider Weapon Enemy_Weapon Beast Wall Window Line Star Castle",
        "Life Sun Hour_Glass Score Life_HUD Weapon_HUD",
    ),
    "KungFuMaster": Game(
        "Player Knife_Throwers Henchmen Snake Dragon Dragon_Smoke Dragon_Balls Red_Ball Airball Small_Enemy Killer_Moth Enemy_Final_Fighter Knifes Dragon_Fire",
        "Score Time Lives Player_Health_Bar Enemy_Health_Bar",
    ),
    "MarioBros": Game(
        "Player Fireball Platform PowBlock BonusBlock Pest BonusCoin", "Life Score Time Level", modes=(0, 2, 4, 6)
    ),
    "MontezumaRevenge": Game(
        "Player Skull Spider Snake Key Amulet Torch Sword Ruby Barrier Beam Rope Key_HUD Amulet_HUD Torch_HUD Sword_HUD Platform Ladder Conveyer_Belt Wall Disappearing_Platform",
        "Score Life",
    ),
    "MsPacman": Game("Player Ghost Fruit PowerPill Pill", "Score Life", modes=(0, 1, 2, 3)),
    "NameThisGame": Game(
        "Player Shot Oxygen_Boat Oxygen_Pipe Shark Treasure Octopus Tentacle",
        "Score Timer Oxygen_Meter",
        modes=(8, 24, 40),
        difficulties=(0, 1),
    ),
    "Pacman": Game("Player Ghost PowerPill", "Score Life", modes=tuple(range(0, 8)), difficulties=(0, 1)),
    "Phoenix": Game(
        "Player Player_Projectile Phoenix Enemy_Projectile Bat Boss Boss_Block_Green Boss_Block_Blue Boss_Block_Red",
        "Score Life",
    ),
    "Pitfall": Game(
        "Player Wall Logs StairPit Stair Pit Scorpion Rope Snake Tarpit Waterhole Crocodile GoldenBar SilverBar DiamondRing Fire MoneyBag Platform",
        "LifeCount PlayerScore Timer",
    ),
    "Pitfall2": Game(exactness="none", note="OCAtari has no detector for it"),
    "Pong": Game("Player Enemy Ball", "PlayerScore EnemyScore", modes=(0, 1), difficulties=(0, 1, 2, 3)),
    "Pooyan": Game("Player Arrow Bait Balloon Enemy Stone Rock", "PlayerScore Lives", modes=(10, 30, 50, 70)),
    "PrivateEye": Game(
        "Player Car Clue Badguy Mud Shatterd_Object Knife Dove Lizard Pottet_Plant Brick Barrier Passage Gun_Sign Police_Sign Bank_Sign Money_Bag Gun Button Comb Shoe_Sole Vase Necklace Stamp Badguy_Head",
        "Score Clock",
        modes=tuple(range(0, 5)),
        difficulties=(0, 1, 2, 3),
    ),
    "Qbert": Game("Player Cube Disk PurpleBall RedBall GreenBall Coily Sam", "Score Lives", difficulties=(0, 1)),
    "Riverraid": Game(
        "Player PlayerMissile House Helicopter Tanker Jet Bridge FuelDepot", "PlayerScore Lives", difficulties=(0, 1)
    ),
    "RoadRunner": Game(exactness="none", note="OCAtari's detector fails on its RAM"),
    "Seaquest": Game(
        "Player Diver Shark Submarine SurfaceSubmarine EnemyMissile PlayerMissile",
        "PlayerScore Lives OxygenBar OxygenBarDepleted CollectedDiver",
        difficulties=(0, 1),
    ),
    "Skiing": Game("Player Flag Mogul Tree", "Clock Score"),
    "SpaceInvaders": Game(
        "Player Alien Satellite Shield Bullet", "P1Score P2Score Lives", modes=tuple(range(0, 16)), difficulties=(0, 1)
    ),
    "StarGunner": Game("Player PlayerMissile BombThrower Bomb FlyingEnemy", "PlayerScore Lives", modes=(0, 1, 2, 3)),
    "Tennis": Game("Player Enemy Ball BallShadow", "PlayerScore EnemyScore", modes=(0, 2), difficulties=(0, 1, 2, 3)),
    "TimePilot": Game(
        "Player Player_Shot Enemy_Green Enemy_Green_Shot Enemy_Black Enemy_Black_Shot Enemy_Yellow Enemy_Yellow_Shot Enemy_Blue Enemy_Blue_Shot Enemy_Orange Enemy_Orange_Shot",
        "Score Life",
        difficulties=(0, 1, 2),
    ),
    "UpNDown": Game("Player Truck Flag Collectable", "HUD_Flag Score Life", difficulties=(0, 1, 2, 3)),
    "Venture": Game(
        "Player Shot Hallmonsters Goblin Serpant Skeleton Wall TwoHeaded Troll Dragon Spider Yellow_Collectable Pink_Collectable Grey_Collectable Purple_Collectable Green_Collectable",
        "Score Life",
        difficulties=(0, 1, 2, 3),
    ),
    "VideoPinball": Game(
        "Flipper Ball Spinner DropTarget Plunger Bumper",
        "Score LifeUsed DifficultyLevel",
        modes=(0, 2),
        difficulties=(0, 1),
    ),
    "YarsRevenge": Game(
        "Player Enemy Swirl Enemy_Missile Barrier Player_Bullet Shield_Block",
        "Score Life",
        modes=(0, 32, 64, 96),
        difficulties=(0, 1),
    ),
    "Zaxxon": Game(modes=(0, 8, 16, 24), exactness="none", note="OCAtari has no detector for it"),
}
