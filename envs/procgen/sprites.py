"""The classes that each game's sprites show; sprites are file names below Procgen's assets.

They are from the source of openai/procgen 0.10.7 (``asset_for_type`` of every game, ``reserved_asset_for_type`` for
explosions and trails). If a sprite can show several classes, the flat-color simulator decides which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_EXPLOSION = ("misc_assets/explosion?.png",)
_TRAIL = ("misc_assets/iconCircle_white.png",)
_LASERS = ("misc_assets/laserGreen14.png", "misc_assets/laserRed11.png", "misc_assets/laserBlue09.png")
_METEORS = ("misc_assets/spaceMeteors_00[1-4].png", "misc_assets/meteorGrey_big[1-4].png")
_KEYS = ("misc_assets/keyBlue.png", "misc_assets/keyGreen.png", "misc_assets/keyRed.png")
_SHIPS = ("misc_assets/ship_[1-6].png",)
_TILES = (
    "platformer/tileBlue_0[58].png",
    "platformer/tileGreen_0[58].png",
    "platformer/tileYellow_0[69].png",
    "platformer/tileBrown_0[69].png",
)


@dataclass(frozen=True)
class GameSprites:
    """The sprites of one game.

    Attributes:
        files: by class, patterns of file names; ``?`` is one character, ``*`` any number of them.
        translucent: classes that the game draws with an opacity that fades; no other class uses their sprites.
    """

    files: Mapping[str, tuple[str, ...]]
    translucent: tuple[str, ...] = ()


SPRITES: Mapping[str, GameSprites] = MappingProxyType(
    {
        "bigfish": GameSprites(
            {
                "agent": ("misc_assets/fishTile_072.png",),
                "fish": ("misc_assets/fishTile_07[48].png", "misc_assets/fishTile_080.png"),
            }
        ),
        "bossfight": GameSprites(
            {
                "agent": ("misc_assets/playerShip*.png",),
                "boss": ("misc_assets/enemyShip*.png",),
                "shield": ("misc_assets/shield2.png",),
                "player_laser": _LASERS,
                "enemy_laser": _LASERS,
                "meteor": _METEORS,
                "explosion": _EXPLOSION,
            },
            translucent=("player_laser", "enemy_laser"),
        ),
        "caveflyer": GameSprites(
            {
                "agent": ("misc_assets/playerShip1_red.png",),
                "goal": ("misc_assets/ufoGreen2.png",),
                "obstacle": ("misc_assets/meteorBrown_big1.png",),
                "target": ("misc_assets/ufoRed2.png",),
                "player_laser": ("misc_assets/laserBlue02.png",),
                "enemy": ("misc_assets/enemyShipBlue4.png",),
                "wall": ("misc_assets/groundA.png",),
                "exhaust": ("misc_assets/towerDefense_tile295.png",),
                "explosion": _EXPLOSION,
            },
            translucent=("exhaust",),
        ),
        "chaser": GameSprites(
            {
                "agent": ("misc_assets/enemyFloating_1b.png",),
                "enemy": ("misc_assets/enemyFlying_[1-3].png",),
                "large_orb": ("misc_assets/yellowCrystal.png",),
                "weak_enemy": ("misc_assets/enemyWalking_1b.png",),
                "enemy_egg": ("misc_assets/enemySpikey_1b.png",),
                "wall": ("misc_assets/tileStone_slope.png",),
            }
        ),
        "climber": GameSprites(
            {
                "agent": ("platformer/player*.png",),
                "coin": ("platformer/yellowCrystal.png",),
                "enemy": ("platformer/enemySwimming_?.png",),
                "wall": _TILES,
            }
        ),
        "coinrun": GameSprites(
            {
                "agent": ("kenney/Players/128x256/*/alien*.png",),
                "coin": ("kenney/Items/coinGold.png",),
                "saw": ("kenney/Enemies/sawHalf*.png",),
                "enemy": (
                    *(f"kenney/Enemies/{name}*.png" for name in ("slime[BPG]*", "mouse", "snail", "ladybug")),
                    "kenney/Enemies/worm*.png",
                ),
                "wall": ("kenney/Ground/*/*Mid.png", "kenney/Ground/*/*Center.png"),
                "lava": ("kenney/Tiles/lavaTop_low.png", "kenney/Tiles/lava.png"),
                "crate": ("kenney/Tiles/boxCrate*.png",),
                "trail": _TRAIL,
            },
            translucent=("trail",),
        ),
        "dodgeball": GameSprites(
            {
                "agent": ("misc_assets/character12.png",),
                "wall": ("misc_assets/tileStone_slope2.png",),
                "outside": ("misc_assets/tileStone_slope2.png",),
                "player_ball": ("misc_assets/ball_soccer1.png",),
                "enemy_ball": ("misc_assets/ball_soccer2.png",),
                "enemy": ("misc_assets/character[1-9].png", "misc_assets/character1[01].png"),
                "closed_door": ("misc_assets/blockRed.png",),
                "open_door": ("misc_assets/blockGreen.png",),
                "dust": ("misc_assets/spaceEffect?.png",),
            },
            translucent=("dust",),
        ),
        "fruitbot": GameSprites(
            {
                "agent": ("misc_assets/robot_3Dblue.png",),
                "wall": ("misc_assets/tileStone_slope.png",),
                "outside": ("misc_assets/tileStone_slope.png",),
                "thrown_key": ("misc_assets/keyRed2.png",),
                "bad_food": ("misc_assets/food[1-6].png",),
                "fruit": ("misc_assets/fruit[1-6].png",),
                "door": ("misc_assets/fenceYellow.png",),
                "lock": ("misc_assets/lockRed2.png",),
                "present": ("misc_assets/present[1-3].png",),
            }
        ),
        "heist": GameSprites(
            {
                "agent": ("misc_assets/spaceAstronauts_008.png",),
                "locked_door": ("misc_assets/lock_*.png",),
                "key": _KEYS,
                "held_key": _KEYS,
                "gem": ("misc_assets/gemYellow.png",),
                "wall": ("kenney/Ground/Dirt/dirtCenter.png",),
            }
        ),
        "jumper": GameSprites(
            {
                "agent": ("misc_assets/bunny2_*.png",),
                "goal": ("misc_assets/carrot.png",),
                "spike": ("misc_assets/spikeMan_stand.png",),
                "wall": _TILES,
                "trail": _TRAIL,
            },
            translucent=("trail",),
        ),
        "leaper": GameSprites(
            {
                "agent": ("misc_assets/frog?.png",),
                "log": ("misc_assets/elementWood044.png",),
                "road": ("misc_assets/roadTile6b.png",),
                "water": ("misc_assets/terrainTile6.png",),
                "car": ("misc_assets/car_*.png",),
                "finish_line": ("misc_assets/finish2.png",),
            }
        ),
        "maze": GameSprites(
            {
                "agent": ("kenney/Enemies/mouse_move.png",),
                "cheese": ("misc_assets/cheese.png",),
                "wall": ("kenney/Ground/Sand/sandCenter.png",),
            }
        ),
        "miner": GameSprites(
            {
                "agent": ("misc_assets/robot_greenDrive1.png",),
                "boulder": ("misc_assets/elementStone007.png",),
                "diamond": ("misc_assets/gemBlue.png",),
                "exit": ("misc_assets/window.png",),
                "dirt": ("misc_assets/dirt.png",),
                "outside": ("misc_assets/tile_bricksGrey.png",),
            }
        ),
        "ninja": GameSprites(
            {
                "agent": ("platformer/zombie_*.png",),
                "mushroom": ("platformer/shroom[1-6].png",),
                "bomb": ("misc_assets/bomb.png",),
                "fire": ("misc_assets/bomb.png",),
                "throwing_star": ("misc_assets/saw.png",),
                "wall": ("misc_assets/tile_bricks*.png",),
                "explosion": _EXPLOSION,
            }
        ),
        "plunder": GameSprites(
            {
                "agent": _SHIPS,
                "target_ship": _SHIPS,
                "other_ship": _SHIPS,
                "legend": _SHIPS,
                "legend_background": ("misc_assets/target_red2.png",),
                "cannon_ball": ("misc_assets/cannonBall.png",),
                "panel": ("misc_assets/panel_wood.png",),
                "explosion": _EXPLOSION,
            }
        ),
        "starpilot": GameSprites(
            {
                "agent": ("misc_assets/playerShip2_blue.png",),
                "player_bullet": ("misc_assets/towerDefense_tile295.png",),
                "enemy_bullet": ("misc_assets/towerDefense_tile29[67].png",),
                "flyer": ("misc_assets/spaceShips_00[1-7].png",),
                "meteor": _METEORS,
                "cloud": ("misc_assets/spaceEffect?.png",),
                "turret": ("misc_assets/spaceStation_01[89].png",),
                "finish_line": ("misc_assets/spaceRockets_00[1-4].png",),
                "explosion": _EXPLOSION,
            }
        ),
    }
)
