"""Evaluates a trained classifier: accuracy by group, attention, and effect of the background on predictions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from camal_rl.runs.faithfulness_suite import check_suite
from camal_rl.runs.metrics_file import MapDescription, RunMetrics, write_metrics
from camal_rl.runs.origin import run_origin
from camal_rl.runs.results import Result, Results
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.task import OWN_SETTINGS, EvaluationOptions
from camal_rl.supervised.attention_report import attention_report
from camal_rl.supervised.background_swap import RedrawsBackground, background_swap
from camal_rl.supervised.batches import load_batch, to_unit_range
from camal_rl.supervised.cam_classifier import CamClassifier
from camal_rl.supervised.config import EvaluationConfig, SupervisedConfig
from camal_rl.supervised.data.listing import listing_of, lost_masks, lost_masks_line
from camal_rl.supervised.data.samples import ImageSet, UnusedDataWarning
from camal_rl.supervised.logits import logits_of
from camal_rl.supervised.training import load_classifier, make_sets
from camal_rl.training_modes import evaluating

CHUNK_SIZE = 128
OnStage = Callable[[str], None]


def evaluation_settings(config: SupervisedConfig, options: EvaluationOptions = OWN_SETTINGS) -> EvaluationConfig:
    """Return a run's evaluation settings, with number of images and suite of the options replacing its own.

    Raises:
        ValueError: there is no such suite.
        ImportError: the suite needs a package that is not installed; the message contains the install command.
    """
    given: dict[str, Any] = {"images": options.frames, "suite": options.suite}
    given = {name: value for name, value in given.items() if value is not None}
    check_suite(given.get("suite", config.evaluation.suite))
    return replace(config.evaluation, **given)


def stages(settings: EvaluationConfig) -> list[str]:
    """Return the names of the stages of :func:`evaluate_classifier`, for a progress bar."""
    looks = ("accuracy", "attention", "backgrounds") if settings.images else ("accuracy", "backgrounds")
    return [f"{look} on {name}" for name in settings.sets for look in looks]


class Trained(NamedTuple):
    """A trained classifier and the image sets of its run."""

    model: nn.Module
    sets: Mapping[str, ImageSet]


def load_trained(folder: RunFolder, config: SupervisedConfig) -> Trained:
    """Return a run's model and image sets.

    Raises:
        FileNotFoundError: the run has no model.
        ImportError, OSError, ValueError: the images or the model cannot be loaded here.
    """
    sets = make_sets(config)
    return Trained(load_classifier(folder, config, sets["train"]), sets)


def evaluate_classifier(
    folder: RunFolder,
    config: SupervisedConfig,
    trained: Trained,
    settings: EvaluationConfig,
    on_stage: OnStage = lambda _: None,
) -> RunMetrics:
    """Evaluate a run and write ``metrics.json``.

    Args:
        folder: a trained run.
        config: its configuration.
        trained: result of :func:`load_trained`.
        settings: the evaluation settings.
        on_stage: called with the name of each finished stage from :func:`stages`.

    Returns:
        The content of ``metrics.json``. Its results for each set are those of :func:`accuracy_report`,
        :func:`mask_report`, :func:`camal_rl.supervised.attention_report.attention_report` and, if the set can redraw
        its images, :func:`camal_rl.supervised.background_swap.background_swap`.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    model, sets = trained
    accuracies, masks, swaps, looks = Results(), Results(), Results(), Results()
    maps: dict[str, MapDescription] = {}
    for name in settings.sets:
        images = sets[name]
        accuracies += accuracy_report(model, images, name)
        masks += mask_report(images, name)
        on_stage(f"accuracy on {name}")
        if settings.images:
            cams = CamClassifier(model, _example(model, images), config.model.cam_layer, strict=False)
            report = attention_report(model, cams, images, config.camal, settings, name)
            looks += report.results
            maps.update(report.maps)
            on_stage(f"attention on {name}")
        if isinstance(images, RedrawsBackground):
            swaps += background_swap(lambda batch: predicted(model, batch), images, settings.seed, name)
        on_stage(f"backgrounds on {name}")
    facts = {"env": config.task, "name": config.experiment_name, "method": config.method_name, "seed": config.seed}
    made = {"training": folder.training(), "provenance": run_origin(folder)}
    asked = {**asdict(settings), "sets": list(settings.sets)}
    results = accuracies + masks + swaps + looks
    metrics = RunMetrics({**facts, **made}, asked.pop("suite"), asked, results, maps)
    write_metrics(folder.metrics_file, metrics)
    return metrics


def accuracy_report(model: nn.Module, images: ImageSet, level_set: str | None = None) -> Results:
    """Return the accuracy on a set, overall, by group, and of the worst group with images.

    Args:
        model: the classifier.
        images: the set.
        level_set: name of the set in the results.

    Returns:
        ``accuracy`` over all images with its standard error, ``worst_group_accuracy``, and ``accuracy`` of every group
        with images, whose name is the control.
    """
    hits = torch.zeros(len(images.groups), dtype=torch.int64)
    counts = torch.zeros_like(hits)
    for start in range(0, len(images), CHUNK_SIZE):
        batch = load_batch(images, range(start, min(start + CHUNK_SIZE, len(images))))
        right = predicted(model, batch.images) == batch.labels
        hits += torch.bincount(batch.groups[right], minlength=len(hits))
        counts += torch.bincount(batch.groups, minlength=len(counts))
    present = counts > 0
    share, numbers = hits[present] / counts[present], counts[present].tolist()
    names = [name for name, there in zip(images.groups, present.tolist(), strict=True) if there]
    average, count = float(hits.sum() / counts.sum()), int(counts.sum())
    error = math.sqrt(average * (1 - average) / count)
    worst = int(share.argmin())
    return Results(
        [
            Result(figure="accuracy", level_set=level_set, value=average, count=count, error=error),
            Result(figure="worst_group_accuracy", level_set=level_set, value=float(share[worst]), count=numbers[worst]),
            *(
                Result(figure="accuracy", level_set=level_set, control=name, value=accuracy, count=number)
                for name, accuracy, number in zip(names, share.tolist(), numbers, strict=True)
            ),
        ]
    )


def mask_report(images: ImageSet, name: str) -> Results:
    """Return the numbers of masks and of lost masks of a set, after all of its images were read.

    Warns of lost masks.

    Returns:
        ``masked_images``, the number of images with a mask, and ``lost_masks``, the number of masks that were too small
        for the image size; the count of both is the number of images.
    """
    line = lost_masks_line(images)
    if line is not None:
        warnings.warn(f"of the set {name} {line}", category=UnusedDataWarning, stacklevel=2)
    found = {"masked_images": int(listing_of(images).has_mask.sum()), "lost_masks": lost_masks(images)}
    return Results(
        Result(figure=figure, level_set=name, value=value, count=len(images)) for figure, value in found.items()
    )


def predicted(model: nn.Module, images: Tensor) -> Tensor:
    """Return the predicted classes ``int64 (B,)`` for ``uint8`` images, on the CPU."""
    with evaluating(model), torch.no_grad():
        logits = logits_of(model(to_unit_range(images.to(next(model.parameters()).device))))
    return logits.argmax(dim=1).cpu()


def _example(model: nn.Module, images: ImageSet) -> Tensor:
    return to_unit_range(images[0].image[None].to(next(model.parameters()).device))
