"""Crafter's game without rendering; the world's seed and the actions determine an episode.

Rules, creatures and random draws are Crafter's, with two differences. Crafter keeps the creatures of a region in a set,
whose order depends on memory addresses, and draws from the set which creature vanishes; here the creatures of a region
are in the order in which they appeared. A step computes the distances of all creatures to the player at once; in
Crafter, these distances take most of a step's time. Importing this module needs Crafter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import crafter
import numpy as np
import numpy.typing as npt
from crafter import constants, objects
from crafter.engine import World

from camal_rl.envs.crafter.options import VIEW_CELLS, CrafterOptions
from camal_rl.envs.crafter.worlds import generate
from camal_rl.envs.object_graphs import PackageClasses, graph_of, graph_tree

AREA = (64, 64)
_CLASSES = PackageClasses("crafter")
_CHUNK = (12, 12)
_SEEDS = 2**31 - 1
_FIXED_LIGHT = {"day": 1.0, "night": 0.0}
_DARK = 0.5
_BALANCE_EVERY = 10


class OrderedWorld(World):
    """A world whose regions list their creatures in the order in which they appeared."""

    @property
    def chunks(self) -> dict[Any, list[Any]]:
        """Return the creatures by region."""
        return {key: self._in_order(found) for key, found in self._chunks.items()}

    def _in_order(self, found: set[Any]) -> list[Any]:
        return sorted(found, key=lambda each: self._obj_map[tuple(each.pos)])


class Game(crafter.Env):
    """One game.

    Args:
        options: what is played; the image size determines how much noise is drawn at night.

    Attributes:
        world: map, creatures and generator.
        player: the player.
        noise: noise that Crafter mixes into the current image, ``float64[9 * tile, 7 * tile]``; ``None`` by day.
    """

    def __init__(self, options: CrafterOptions) -> None:
        super().__init__(AREA, (VIEW_CELLS, VIEW_CELLS), (options.size, options.size), length=options.length, seed=0)
        self._options = options
        self._world = OrderedWorld(AREA, constants.materials, _CHUNK)
        self._local_view = self._item_view = self._sem_view = self._textures = None
        self.noise: npt.NDArray[np.float64] | None = None

    @property
    def world(self) -> World:
        """Map, creatures and generator."""
        return self._world

    @property
    def player(self) -> objects.Player:
        """The player."""
        return self._player

    def start(self, level: int) -> None:
        """Start the first episode of ``crafter.Env(seed=level)``."""
        self._step = 0
        seed = hash((level, 1)) % _SEEDS
        self._world.reset(seed=seed)
        self._update_time()
        self._player = objects.Player(self._world, (AREA[0] // 2, AREA[1] // 2))
        self._world.add(self._player)
        self._last_health = self._player.health
        self._unlocked: set[str] = set()
        generate(self._world, self._player, seed, self._options.world)
        self._draw_noise()

    def play(self, action: int) -> float:
        """Take an action and return Crafter's reward."""
        self._step += 1
        self._update_time()
        self._player.action = constants.actions[action]
        self._update_objects()
        if self._step % _BALANCE_EVERY == 0:
            for chunk, found in self._world.chunks.items():
                self._balance_chunk(chunk, found)
        self._draw_noise()
        reward = (self._player.health - self._last_health) / 10
        self._last_health = self._player.health
        unlocked = {name for name, count in self._player.achievements.items() if count > 0} - self._unlocked
        self._unlocked |= unlocked
        return float(reward + 1.0 if unlocked else reward)

    @property
    def dead(self) -> bool:
        """Whether the player is dead."""
        return bool(self._player.health <= 0)

    @property
    def over(self) -> bool:
        """Whether the episode has reached its step limit."""
        return bool(self._step >= self._options.length)

    def get_state(self) -> dict[str, Any]:
        """Return the state of the game as a tree."""
        world = self._world
        root = {
            "objects": world._objects,
            "chunks": world.chunks,
            "materials": world._mat_map,
            "places": world._obj_map,
            "player": self._player,
        }
        return {
            "graph": graph_tree(root, _CLASSES, self._shared()),
            "random": world.random.get_state(legacy=False),
            "daylight": float(world.daylight),
            "step": self._step,
            "last_health": int(self._last_health),
            "unlocked": sorted(self._unlocked),
            "noise": self.noise,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state of :meth:`get_state`."""
        world = self._world
        world.reset()
        world.random.set_state(state["random"])
        root = graph_of(state["graph"], _CLASSES, self._shared())
        world._objects, world._mat_map, world._obj_map = root["objects"], root["materials"], root["places"]
        world._chunks = defaultdict(set, {key: set(found) for key, found in root["chunks"].items()})
        world.daylight = state["daylight"]
        self._player, self._step, self._last_health = root["player"], state["step"], state["last_health"]
        self._unlocked, self.noise = set(state["unlocked"]), state["noise"]

    def _shared(self) -> dict[str, Any]:
        return {"world": self._world, "random": self._world.random}

    def _update_time(self) -> None:
        super()._update_time()
        self._world.daylight = _FIXED_LIGHT.get(self._options.daylight, self._world.daylight)

    def _update_objects(self) -> None:
        """Update the player, then the objects near the player; only the player's own update moves the player."""
        player, *others = self._world.objects
        player.update()
        if not others:
            return
        away = np.abs(np.array([each.pos for each in others]) - player.pos).sum(axis=1)
        for each, near in zip(others, away < 2 * VIEW_CELLS, strict=True):
            if near:
                each.update()

    def _draw_noise(self) -> None:
        """Draw the noise of the image, as Crafter does when it renders in the dark."""
        tile, dark = self._options.tile, self._world.daylight < _DARK
        self.noise = self._world.random.uniform(32, 127, (9 * tile, 7 * tile)) if dark else None
