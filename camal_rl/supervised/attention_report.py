"""Attention metrics of a classifier on a set of images: alignment with the masks, and faithfulness with controls."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from camal_rl.attention import normalize_cam, upsample_cam
from camal_rl.metrics import AlignmentSummary, ClassScoreDrop, random_saliency
from camal_rl.runs.attention_results import alignment_results
from camal_rl.runs.faithfulness_suite import (
    STABILITY_FRAMES,
    Decision,
    deletion_results,
    faithfulness_suite,
    stability,
)
from camal_rl.runs.metrics_file import MapDescription
from camal_rl.runs.results import Result, Results
from camal_rl.supervised.batches import evenly_spaced_indices, load_batch, mask_targets, to_unit_range
from camal_rl.supervised.cam_classifier import CamClassifier
from camal_rl.supervised.config import CamalConfig, EvaluationConfig
from camal_rl.supervised.data.samples import Batch, ImageSet
from camal_rl.supervised.full_suite import map_of_classes, neutral_maps
from camal_rl.supervised.logits import logits_of
from camal_rl.supervised.model_protocols import HasBuiltInAttention
from camal_rl.targets import target_tensor
from camal_rl.training_modes import evaluating

CLASS_MAP, BUILT_IN = "class", "built_in"
_CHUNK = 64

MakeMaps = Callable[[nn.Module, Tensor], Tensor]
"""Takes a network like the model and ``uint8`` images ``(n, 3, H, W)``, returns maps ``(n, h, w)`` on the CPU."""


class AttentionReport(NamedTuple):
    """Results on a classifier's maps, and a description of the maps, by target."""

    results: Results
    maps: dict[str, MapDescription]


def attention_report(
    model: nn.Module,
    cams: CamClassifier,
    images: ImageSet,
    camal: CamalConfig,
    settings: EvaluationConfig,
    level_set: str | None = None,
) -> AttentionReport:
    """Measure the class map, and the model's built-in attention if it has one, on images with a mask.

    For comparability of models with different grids, every map is upsampled to the images' size (bilinear) and averaged
    over the cells of a common grid; a cell is relevant if it contains any marked pixel. Faithfulness replaces pixels by
    the mean color in the order of three maps: the ``own`` map, a ``random`` map of the same resolution, and the
    ``mask`` itself. The score is the probability of the map's class. The full suite adds maps on which no method is
    trained, more figures and fills, and the stability of the model's own map
    (:mod:`camal_rl.runs.faithfulness_suite`).

    Args:
        model: the classifier.
        cams: its class activation maps.
        images: the set, of which evenly spaced images are measured.
        camal: defines the maps; must be the same for all models of a comparison.
        settings: number of images, grid, the seed of everything random, and the suite.
        level_set: name of the set in the results.

    Returns:
        For the targets ``class`` and, if the model has it, ``built_in``: alignment (means over the images for which it
        is defined), ``zero_maps``, ``nonfinite_maps``, ``empty_targets``, and faithfulness by map; in the full suite
        also curves, other fills, consistency and randomization. A set without masks has no results.
    """
    batch = load_batch(images, evenly_spaced_indices(images, settings.images))
    if not bool(batch.has_mask.any()):
        return AttentionReport(Results(), {})
    device = next(model.parameters()).device
    pairs = list(zip(batch.images.split(_CHUNK), batch.labels.split(_CHUNK), strict=True))
    found = [cams.maps(to_unit_range(image.to(device)), label.to(device), camal) for image, label in pairs]
    logits = torch.cat([each for _, each in found]).cpu()
    classes = batch.labels if camal.target == "true" else logits.argmax(dim=1)
    maps = {CLASS_MAP: (torch.cat([cam for cam, _ in found]).cpu(), _map_words(cams, camal))}
    makers: dict[str, MakeMaps] = {CLASS_MAP: map_of_classes(cams, classes[:STABILITY_FRAMES], camal)}
    if isinstance(model, HasBuiltInAttention):
        own = torch.cat([_built_in(model, image) for image, _ in pairs])
        maps[BUILT_IN], makers[BUILT_IN] = (own, "the model's own attention"), _built_in
    found_of_maps: list[Result] = []
    score = f"probability of the {camal.target} class"
    probabilities, change = _probabilities(model), ClassScoreDrop(classes)
    full = settings.suite == "full"
    neutral = neutral_maps(model, probabilities, batch.images, classes, _CHUNK) if full else {}
    for name, (cam, _) in maps.items():
        found_of_maps += alignment_results(_alignment(cam, batch, settings.grid), level_set, name)
        decision = Decision(name, probabilities, change, (settings.grid, settings.grid), _CHUNK)
        saliency = _saliency(cam, batch, settings.seed)
        if full:
            few = batch.images[:STABILITY_FRAMES]
            found_of_maps += faithfulness_suite(decision, batch.images, saliency, neutral, settings.seed, level_set)
            found_of_maps += stability(model, makers[name], few, name, settings.seed, level_set)
        else:
            found_of_maps += deletion_results(decision, batch.images, saliency, settings.seed, level_set)
    described = {name: MapDescription(words, score, _grid(cam)) for name, (cam, words) in maps.items()}
    return AttentionReport(Results(found_of_maps), described)


def on_common_grid(cam: Tensor, size: tuple[int, int], cells: int) -> Tensor:
    """Return maps ``(B, h, w)`` enlarged to the images' size, then averaged over ``(cells, cells)``."""
    return functional.adaptive_avg_pool2d(upsample_cam(cam, size), (cells, cells))


def _grid(cam: Tensor) -> tuple[int, int]:
    return cam.shape[1], cam.shape[2]


def _alignment(cam: Tensor, batch: Batch, cells: int) -> AlignmentSummary:
    size = (batch.images.shape[2], batch.images.shape[3])
    target = target_tensor(mask_targets(batch, (cells, cells)))
    return AlignmentSummary.of(on_common_grid(normalize_cam(cam), size, cells), target)


def _saliency(cam: Tensor, batch: Batch, seed: int) -> dict[str, Tensor]:
    """Return the map and its controls, ``(N, H, W)`` by name."""
    size = (batch.images.shape[2], batch.images.shape[3])
    return {
        "own": upsample_cam(cam, size),
        "random": random_saliency((len(cam), *cam.shape[1:]), size, torch.Generator().manual_seed(seed)),
        "mask": batch.masks.float(),
    }


def _built_in(model: nn.Module, images: Tensor) -> Tensor:
    """Return the attention that a model has of its own, ``(n, h, w)`` on the CPU, for ``uint8`` images."""
    assert isinstance(model, HasBuiltInAttention)
    with evaluating(model), torch.no_grad():
        return model.built_in_attention(to_unit_range(images.to(next(model.parameters()).device))).float().cpu()


def _probabilities(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function from ``uint8`` images to class probabilities on the CPU."""

    def evaluate(images: Tensor) -> Tensor:
        with evaluating(model), torch.no_grad():
            logits = logits_of(model(to_unit_range(images.to(next(model.parameters()).device))))
        return logits.float().softmax(dim=1).cpu()

    return evaluate


def _map_words(cams: CamClassifier, camal: CamalConfig) -> str:
    return f"{camal.method}, {camal.rectification}, {camal.score} of the {camal.target} class at {cams.layer}"
