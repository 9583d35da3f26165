"""The picture of the rooms in ARCHITECTURE.md, drawn from the imports: ``python -m tests.docs.rooms`` prints it."""

import ast
import sys
from collections import Counter

from tests.docs.pages import ROOT

FOLDERS = {"camal_rl": "camal_rl", "envs": "camal_rl.envs", "agents": "camal_rl.agents"}
ROOMS = ("saliency", "envs", "agents", "runs", "rl", "supervised", "comparison", "cli")


def picture():
    """Return the picture: an arrow from each room to those that it imports, with the number of its modules that do."""
    arrows = Counter((room, other) for room, others in _imports() for other in others)
    lines = ["flowchart BT"]
    lines += [f"    {room} -->|{count}| {other}" for (room, other), count in sorted(arrows.items())]
    return "\n".join(lines) + "\n"


def _imports():
    """Yield the room of each module and the other rooms that it imports."""
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            room = _room(".".join((package, *path.relative_to(ROOT / folder).with_suffix("").parts)))
            found = {_room(name) for name in _imported(ast.parse(path.read_text(encoding="utf-8")))}
            # The configurations are data.
            yield room, found - {room, "configs"}


def _imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("camal_rl"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("camal_rl"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _room(module):
    second = module.split(".")[1] if "." in module else ""
    return second if second in (*ROOMS, "configs") else "method"


if __name__ == "__main__":
    sys.stdout.write(picture())
