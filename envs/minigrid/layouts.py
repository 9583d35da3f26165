"""Table of MiniGrid's environments, available without MiniGrid installed.

A *group* is one kind of task; its *layouts* differ in size, rooms or number of objects. The table omits ``Playground``
(no reward), ``WFC-*`` (mazes that need further packages) and BabyAI (its tasks are given as texts). If MiniGrid
registers two versions of a layout, the table has the newer one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NAMES = ("background", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent")
_MISSION = "the mission says which object is meant, and the image does not show the mission"
_VARIETY = {
    "many": "",
    "few": "few different levels: nearly every held-out level starts like a training level",
    "one": "all levels are the same, so none is held out",
}


@dataclass(frozen=True)
class Group:
    """One kind of task.

    Attributes:
        objects: its classes besides wall and agent.
        walls_matter: whether walls inside the room block the way, so that decisions depend on them.
        colors_matter: whether colors say what objects are for, so that other colors make another task.
        num_actions: 7 (left, right, forward, pick up, drop, toggle, done), or the first 3 of them.
        note: what a user should know before choosing it; may be empty.
    """

    objects: tuple[str, ...]
    walls_matter: bool = False
    colors_matter: bool = False
    num_actions: int = 7
    note: str = ""

    @property
    def relevant(self) -> tuple[str, ...]:
        """The classes that decisions depend on."""
        return ("agent", *self.objects, *(("wall",) if self.walls_matter else ()))


@dataclass(frozen=True)
class Layout:
    """One environment of MiniGrid.

    Attributes:
        group: key of :data:`GROUPS`.
        width: cells from left to right, outer walls included.
        height: cells from top to bottom.
        size: layout of the group that differs in size (and what comes with it), for the level set ``held_out_size``.
        layout: layout of the group that differs in rooms, obstacles or rules, for ``held_out_layout``.
        version: version of the id registered with Gymnasium.
        variety: how many different levels there are: ``many``, ``few`` or ``one``. ``few``: at least 9 of 10 held-out
            levels start like one of 200 training levels (``benchmarks/minigrid_levels.py``).
    """

    group: str
    width: int
    height: int
    size: str = ""
    layout: str = ""
    version: int = 0
    variety: Literal["many", "few", "one"] = "many"

    @property
    def note(self) -> str:
        """What a user should know before choosing it; may be empty."""
        return "; ".join(note for note in (GROUPS[self.group].note, _VARIETY[self.variety]) if note)


GROUPS = {
    "BlockedUnlockPickup": Group(("door", "key", "ball", "box")),
    "DistShift": Group(("goal", "lava")),
    "DoorKey": Group(("door", "key", "goal")),
    "Dynamic-Obstacles": Group(("ball", "goal"), num_actions=3),
    "Empty": Group(("goal",)),
    "Fetch": Group(("key", "ball"), colors_matter=True, note=_MISSION),
    "FourRooms": Group(("goal",), walls_matter=True),
    "GoToDoor": Group(("door",), colors_matter=True, note=_MISSION),
    "GoToObject": Group(("key", "ball", "box"), colors_matter=True, note=_MISSION),
    "KeyCorridor": Group(("door", "key", "ball")),
    "LavaCrossing": Group(("goal", "lava")),
    "LavaGap": Group(("goal", "lava")),
    "LockedRoom": Group(("door", "key", "goal"), note="the mission names the key's room; images show only the key"),
    "Memory": Group(("key", "ball"), note="view=partial needs an agent with memory"),
    "MultiRoom": Group(("door", "goal")),
    "ObstructedMaze": Group(("door", "key", "ball", "box"), colors_matter=True, note="keys in boxes are not drawn"),
    "PutNear": Group(("key", "ball", "box"), colors_matter=True, note=_MISSION),
    "RedBlueDoors": Group(("door",), colors_matter=True, note="knowing which door was opened first needs memory"),
    "SimpleCrossing": Group(("goal",), walls_matter=True),
    "Unlock": Group(("door", "key")),
    "UnlockPickup": Group(("door", "key", "box")),
}  # fmt: skip

LAYOUTS = {
    "BlockedUnlockPickup": Layout("BlockedUnlockPickup", 11, 6),
    "DistShift1": Layout("DistShift", 9, 7, layout="DistShift2", variety="one"),
    "DistShift2": Layout("DistShift", 9, 7, layout="DistShift1", variety="one"),
    "DoorKey-5x5": Layout("DoorKey", 5, 5, size="DoorKey-6x6", variety="few"),
    "DoorKey-6x6": Layout("DoorKey", 6, 6, size="DoorKey-8x8"),
    "DoorKey-8x8": Layout("DoorKey", 8, 8, size="DoorKey-16x16"),
    "DoorKey-16x16": Layout("DoorKey", 16, 16, size="DoorKey-8x8"),
    "Dynamic-Obstacles-5x5": Layout("Dynamic-Obstacles", 5, 5, size="Dynamic-Obstacles-6x6", variety="few"),
    "Dynamic-Obstacles-6x6": Layout("Dynamic-Obstacles", 6, 6, size="Dynamic-Obstacles-8x8"),
    "Dynamic-Obstacles-8x8": Layout("Dynamic-Obstacles", 8, 8, size="Dynamic-Obstacles-16x16"),
    "Dynamic-Obstacles-16x16": Layout("Dynamic-Obstacles", 16, 16, size="Dynamic-Obstacles-8x8"),
    "Dynamic-Obstacles-Random-5x5": Layout("Dynamic-Obstacles", 5, 5, size="Dynamic-Obstacles-Random-6x6"),
    "Dynamic-Obstacles-Random-6x6": Layout("Dynamic-Obstacles", 6, 6, size="Dynamic-Obstacles-Random-5x5"),
    "Empty-5x5": Layout("Empty", 5, 5, size="Empty-6x6", layout="Empty-Random-5x5", variety="one"),
    "Empty-6x6": Layout("Empty", 6, 6, size="Empty-8x8", layout="Empty-Random-6x6", variety="one"),
    "Empty-8x8": Layout("Empty", 8, 8, size="Empty-16x16", variety="one"),
    "Empty-16x16": Layout("Empty", 16, 16, size="Empty-8x8", variety="one"),
    "Empty-Random-5x5": Layout("Empty", 5, 5, size="Empty-Random-6x6", variety="few"),
    "Empty-Random-6x6": Layout("Empty", 6, 6, size="Empty-Random-5x5", variety="few"),
    "Fetch-5x5-N2": Layout("Fetch", 5, 5, size="Fetch-6x6-N2"),
    "Fetch-6x6-N2": Layout("Fetch", 6, 6, size="Fetch-5x5-N2"),
    "Fetch-8x8-N3": Layout("Fetch", 8, 8, size="Fetch-6x6-N2"),
    "FourRooms": Layout("FourRooms", 19, 19),
    "GoToDoor-5x5": Layout("GoToDoor", 5, 5, size="GoToDoor-6x6"),
    "GoToDoor-6x6": Layout("GoToDoor", 6, 6, size="GoToDoor-8x8"),
    "GoToDoor-8x8": Layout("GoToDoor", 8, 8, size="GoToDoor-6x6"),
    "GoToObject-6x6-N2": Layout("GoToObject", 6, 6, size="GoToObject-8x8-N2"),
    "GoToObject-8x8-N2": Layout("GoToObject", 8, 8, size="GoToObject-6x6-N2"),
    "KeyCorridorS3R1": Layout("KeyCorridor", 7, 3, layout="KeyCorridorS3R2"),
    "KeyCorridorS3R2": Layout("KeyCorridor", 7, 5, layout="KeyCorridorS3R3"),
    "KeyCorridorS3R3": Layout("KeyCorridor", 7, 7, size="KeyCorridorS4R3", layout="KeyCorridorS3R2"),
    "KeyCorridorS4R3": Layout("KeyCorridor", 10, 10, size="KeyCorridorS5R3"),
    "KeyCorridorS5R3": Layout("KeyCorridor", 13, 13, size="KeyCorridorS6R3"),
    "KeyCorridorS6R3": Layout("KeyCorridor", 16, 16, size="KeyCorridorS5R3"),
    "LavaCrossingS9N1": Layout(
        "LavaCrossing", 9, 9, size="LavaCrossingS11N5", layout="LavaCrossingS9N2", variety="few"
    ),
    "LavaCrossingS9N2": Layout("LavaCrossing", 9, 9, size="LavaCrossingS11N5", layout="LavaCrossingS9N3"),
    "LavaCrossingS9N3": Layout("LavaCrossing", 9, 9, size="LavaCrossingS11N5", layout="LavaCrossingS9N2"),
    "LavaCrossingS11N5": Layout("LavaCrossing", 11, 11, size="LavaCrossingS9N3"),
    "LavaGapS5": Layout("LavaGap", 5, 5, size="LavaGapS6", variety="few"),
    "LavaGapS6": Layout("LavaGap", 6, 6, size="LavaGapS7", variety="few"),
    "LavaGapS7": Layout("LavaGap", 7, 7, size="LavaGapS6", variety="few"),
    "LockedRoom": Layout("LockedRoom", 19, 19),
    "MemoryS7": Layout("Memory", 7, 7, size="MemoryS9", variety="few"),
    "MemoryS9": Layout("Memory", 9, 9, size="MemoryS11", variety="few"),
    "MemoryS11": Layout("Memory", 11, 11, size="MemoryS13", variety="few"),
    "MemoryS13": Layout("Memory", 13, 13, size="MemoryS11", layout="MemoryS13Random", variety="few"),
    "MemoryS13Random": Layout("Memory", 13, 13, size="MemoryS17Random", layout="MemoryS13"),
    "MemoryS17Random": Layout("Memory", 17, 17, size="MemoryS13Random"),
    "MultiRoom-N2-S4": Layout("MultiRoom", 25, 25, layout="MultiRoom-N4-S5"),
    "MultiRoom-N4-S5": Layout("MultiRoom", 25, 25, layout="MultiRoom-N6", version=1),
    "MultiRoom-N6": Layout("MultiRoom", 25, 25, layout="MultiRoom-N4-S5"),
    "ObstructedMaze-1Dl": Layout("ObstructedMaze", 11, 6, layout="ObstructedMaze-1Dlh"),
    "ObstructedMaze-1Dlh": Layout("ObstructedMaze", 11, 6, layout="ObstructedMaze-1Dlhb"),
    "ObstructedMaze-1Dlhb": Layout("ObstructedMaze", 11, 6, layout="ObstructedMaze-1Dlh"),
    "ObstructedMaze-2Dl": Layout("ObstructedMaze", 16, 16, layout="ObstructedMaze-2Dlh"),
    "ObstructedMaze-2Dlh": Layout("ObstructedMaze", 16, 16, layout="ObstructedMaze-2Dlhb"),
    "ObstructedMaze-2Dlhb": Layout("ObstructedMaze", 16, 16, layout="ObstructedMaze-2Dlh", version=1),
    "ObstructedMaze-1Q": Layout("ObstructedMaze", 16, 16, layout="ObstructedMaze-2Q", version=1),
    "ObstructedMaze-2Q": Layout("ObstructedMaze", 16, 16, layout="ObstructedMaze-Full", version=1),
    "ObstructedMaze-Full": Layout("ObstructedMaze", 16, 16, layout="ObstructedMaze-2Q", version=1),
    "PutNear-6x6-N2": Layout("PutNear", 6, 6, size="PutNear-8x8-N3"),
    "PutNear-8x8-N3": Layout("PutNear", 8, 8, size="PutNear-6x6-N2"),
    "RedBlueDoors-6x6": Layout("RedBlueDoors", 12, 6, size="RedBlueDoors-8x8"),
    "RedBlueDoors-8x8": Layout("RedBlueDoors", 16, 8, size="RedBlueDoors-6x6"),
    "SimpleCrossingS9N1": Layout(
        "SimpleCrossing", 9, 9, size="SimpleCrossingS11N5", layout="SimpleCrossingS9N2", variety="few"
    ),
    "SimpleCrossingS9N2": Layout("SimpleCrossing", 9, 9, size="SimpleCrossingS11N5", layout="SimpleCrossingS9N3"),
    "SimpleCrossingS9N3": Layout("SimpleCrossing", 9, 9, size="SimpleCrossingS11N5", layout="SimpleCrossingS9N2"),
    "SimpleCrossingS11N5": Layout("SimpleCrossing", 11, 11, size="SimpleCrossingS9N3"),
    "Unlock": Layout("Unlock", 11, 6),
    "UnlockPickup": Layout("UnlockPickup", 11, 6),
}


def simulator_id(name: str) -> str:
    """Return the id under which MiniGrid registers a layout."""
    return f"MiniGrid-{name}-v{LAYOUTS[name].version}"


def largest_side(group: str) -> int:
    """Return the longest side, in cells, of any layout of a group."""
    return max(max(layout.width, layout.height) for layout in LAYOUTS.values() if layout.group == group)
