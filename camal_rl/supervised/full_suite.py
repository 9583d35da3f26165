"""What ``evaluate --suite full`` needs of a classifier: neutral maps, and its own maps of fixed classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from camal_rl.metrics import ClassScoreDrop
from camal_rl.saliency.attribution import captum_map
from camal_rl.saliency.perturbation_maps import perturbation_map, window_for
from camal_rl.supervised.batches import to_unit_range
from camal_rl.supervised.cam_classifier import CamClassifier, class_score
from camal_rl.supervised.config import CamalConfig
from camal_rl.supervised.logits import logits_of
from camal_rl.training_modes import evaluating, recording_gradients


def neutral_maps(
    model: nn.Module, probabilities: Callable[[Tensor], Tensor], images: Tensor, classes: Tensor, chunk_size: int
) -> dict[str, Tensor]:
    """Return the maps that no method trains on, ``(N, H, W)`` on the CPU.

    Args:
        model: the classifier.
        probabilities: takes images like these, returns the probabilities of the classes ``(n, K)`` on the CPU.
        images: ``uint8 (N, 3, H, W)``, on the CPU.
        classes: ``int64 (N,)``, the classes to explain: ``perturbation`` by their probabilities,
            ``integrated_gradients`` by the log of these.
        chunk_size: largest number of images given to the model at once.
    """
    device = next(model.parameters()).device

    def score(real: Tensor, of: Tensor) -> Tensor:
        return class_score(logits_of(model(real.to(device) / 255)).float(), of.to(device), "log_probability").cpu()

    # In floating point the mean color is not rounded.
    window, stride = window_for(images)
    change = ClassScoreDrop(classes)
    covered = perturbation_map(images.float(), probabilities, change, window, stride, chunk_size=chunk_size)
    with evaluating(model), recording_gradients():
        gradients = captum_map("integrated_gradients", score, images, [classes], chunk_size=chunk_size)
    return {"perturbation": covered, "integrated_gradients": gradients.float()}


def map_of_classes(cams: CamClassifier, classes: Tensor, camal: CamalConfig) -> Callable[[nn.Module, Tensor], Tensor]:
    """Return the function from a copy of the model and images to the maps of fixed classes, ``(n, h, w)`` on the CPU.

    Args:
        cams: the class activation maps of the model.
        classes: ``int64 (n,)``, the class of each image.
        camal: defines the maps.
    """
    of_class = replace(camal, target="true")

    def maps(network: nn.Module, images: Tensor) -> Tensor:
        device = next(network.parameters()).device
        return cams.of(network).maps(to_unit_range(images.to(device)), classes.to(device), of_class)[0].cpu()

    return maps
