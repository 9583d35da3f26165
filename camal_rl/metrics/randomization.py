"""Parameter randomization: does a map notice that the network it explains has forgotten what it learned."""

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
        rank_correlation: ``(S, N)`` in [-1, 1]; NaN where either map is constant, zero or not finite. A map of what
            was learned falls to about 0; one that stays near 1 shows the image, not the network.
    """

    layers: tuple[str, ...]
    rank_correlation: Tensor

    def stages(self) -> dict[str, float]:
        """Return for each layer the mean, over the frames where it is defined, at the stage that ends with it."""
        return dict(zip(self.layers, self.rank_correlation.nanmean(dim=1).tolist(), strict=True))

    def means(self) -> dict[str, float]:
        """Return the mean of the last stage, where every layer is random, over the frames where it is defined."""
        return {"randomized_spearman": float(self.rank_correlation[-1].nanmean())}

    def undefined(self) -> dict[str, int]:
        """Return on how many frames the last stage is not defined; report them."""
        return {"randomized_spearman": int(self.rank_correlation[-1].isnan().sum())}


def randomization_check(
    module: nn.Module,
    explain: Callable[[nn.Module, Tensor], Tensor],
    images: Tensor,
    generator: torch.Generator,
    layers: Sequence[str] | None = None,
    chunk_size: int = 256,
) -> Randomization:
    """Return how much of a map survives when the network's parameters are randomized, layer by layer, cumulatively.

    Cascading randomization after Adebayo et al. 2018, arXiv 1810.03292. They draw the parameters anew from their
    initial distribution; here every parameter tensor becomes Gaussian with mean 0 and the root mean square of the
    trained one, so that activations keep their size whatever the layer, and the generator is explicit. Buffers
    (running statistics) stay. Everything, the original maps too, is computed on a deep copy: ``module`` stays as it is.

    Args:
        module: the network, on any device and in any mode.
        explain: takes a network like ``module`` and images ``(n, C, H, W)``, returns non-negative maps
            ``(n, h, w)``. It must use the network it is given, and should explain the same class or action
            throughout: which one a random network prefers is random too.
        images: ``(N, C, H, W)``; not changed.
        generator: source of the random parameters.
        layers: names of submodules, top first, whose own parameters and those of everything inside them are drawn;
            ``None`` means every module that directly holds parameters, from the last registered one to the first.
        chunk_size: largest number of images given to ``explain`` at once.

    Returns:
        The rank correlation after each stage, of maps at their own size.

    Raises:
        ValueError: no layer, or one that the module does not have or that holds no parameters.
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
    """Return a deep copy; tensors that are part of a graph, kept from an earlier pass, come without it.

    :func:`copy.deepcopy` refuses such tensors, and policies keep some (their last action distribution).
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
    holders = [
        name for name, layer in network.named_modules() if next(layer.parameters(recurse=False), None) is not None
    ]
    return tuple(reversed(holders))


def _check_layers(network: nn.Module, names: Sequence[str]) -> None:
    if not names:
        raise ValueError("there is no layer to randomize; the module must hold parameters, and layers name one or more")
    known = dict(network.named_modules())
    for name in names:
        if name not in known or next(known[name].parameters(), None) is None:
            holders = ", ".join(repr(layer) for layer in reversed(_layers(network)))
            raise ValueError(f"{name!r} is not a submodule with parameters; those that hold some: {holders}")
