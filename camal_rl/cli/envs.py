"""``camal-rl envs``."""

from __future__ import annotations

from camal_rl.cli.errors import checking_input


def envs() -> None:
    """List the environments with their classes; relevant ones, which CAMAL attends to, are marked with *.

    For example:

      camal-rl envs
    """
    with checking_input():
        from rich.table import Table

        from camal_rl.cli.console import table_console
        from camal_rl.envs import EnvInfo, env_ids, env_info, level_sets, segmentation_spec

    def installation(info: EnvInfo) -> str:
        return "yes" if info.installed else rf"no: pip install 'camal-rl\[{info.extra}]'"

    columns = ("id", "classes (* relevant)", "masks", "level sets", "licence", "installed")
    table = Table(*columns, title="Environments")
    for env_id in env_ids():
        spec, info = segmentation_spec(env_id), env_info(env_id)
        classes = ", ".join(name + "*" * (name in spec.relevant) for name in spec.names[1:])
        exactness = f"{info.exactness}: {info.note}" if info.note else info.exactness
        table.add_row(env_id, classes, exactness, ", ".join(level_sets(env_id)), info.licence, installation(info))
    table_console().print(table)
