"""What the command line itself says about a command of a page, without running it."""

from pathlib import Path

import typer

from camal_rl.cli.main import app
from camal_rl.comparison.plan import plan_runs
from camal_rl.comparison.sweep import Sweep
from camal_rl.comparison.sweep_space import parse_space
from camal_rl.rl.config import agent_config
from camal_rl.runs.loading import load_config, setting_hints
from camal_rl.supervised.config import supervised_config

RUN_VERBS = ("evaluate", "explain", "export")
KIND_OF_CONFIG = {"train": agent_config, "bench": agent_config, "fit": supervised_config}


def group():
    return typer.main.get_command(app)


def verb_of(words):
    """Return the verb's command; a ValueError for one that does not exist."""
    found = group().commands.get(words[1])
    if found is None:
        raise ValueError(f"no command {words[1]!r}")
    return found


def parameters(words):
    """Return what a command is called with; what the command line would refuse raises Click's error."""
    verb = verb_of(words)
    return verb.make_context(words[1], list(words[2:])).params


def is_mention(words):
    """Say whether nothing but a verb and names of options is there, as in ``camal-rl compare --jobs``."""
    return all(word.startswith("-") for word in words[2:])


def check_mention(words):
    """Raise a ValueError unless verb and options exist."""
    known = {name for parameter in verb_of(words).params for name in parameter.opts}
    unknown = set(words[2:]) - known - {"--help"}
    if unknown:
        raise ValueError(f"{words[1]} has no option {', '.join(unknown)}")


def check_command(words):
    """Raise an error unless verb, options, configuration and settings are accepted."""
    given = parameters(words)
    if "config" not in given:
        return
    if words[1] == "sweep":
        space = parse_space(given["settings"], setting_hints(given["config"]))
        Sweep(given["config"], space, given["search"], None, given["seeds"], Path("nowhere")).check()
        return
    config = KIND_OF_CONFIG.get(words[1], lambda any_kind: any_kind)(
        load_config(given["config"], given["overrides"] or ())
    )
    if words[1] == "compare":
        methods = given["methods"].split(",") if given["methods"] else [config.baseline, "camal"]
        plan_runs(config, methods, given["seeds"], Path("nowhere"))


def reads_a_run_folder(words):
    return words[1] in RUN_VERBS


def run_folder_of(words):
    return str(parameters(words)["run"])
