"""``camal-rl envs``."""

from __future__ import annotations

import importlib.util

from camal_rl.cli.errors import checking_input

# Family: the module that its simulator needs, and the extra that installs it.
_EXTRAS = {"procgen": ("procgen", "procgen")}


def envs() -> None:
    """List the environments with their classes; relevant ones, which CAMAL attends to, are marked with *.

    For example:

      camal-rl envs
    """
    with checking_input():
        from rich.table import Table

        from camal_rl.cli.console import table_console
        from camal_rl.envs import env_ids, level_sets, segmentation_spec
    table = Table("id", "classes (* relevant)", "level sets", "installed", title="Environments")
    for env_id in env_ids():
        spec = segmentation_spec(env_id)
        classes = ", ".join(name + "*" * (name in spec.relevant) for name in spec.names[1:])
        table.add_row(env_id, classes, ", ".join(level_sets(env_id)), installation(env_id.partition("/")[0]))
    table_console().print(table)


def installation(family: str) -> str:
    """Return ``yes``, or what installs the simulator of a family."""
    module, extra = _EXTRAS.get(family, ("", ""))
    if not module or importlib.util.find_spec(module) is not None:
        return "yes"
    return rf"no: pip install 'camal-rl\[{extra}]'"
