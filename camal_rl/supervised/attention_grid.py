"""What every method's classifier looks at, on the same images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from camal_rl.attention import normalize_cam
from camal_rl.overlays import Picture, heat_overlay, mask_overlay
from camal_rl.supervised.batches import as_input, batch_of, spread_indices
from camal_rl.supervised.cam_classifier import CamClassifier
from camal_rl.supervised.config import SupervisedConfig
from camal_rl.supervised.contract import HasOwnAttention
from camal_rl.supervised.training import load_classifier, make_sets

if TYPE_CHECKING:
    from camal_rl.comparison.plan import PlannedRun


def attention_columns(runs: Mapping[str, PlannedRun], count: int) -> tuple[dict[str, list[Picture]], str]:
    """Return titled columns image | marked | the map of each method's run, and a caption that says which images.

    The images are evenly spread over the last evaluation set of the first run; nothing is chosen by what it shows.
    """
    configs = {method: run.config for method, run in runs.items()}
    config = next(iter(configs.values()))
    assert isinstance(config, SupervisedConfig)
    name = config.evaluation.sets[-1]
    sets = make_sets(config)
    batch = batch_of(sets[name], spread_indices(sets[name], count))
    shown = list(batch.images.permute(0, 2, 3, 1).numpy())
    columns = {
        "image": shown,
        "marked": [mask_overlay(image, mask) for image, mask in zip(shown, batch.masks.numpy(), strict=True)],
    }
    for method, run in runs.items():
        own = configs[method]
        assert isinstance(own, SupervisedConfig)
        model = load_classifier(run.folder, own, sets["train"])
        images = as_input(batch.images.to(next(model.parameters()).device))
        cams = CamClassifier(model, images[:1], own.model.cam_layer, strict=False)
        maps = {method: cams.maps(images, batch.labels.to(images.device))[0]}
        if isinstance(model, HasOwnAttention):
            with torch.no_grad():
                maps[f"{method}, built in"] = model.own_attention(images).float()
        for title, cam in maps.items():
            pairs = zip(shown, normalize_cam(cam).cpu().numpy(), strict=True)
            columns[title] = [heat_overlay(image, each) for image, each in pairs]
    labels = ", ".join(run.label for run in runs.values())
    caption = f"{len(shown)} images evenly spread over {name}, whatever they show. Maps of the class of {labels}."
    return columns, f"{caption} Dark: 0, yellow: 1."
