"""Crafter's own environment as a second source, with the one thing about it fixed that depends on memory addresses."""

import importlib

import crafter
import numpy as np
from crafter import engine, objects, worldgen

from camal_rl.envs.crafter.worlds import generate


class Ordered(engine.World):
    """Regions list their creatures in the order in which they were added, not in that of a set."""

    @property
    def chunks(self):
        numbers = {id(each): number for number, each in enumerate(self._objects)}
        return {key: sorted(found, key=lambda each: numbers[id(each)]) for key, found in self._chunks.items()}


def crafter_env(level, monkeypatch=None, **options):
    """Return ``crafter.Env(seed=level)``; with a monkeypatch its worlds are made the fast way, tested by itself."""
    importlib.import_module("camal_rl.envs")
    env = crafter.Env(seed=level, **options)
    env._world.__class__ = Ordered
    if monkeypatch is not None:
        seed = hash((level, 1)) % (2**31 - 1)
        monkeypatch.setattr(worldgen, "generate_world", lambda world, player: generate(world, player, seed, "crafter"))
    return env


def picture(env, daylight=None):
    """Return Crafter's own picture of its present state, without moving its generator."""
    state, light = env._world.random.get_state(), env._world.daylight
    env._world.daylight = light if daylight is None else daylight
    drawn = env.render()
    env._world.random.set_state(state)
    env._world.daylight = light
    return drawn


def put(env, kind, cell, ground="grass", **attributes):
    """Put a thing into a cell of the picture (column, row) of a game that is running, and return it."""
    place = np.array(env._player.pos) + cell - (4, 3)
    there = env._world[place][1]
    if there is not None:
        env._world.remove(there)
    env._world[tuple(place)] = ground
    if kind is None:
        return None
    arguments = {
        objects.Cow: (),
        objects.Zombie: (env._player,),
        objects.Skeleton: (env._player,),
        objects.Arrow: ((1, 0),),
        objects.Plant: (),
    }
    thing = kind(env._world, tuple(place), *arguments[kind])
    vars(thing).update(attributes)
    env._world.add(thing)
    return thing
