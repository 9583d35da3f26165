"""Attention maps of every method's classifier on the same images."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from camal_rl.attention import normalize_cam
from camal_rl.overlays import RGBImage, heatmap_overlay, mask_overlay
from camal_rl.runs.task import AnyRun, AttentionGrid
from camal_rl.supervised.batches import evenly_spaced_indices, load_batch, to_unit_range
from camal_rl.supervised.cam_classifier import CamClassifier
from camal_rl.supervised.config import CamalConfig, SupervisedConfig
from camal_rl.supervised.data.samples import Batch, ImageSet
from camal_rl.supervised.model_protocols import HasBuiltInAttention
from camal_rl.supervised.training import load_classifier, make_sets


def attention_grid(runs: Mapping[str, AnyRun], count: int) -> AttentionGrid:
    """Return image | marked | the class map of each method's run, on images of the first run's last evaluation set.

    The images are evenly spaced over the set and not selected by their content.

    Args:
        runs: one run for each method, in the order of the columns.
        count: number of images.

    Raises:
        FileNotFoundError: no run has a model.
        ImportError, OSError, ValueError: the images or a model cannot be loaded here.
    """
    shown = {method: run for method, run in runs.items() if run.folder.weights_file.is_file()}
    if not shown:
        raise FileNotFoundError("none of the run folders contains a model.safetensors")
    config = next(iter(shown.values())).config
    assert isinstance(config, SupervisedConfig)
    name = config.evaluation.sets[-1]
    sets = make_sets(config)
    batch = load_batch(sets[name], evenly_spaced_indices(sets[name], count))
    images = list(batch.images.permute(0, 2, 3, 1).numpy())
    columns: dict[str, list[RGBImage]] = {
        "image": images,
        "marked": [mask_overlay(image, mask) for image, mask in zip(images, batch.masks.numpy(), strict=True)],
    }
    for method, run in shown.items():
        for title, cam in _maps(method, run, sets["train"], batch, config.camal).items():
            pairs = zip(images, normalize_cam(cam).cpu().numpy(), strict=True)
            columns[title] = [heatmap_overlay(image, each) for image, each in pairs]
    labels = ", ".join(run.label for run in shown.values())
    caption = f"{len(images)} images evenly spaced over {name}, not selected by content. Maps of the class of {labels}."
    return AttentionGrid(columns, f"{caption} Dark: 0, yellow: 1.")


def _maps(method: str, run: AnyRun, train_set: ImageSet, batch: Batch, camal: CamalConfig) -> dict[str, Tensor]:
    """Return the class map of a run's model and its built-in attention, if it has one, by title."""
    assert isinstance(run.config, SupervisedConfig)
    model = load_classifier(run.folder, run.config, train_set)
    images = to_unit_range(batch.images.to(next(model.parameters()).device))
    cams = CamClassifier(model, images[:1], run.config.model.cam_layer, strict=False)
    maps = {method: cams.maps(images, batch.labels.to(images.device), camal)[0]}
    if isinstance(model, HasBuiltInAttention):
        with torch.no_grad():
            maps[f"{method}, built in"] = model.built_in_attention(images).float()
    return maps
