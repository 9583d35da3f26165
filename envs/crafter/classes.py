"""What there is in Crafter's worlds, so that it is known where Crafter is not installed.

Materials come in Crafter's own order, so that a material's class id is the id that Crafter's map holds.
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
"""What one walks on. It is under everything, and no decision is about it."""
RELEVANT = (
    "water", "tree", "lava", "coal", "iron", "diamond", "table", "furnace",
    "player", "cow", "zombie", "skeleton", "arrow", "plant", INVENTORY,
)  # fmt: skip
"""The default relevant set: all but the ground, and stone, which fills whole pictures in the mountains."""
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
"""What is drawn where a material is removed: what Crafter leaves of what can be collected, otherwise what is near."""
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
