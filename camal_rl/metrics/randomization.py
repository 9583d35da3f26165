"""Parameter randomization: whether a map changes when the learned parameters of the network are replaced."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from camal_rl.attention import nonfinite_maps, zero_maps
from camal_rl.metrics.consistency import explain_in_chunks
from camal_rl.metrics.ranking import spearman


@dataclass(frozen=True)
class Randomization:
    """Rank correlation of each frame's map with the original one while layers are randomized, top layer first.

    Attributes:
        layers: the S layers in the order of their randomization; at stage s all up to ``layers[s]`` are random.
        rank_correlation: ``(S, N)`` in [-1, 1]; NaN where either map is constant, zero or not finite. A map that
            depends on learned parameters falls to about 0; a map that stays near 1 depends on the image alone.
    """

    layers: tuple[str, ...]
    rank_correlation: Tensor

    def stages(self) -> dict[str, float]:
        """Return the mean over the defined frames at each stage, by the layer with which the stage ends."""
        return dict(zip(self.layers, self.rank_correlation.nanmean(dim=1).tolist(), strict=True))

    def means(self) -> dict[str, float]:
        """Return the mean over the defined frames at the last stage, where every layer is random."""
        return {"randomized_spearman": float(self.rank_correlation[-1].nanmean())}

    def undefined(self) -> dict[str, int]:
        """Return the number of frames for which the last stage is undefined; report it."""
        return {"randomized_spearman": int(self.rank_correlation[-1].isnan().sum())}


def randomization_check(
    module: nn.Module,
    explain: Callable[[nn.Module, Tensor], Tensor],
    images: Tensor,
    generator: torch.Generator,
    layers: Sequence[str] | None = None,
    chunk_size: int = 256,
) -> Randomization:
    """Return the similarity of a map to the original as the network's parameters are randomized layer by layer.

    Cascading randomization after Adebayo et al. 2018, arXiv 1810.03292. They redraw the parameters from their initial
    distribution. Here every parameter tensor becomes Gaussian with mean 0 and the root mean square of the trained
    tensor, so that activations keep their scale in every layer; the generator is explicit. Buffers (running statistics)
    are kept. Everything, including the original maps, is computed on a deep copy, so ``module`` does not change.

    Args:
        module: the network, on any device and in any mode.
        explain: takes a network like ``module`` and images ``(n, C, H, W)``, returns non-negative maps
            ``(n, h, w)``. It must use the given network, and should explain the same class or action throughout, since
            the preference of a random network is random.
        images: ``(N, C, H, W)``; not changed.
        generator: source of the random parameters.
        layers: names of submodules, top first, whose parameters (including nested ones) are randomized; ``None`` means
            every submodule with parameters of its own, from the last registered to the first.
        chunk_size: largest number of images given to ``explain`` at once.

    Returns:
        The rank correlation after each stage, of maps in their original size.

    Raises:
        ValueError: there is no layer, or a layer does not exist or has no parameters.
    """
    network = _copied(module)
    names = _layers(network) if layers is None else tuple(layers)
    _check_layers(network, names)
    original = explain_in_chunks(partial(explain, network), images, chunk_size)
    drawn: set[int] = set()
    stages = []
    for name in names:
        for parameter in network.get_submodule(name).parameters():
            if id(parameter) not in drawn:
                drawn.add(id(parameter))
                _randomize(parameter, generator)
        stages.append(_similarity(original, explain_in_chunks(partial(explain, network), images, chunk_size)))
    return Randomization(names, torch.stack(stages))


def _copied(module: nn.Module) -> nn.Module:
    """Return a deep copy; tensors that belong to a graph of an earlier pass are detached.

    :func:`copy.deepcopy` refuses such tensors, and policies store some (their last action distribution).
    """
    detached: dict[int, Any] = {}
    _detach_graphs(module, detached, set())
    return copy.deepcopy(module, detached)


def _detach_graphs(value: object, detached: dict[int, Any], seen: set[int]) -> None:
    """Fill ``detached``, a memo for deepcopy, with a copy of each tensor inside ``value`` that is part of a graph."""
    if id(value) in seen or isinstance(value, (type, FunctionType)):
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        if not value.is_leaf:
            detached[id(value)] = value.detach().clone()
    elif isinstance(value, Mapping):
        for each in value.values():
            _detach_graphs(each, detached, seen)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            _detach_graphs(each, detached, seen)
    elif hasattr(value, "__dict__"):
        _detach_graphs(vars(value), detached, seen)


def _randomize(parameter: nn.Parameter, generator: torch.Generator) -> None:
    noise = torch.randn(parameter.shape, generator=generator, device=generator.device)
    with torch.no_grad():
        parameter.copy_(noise.to(parameter) * parameter.square().mean().sqrt())


def _similarity(original: Tensor, current: Tensor) -> Tensor:
    if current.shape != original.shape:
        raise ValueError(f"explain changed the maps' shape from {tuple(original.shape)} to {tuple(current.shape)}")
    undefined = zero_maps(original) | zero_maps(current) | nonfinite_maps(original) | nonfinite_maps(current)
    correlation = spearman(original.flatten(1), current.flatten(1)).to(original.dtype)
    return torch.where(undefined, torch.nan, correlation)


def _layers(network: nn.Module) -> tuple[str, ...]:
    """Return the modules with parameters of their own, top first.

    Parameters of the network itself, such as the standard deviation of a Gaussian policy, are no layer of it, unless
    there is no other.
    """
    found = [name for name, layer in network.named_modules() if next(layer.parameters(recurse=False), None) is not None]
    return tuple(reversed([name for name in found if name] or found))


def _check_layers(network: nn.Module, names: Sequence[str]) -> None:
    if not names:
        raise ValueError(
            "there is no layer to randomize; the module must have parameters, and layers must name one or more"
        )
    known = dict(network.named_modules())
    for name in names:
        if name not in known or next(known[name].parameters(), None) is None:
            holders = ", ".join(repr(layer) for layer in reversed(_layers(network)))
            raise ValueError(f"{name!r} is not a submodule with parameters; those with parameters: {holders}")
