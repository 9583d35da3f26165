"""An image classifier prepared for sharing: its weights, and the texts of its model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from camal_rl.runs.folders import sha256_of
from camal_rl.runs.hub_model import HubModel
from camal_rl.runs.json_files import MODEL_SUM
from camal_rl.runs.public_text import published
from camal_rl.runs.run_folder import RunFolder
from camal_rl.supervised.config import SupervisedConfig
from camal_rl.supervised.evaluation import load_trained
from camal_rl.supervised.training import save_classifier

_LOADING = """\
import torch
from safetensors.torch import load_model

from camal_rl.supervised.logits import logits_of
from camal_rl.supervised.models import build_model

classes = {classes}
model = build_model({name!r}, len(classes), {size}, **{options})
load_model(model, "model.safetensors")
model.eval()
images = torch.zeros(5, 3, {size}, {size})  # RGB in [0, 1]
with torch.no_grad():
    logits = logits_of(model(images))  # (5, {count})
names = [classes[index] for index in logits.argmax(1).tolist()]
"""


def classifier_hub_model(folder: RunFolder, config: SupervisedConfig) -> HubModel:
    """Load a trained classifier with its images and return it in the form for sharing.

    Raises:
        FileNotFoundError: the run has no model.
        ImportError, OSError, ValueError: the images or the model cannot be loaded here.
    """
    trained = load_trained(folder, config)
    model, size = trained.model.cpu(), config.data.image_size
    classes, name = published(list(trained.sets["train"].classes)), published(config.model.name)

    def write(out: Path) -> Mapping[str, str]:
        file = out / folder.weights_file.name
        save_classifier(model, file)
        return {MODEL_SUM: sha256_of(file)}

    return HubModel(
        write,
        "image-classification",
        (config.method_name, config.data.name),
        f"An image classifier (`{name}`), trained on `{config.data.name}`.",
        f"It takes RGB images of {size} x {size} pixels, in [0, 1], and gives logits of {len(classes)} classes.",
        _training_words(config),
        "",
        _LOADING.format(
            classes=classes,
            name=name,
            size=size,
            options=published(dict(config.model.options)),
            count=len(classes),
        ),
        "The images have their own license.",
        {part: f"{len(trained.sets[part]):,} images" for part in ("train", *config.evaluation.sets)},
    )


def _training_words(config: SupervisedConfig) -> str:
    plain = "It needs only images for inference, no masks."
    if config.camal.weight == 0:
        return f"Its attention was not supervised. {plain}"
    return (
        f"Training added to the cross-entropy a loss on its class activation maps (`{config.camal.loss}`, weight "
        f"{config.camal.weight:g}) that compares them with segmentation masks. {plain}"
    )
