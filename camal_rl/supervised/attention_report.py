"""Attention metrics of a classifier on a set of images: alignment with the masks, and faithfulness with controls."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from camal_rl.attention import normalize_cam, upsample_cam
from camal_rl.metrics import AlignmentSummary, ClassScoreDrop, PerturbationEffect, deletion_effect, random_saliency
from camal_rl.runs.attention_results import alignment_results, faithfulness_results
from camal_rl.runs.metrics_file import MapDescription
from camal_rl.runs.results import Result, Results
from camal_rl.supervised.batches import evenly_spaced_indices, load_batch, mask_targets, to_unit_range
from camal_rl.supervised.cam_classifier import CamClassifier
from camal_rl.supervised.config import CamalConfig, EvaluationConfig
from camal_rl.supervised.data.samples import Batch, ImageSet
from camal_rl.supervised.logits import logits_of
from camal_rl.supervised.model_protocols import HasBuiltInAttention
from camal_rl.targets import target_tensor
from camal_rl.training_modes import evaluating

CLASS_MAP, BUILT_IN = "class", "built_in"
_CHUNK = 64


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
    ``mask`` itself. The score is the probability of the map's class.

    Args:
        model: the classifier.
        cams: its class activation maps.
        images: the set, of which evenly spaced images are measured.
        camal: defines the maps; must be the same for all models of a comparison.
        settings: number of images, grid, and the seed of everything random.
        level_set: name of the set in the results.

    Returns:
        For the targets ``class`` and, if the model has it, ``built_in``: alignment (means over the images for which it
        is defined), ``zero_maps``, ``nonfinite_maps``, ``empty_targets``, and faithfulness by map. A set without masks
        has no results.
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
    if isinstance(model, HasBuiltInAttention):
        with evaluating(model), torch.no_grad():
            own = torch.cat([model.built_in_attention(to_unit_range(image.to(device))) for image, _ in pairs])
        maps[BUILT_IN] = own.float().cpu(), "the model's own attention"
    found_of_maps: list[Result] = []
    score = f"probability of the {camal.target} class"
    for name, (cam, _) in maps.items():
        found_of_maps += alignment_results(_alignment(cam, batch, settings.grid), level_set, name)
        effects = _faithfulness(cam, batch, _probabilities(model), classes, settings.seed)
        for map_, effect in effects.items():
            found_of_maps += faithfulness_results(effect.means(), effect.counts(), level_set, name, map_)
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


def _faithfulness(
    cam: Tensor, batch: Batch, evaluate: Callable[[Tensor], Tensor], classes: Tensor, seed: int
) -> dict[str, PerturbationEffect]:
    """Return the effect of deleting pixels in the order of the map and of its controls."""
    size = (batch.images.shape[2], batch.images.shape[3])
    saliency = {
        "own": upsample_cam(cam, size),
        "random": random_saliency((len(cam), *cam.shape[1:]), size, torch.Generator().manual_seed(seed)),
        "mask": batch.masks.float(),
    }
    found = {}
    for name, each in saliency.items():
        generator = torch.Generator().manual_seed(seed)
        change = ClassScoreDrop(classes)
        found[name] = deletion_effect(batch.images, each, evaluate, change, chunk_size=_CHUNK, generator=generator)
    return found


def _probabilities(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function from ``uint8`` images to class probabilities on the CPU."""

    def evaluate(images: Tensor) -> Tensor:
        with evaluating(model), torch.no_grad():
            logits = logits_of(model(to_unit_range(images.to(next(model.parameters()).device))))
        return logits.float().softmax(dim=1).cpu()

    return evaluate


def _map_words(cams: CamClassifier, camal: CamalConfig) -> str:
    return f"{camal.method}, {camal.rectification}, {camal.score} of the {camal.target} class at {cams.layer}"
