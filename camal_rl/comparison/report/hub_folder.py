"""Writes a trained run as a folder for the Hugging Face Hub: card, weights, settings, results. It uploads nothing.

The folder contains no paths, names of users or machines, secrets or command lines (:mod:`camal_rl.runs.public_text`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from camal_rl.atomic import replacing_folder, write_text
from camal_rl.comparison.groups import FoundRun, check_whole, read_run
from camal_rl.comparison.report.model_card import model_card
from camal_rl.runs.folders import check_new_folder
from camal_rl.runs.hub_model import HubModel
from camal_rl.runs.json_files import MODEL_SUM, POLICY_SUM, read_json, write_record
from camal_rl.runs.metrics_file import RunMetrics, write_metrics
from camal_rl.runs.origin import FACTS
from camal_rl.runs.public_text import StaysHere, left_out_keys, published
from camal_rl.runs.results import Results
from camal_rl.runs.run_folder import RunFolder, signed_config
from camal_rl.runs.settings import flat_settings
from camal_rl.runs.task import task_of
from camal_rl.runs.yaml_text import write_yaml

CARD = "README.md"
_MACHINE = ("cpu", "cores", "system")


def prepare_hub_folder(path: Path, out: Path, trust: bool = False) -> Callable[[], Path]:
    """Load a trained run and return a function that writes it as a folder for the Hub and returns the folder.

    Args:
        path: the run.
        out: the folder; it must not exist, must not be inside the run, and is created atomically.
        trust: whether the user trusts the whole run folder, see :class:`camal_rl.runs.run_folder.RunFolder`.

    Raises:
        FileExistsError: the folder or file exists.
        ValueError: a file of the run is damaged, or its model cannot be stored without code.
        OSError, ImportError: the run has no model, the folder cannot be created, or a package is missing.
    """
    if os.path.lexists(out):
        raise FileExistsError(f"{out} exists; give another --out or remove it")
    if out.resolve().is_relative_to(path.resolve()):
        raise ValueError(
            f"{out} is inside the run itself, where a report would mistake it for another run; give another --out"
        )
    check_new_folder(out)
    run = read_run(path, trust)
    check_whole(run)
    model = task_of(run.config).hub_model(run.folder, run.config)
    model = replace(model, level_sets=published(model.level_sets))
    keep = _names_that_stay(run)
    _public_run(run, published(run.config.as_dict(), keep), keep, {})  # refuse before writing anything

    def write() -> Path:
        with replacing_folder(out) as partial:
            _fill(partial, run, model)
        return out

    return write


def _fill(out: Path, run: FoundRun, model: HubModel) -> None:
    folder, keep = RunFolder(out), _names_that_stay(run)
    sums = model.write(out)
    _check_description(folder.policy_file, keep)
    settings = run.config.as_dict()
    shared = published(settings, keep)
    write_text(folder.config_file, signed_config(write_yaml(shared)))
    public = _public_run(run, shared, keep, sums)
    for file, content in ((folder.train_file, public.training), (folder.provenance_file, public.provenance)):
        if content is not None:
            write_record(file, content)
    if public.metrics is not None:
        write_metrics(folder.metrics_file, public.metrics)
    card = model_card(public, model, flat_settings(shared), left_out_keys(settings, keep))
    write_text(out / CARD, card)


def _names_that_stay(run: FoundRun) -> set[str]:
    """Return the names that identify the model and are always published."""
    config = run.config
    return {config.task, config.method_name, config.baseline, *config.method_name.split("+")}


def _check_description(file: Path, keep: set[str]) -> None:
    """Raise :class:`StaysHere` if arguments that the policy needs contain private text."""
    found = left_out_keys(read_json(file), keep) if file.is_file() else []
    if found:
        raise StaysHere(
            f"{file.name} would contain a path, a name or a secret of this machine in {found[0]}, which loading the "
            "policy needs; train with an encoder that does not need it"
        )


def _public_run(run: FoundRun, config: Mapping[str, Any], keep: set[str], sums: Mapping[str, str]) -> FoundRun:
    """Return a run with contents that may be published; checksums are those of the published files."""
    training = None
    if run.training is not None:
        told = {key: value for key, value in run.training.items() if key not in (MODEL_SUM, POLICY_SUM)}
        training = {**published(told, keep), **sums}
    provenance = None if run.provenance is None else _public_origin(run.provenance, keep)
    metrics = None
    if run.metrics is not None:
        name = published(run.config.experiment_name, keep)
        facts = {"env": run.config.task, "name": name, "method": run.config.method_name, "seed": run.seed}
        metrics = RunMetrics(
            {**facts, "training": training, "provenance": provenance},
            published(run.metrics.suite, keep),
            published(run.metrics.settings, keep),
            Results.from_json(published(run.metrics.results.to_json(), keep)),
            {
                published(target, keep): replace(each, map=published(each.map, keep), score=published(each.score, keep))
                for target, each in run.metrics.maps.items()
            },
        )
    return replace(run, training=training, provenance=provenance, metrics=metrics, command=None)


def _public_origin(told: Mapping[str, Any], keep: set[str]) -> dict[str, Any]:
    """Return versions, revision, date and machine of every part of a training, without command lines."""
    kept = {name: told[name] for name in FACTS if name in told and name != "command"}
    machine = told.get("machine") or {}
    kept["machine"] = {name: machine[name] for name in _MACHINE if name in machine}
    shared: dict[str, Any] = published(kept, keep)
    parts = told.get("resumed")
    if isinstance(parts, list):
        mappings = [part for part in parts if isinstance(part, Mapping)]
        shared["resumed"] = [{"step": published(part.get("step")), **_public_origin(part, keep)} for part in mappings]
    return shared
