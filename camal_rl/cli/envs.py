"""``camal-rl envs``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from camal_rl.cli.arguments import Imports
from camal_rl.cli.errors import checking_input

if TYPE_CHECKING:
    from camal_rl.comparison.table import Table
    from camal_rl.envs import EnvInfo

_MORE = "camal-rl envs FILTER shows details, for example: camal-rl envs procgen/coinrun"


def envs(
    words: Annotated[
        str,
        typer.Argument(
            metavar="[FILTER]", help="Part of an environment id, such as procgen or coinrun.", show_default=False
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print all details as JSON.")] = False,
    imports: Imports = None,
) -> None:
    """List the environments; with a filter, show their classes, masks, level sets and licenses.

    Relevant classes, to which CAMAL directs the attention, are marked with *. Give your own class as
    package.module:name.

    For example:

      camal-rl envs

      camal-rl envs procgen/coinrun

      camal-rl envs minigrid --json
    """
    with checking_input():
        from camal_rl.cli.console import say, show, width
        from camal_rl.comparison.table import table_of
        from camal_rl.envs import env_ids, env_info, segmentation_spec
        from camal_rl.registry import import_modules
        from camal_rl.spelling import did_you_mean

        import_modules(imports or ())
        ids = [env_id for env_id in env_ids() if words.casefold() in env_id.casefold()]
        if ":" in words and not ids:
            segmentation_spec(words)
            ids = [words]
        if not ids:
            families = dict.fromkeys(env_id.partition("/")[0] for env_id in env_ids())
            hint = did_you_mean(words, [*families, *env_ids()])
            raise ValueError(f"no environment id contains {words!r}; {hint}camal-rl envs lists them all")
    if as_json:
        print(json.dumps([_everything(env_id) for env_id in ids], indent=2))
    elif words:
        show(details(ids), legend=False)
        say("* relevant: CAMAL directs the attention to it.")
    elif width() is None:
        rows = [[env_id, env_info(env_id).exactness, _installation(env_info(env_id))] for env_id in ids]
        show(table_of("Environments", ["id", "masks", "installed"], [], rows), legend=False)
        say(_MORE)
    else:
        _print_families(ids)
        say(_MORE)


def details(ids: Sequence[str]) -> Table:
    """Return tables with the details of environments; captions shared by all are printed once, at the end."""
    from camal_rl.comparison.table import table_of
    from camal_rl.envs import env_info

    columns = {
        "id": list(ids),
        "classes": [_classes(env_id) for env_id in ids],
        "masks": [_masks(env_info(env_id)) for env_id in ids],
        "level sets": [_level_sets(env_id) for env_id in ids],
        "license": [env_info(env_id).license for env_id in ids],
        "installed": [_installation(env_info(env_id)) for env_id in ids],
    }
    shared = {title: texts[0] for title, texts in columns.items() if len(ids) > 1 and len(set(texts)) == 1}
    shown = [title for title in columns if title not in shared]
    caption = "; ".join(f"{title}: {text}" for title, text in shared.items())
    rows = [list(row) for row in zip(*(columns[title] for title in shown), strict=True)]
    return table_of("Environments", shown, [], rows, f"All environments: {caption}." if caption else "")


def _print_families(ids: Sequence[str]) -> None:
    """Print each family in one line, and below it the ids in as many columns as fit."""
    from camal_rl.cli.console import say, width
    from camal_rl.comparison.number_words import counted
    from camal_rl.comparison.text_table import in_columns
    from camal_rl.envs import env_info

    families: dict[str, list[str]] = {}
    for env_id in ids:
        families.setdefault(env_id.partition("/")[0], []).append(env_id)
    for family, members in families.items():
        found = [env_info(env_id) for env_id in members]
        masks = ", ".join(dict.fromkeys(info.exactness for info in found))
        installed = _installation(found[0])
        say(f"{family}: {counted(len(members), 'environment')}; masks: {masks}; installed: {installed}")
        print("\n".join(in_columns(members, width() or 0)), end="\n\n")


def _everything(env_id: str) -> dict[str, Any]:
    from camal_rl.envs import env_info, level_sets, segmentation_spec

    spec, info = segmentation_spec(env_id), env_info(env_id)
    return {
        "id": env_id,
        "classes": list(spec.names),
        "relevant": list(spec.relevant),
        "masks": info.exactness,
        "note": info.note,
        "level_sets": {name: dict(options) for name, options in level_sets(env_id).items()},
        "license": info.license,
        "extra": info.extra,
        "installed": info.installed,
    }


def _classes(env_id: str) -> str:
    from camal_rl.envs import segmentation_spec

    spec = segmentation_spec(env_id)
    return ", ".join(name + "*" * (name in spec.relevant) for name in spec.names[1:])


def _level_sets(env_id: str) -> str:
    from camal_rl.envs import level_sets

    return ", ".join(level_sets(env_id))


def _masks(info: EnvInfo) -> str:
    return f"{info.exactness}: {info.note}" if info.note else info.exactness


def _installation(info: EnvInfo) -> str:
    from camal_rl.extras import install_command

    return "yes" if info.installed else f"no: {install_command(info.extra)}"
