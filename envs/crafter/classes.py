"""The classes of Crafter's worlds, available without Crafter installed.

Materials are in Crafter's order, so a material's class id equals its id in Crafter's map.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

MATERIALS = (
    "water", "grass", "stone", "path", "sand", "tree", "lava", "coal", "iron", "diamond", "table", "furnace",
)  # fmt: skip
OBJECTS = ("player", "cow", "zombie", "skeleton", "arrow", "plant")
INVENTORY = "inventory"
NAMES = ("background", *MATERIALS, *OBJECTS, INVENTORY)
GROUND = ("grass", "path", "sand")
"""Materials that the player walks on. They lie under everything, and decisions do not depend on them."""
RELEVANT = (
    "water", "tree", "lava", "coal", "iron", "diamond", "table", "furnace",
    "player", "cow", "zombie", "skeleton", "arrow", "plant", INVENTORY,
)  # fmt: skip
"""The default relevant set: everything except the ground and stone, which fills whole images in the mountains."""
LEFT_BEHIND: Mapping[str, str] = MappingProxyType(
    {
        "water": "sand",
        "stone": "path",
        "tree": "grass",
        "lava": "path",
        "coal": "path",
        "iron": "path",
        "diamond": "path",
        "table": "grass",
        "furnace": "path",
    }
)
"""The material that replaces a removed one: what Crafter leaves of collectable materials, otherwise one nearby."""
REWARDED: Mapping[str, bool] = MappingProxyType({"Reward": True, "NoReward": False})
"""Crafter's two environments, named as in its ids, and whether they give a reward."""
ACTION_NAMES = (
    "noop", "move_left", "move_right", "move_up", "move_down", "do", "sleep", "place_stone", "place_table",
    "place_furnace", "place_plant", "make_wood_pickaxe", "make_stone_pickaxe", "make_iron_pickaxe", "make_wood_sword",
    "make_stone_sword", "make_iron_sword",
)  # fmt: skip
ACHIEVEMENTS = (
    "collect_coal", "collect_diamond", "collect_drink", "collect_iron", "collect_sapling", "collect_stone",
    "collect_wood", "defeat_skeleton", "defeat_zombie", "eat_cow", "eat_plant", "make_iron_pickaxe", "make_iron_sword",
    "make_stone_pickaxe", "make_stone_sword", "make_wood_pickaxe", "make_wood_sword", "place_furnace", "place_plant",
    "place_stone", "place_table", "wake_up",
)  # fmt: skip
