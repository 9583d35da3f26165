"""Detects the layout of a layer's output: channels first, channels last, or tokens with prefix tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from camal_rl.layer_capture import FeatureLayout, hooked, output_words, shape_words
from camal_rl.training_modes import evaluating, recording_gradients

MAX_PREFIX_TOKENS = 16
"""Numbers of prefix tokens (class and register tokens) that are tried."""

_BLIND_PREFIX_TOKENS = 9
"""The maximum if the grid must be inferred from the image alone: a class token and eight registers."""

_PROPORTIONS = 0.3
"""Largest difference between the log aspect ratios of a grid and the image; borders can cost cells."""

_CHANNELS_FIRST = (nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm, nn.MaxPool2d, nn.AvgPool2d)


class NotAFeatureMapError(ValueError):
    """The output of a layer is not a feature map.

    Attributes:
        got: the layer's output in words.
    """

    def __init__(self, layer: str, got: str) -> None:
        super().__init__(
            f"layer {layer!r} must give a feature map (B, C, h, w) or tokens (B, P + h w, C), got "
            f"{got.removeprefix('an output of ')}; choose another layer"
        )
        self.got = got


class LayerCall(NamedTuple):
    """One call of a module: its name, the module, its first input tensor and its first output tensor."""

    name: str
    module: nn.Module
    input: Tensor | None
    output: Tensor | None


class LayerTrace(NamedTuple):
    """A forward pass: the output of every module in the order in which they finished, and the network's output."""

    images: Tensor
    calls: list[LayerCall]
    output: Any


def trace_layers(network: nn.Module, images: Tensor, run: Callable[[Tensor], Any] | None = None) -> LayerTrace:
    """Run images ``(B, C, H, W)`` through a network in evaluation mode, with gradients, and record every output.

    Training modes, ``.grad`` fields and hooks do not change, also after an exception.
    """
    names = {module: name for name, module in network.named_modules() if name}
    calls: list[LayerCall] = []

    def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        calls.append(LayerCall(names[module], module, _first(inputs), _first(output)))

    with recording_gradients(), evaluating(network), hooked(names, keep):
        images = images.detach().clone().requires_grad_()
        return LayerTrace(images, calls, (run or network)(images.clone()))


def find_layout(
    trace: LayerTrace, layer: str, token_grid: tuple[int, int] | None = None, prefix_tokens: int | None = None
) -> FeatureLayout:
    """Return the layout of a layer's output as a feature map.

    Args:
        trace: the trace of a few images.
        layer: the layer's name.
        token_grid: ``(h, w)`` of patch tokens; ``None`` finds it, see :func:`layout_of`.
        prefix_tokens: number of tokens before the patches; ``None`` takes all remaining tokens.

    Raises:
        NotAFeatureMapError: the layer did not run exactly once, or its output is not a feature map; the message says
            which.
        ValueError: no grid, or more than one, fits the tokens.
    """
    runs = [index for index, each in enumerate(trace.calls) if each.name == layer]
    if len(runs) != 1:
        times = f"{len(runs)} outputs, since it ran {len(runs)} times in one forward pass"
        raise NotAFeatureMapError(layer, times if runs else "no output, since it did not run")
    return layout_of(trace, runs[0], token_grid, prefix_tokens)


def layout_of(
    trace: LayerTrace, index: int, token_grid: tuple[int, int] | None = None, prefix_tokens: int | None = None
) -> FeatureLayout:
    """Return the layout of the output of one run as a feature map.

    With four axes, the two whose lengths have the image's aspect ratio are positions. If that is ambiguous, positions
    are the axes along which the receptive field moves over the image. Tokens have the grid of the last convolution
    before them (the patch embedding), possibly halved several times, or the grid of a linear patch embedding. Otherwise
    they have the only grid that divides the image into equal squares and leaves a few prefix tokens.

    Raises:
        NotAFeatureMapError: the output is not a feature map.
        ValueError: no grid, or more than one, fits the tokens.
    """
    name, _, _, output = trace.calls[index]
    if output is None or output.dim() not in (3, 4) or not output.is_floating_point():
        raise NotAFeatureMapError(name, "no tensor" if output is None else output_words(output))
    if len(output) != len(trace.images):
        raise NotAFeatureMapError(name, f"{output_words(output)} for {len(trace.images)} images (windows?)")
    if output.dim() == 4:
        return FeatureLayout(name, _channels_last(trace, index, output))
    grid, prefix = _token_grid(trace, index, output, token_grid, prefix_tokens)
    return FeatureLayout(name, token_grid=grid, prefix_tokens=prefix)


def feature_map_layers(network: nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    """Return name and output shape of every layer whose output is a feature map or tokens, from one forward pass."""
    trace = trace_layers(network, images)
    found = {}
    for index, (name, _, _, output) in enumerate(trace.calls):
        if output is not None and _is_map(trace, index):
            found[name] = tuple(output.shape[1:])
    return found


def _is_map(trace: LayerTrace, index: int) -> bool:
    output = trace.calls[index].output
    try:
        layout = layout_of(trace, index)
    except ValueError:
        return False
    assert output is not None
    h, w = layout.token_grid or (output.shape[1:3] if layout.channels_last else output.shape[2:])
    return h * w > 1


def _channels_last(trace: LayerTrace, index: int, output: Tensor) -> bool:
    """Return whether ``(B, a, b, c)`` is ``(B, h, w, C)`` rather than ``(B, C, h, w)``."""
    if isinstance(trace.calls[index].module, _CHANNELS_FIRST) or not output.numel():
        return False
    a, b, c = output.shape[1:]
    if b == c and any(_tokens(each) == b for each in trace.calls[:index]):
        raise NotAFeatureMapError(trace.calls[index].name, f"{output_words(output)}, the attention between tokens")
    first, last = _fits((b, c), trace.images), _fits((a, b), trace.images)
    if first != last:
        return last
    return _travel(trace.images, output, (1, 2)) > _travel(trace.images, output, (2, 3))


def _tokens(call: LayerCall) -> int | None:
    """Return the number of tokens if a module returns tokens."""
    if call.output is None or call.output.dim() != 3 or isinstance(call.module, nn.Flatten):
        return None
    return int(call.output.shape[1])


def _fits(grid: tuple[int, int], images: Tensor) -> bool:
    """Return whether a grid has the images' aspect ratio and no more cells than the images have pixels."""
    (h, w), (height, width) = grid, images.shape[2:]
    return 1 <= h <= height and 1 <= w <= width and abs(math.log(h * width / (w * height))) <= _PROPORTIONS


def _travel(images: Tensor, output: Tensor, axes: tuple[int, int]) -> float:
    """Return how far the receptive field moves over the image along two axes, in shares of the image's sides.

    The value is near 2 if the axes are rows and columns of positions, and near 0 if they are channels.
    """
    if not output.requires_grad:
        return 0.0
    moved = 0.0
    for axis, side in zip(axes, (2, 3), strict=True):
        centers = []
        for place in (0, output.shape[axis] - 1):
            with recording_gradients():
                score = output.select(axis, place).square().sum()
            (gradient,) = torch.autograd.grad(score, images, retain_graph=True, allow_unused=True)
            along = images.new_zeros(images.shape[side]) if gradient is None else gradient.abs().sum((0, 1, 5 - side))
            places = torch.linspace(0, 1, len(along), device=along.device, dtype=along.dtype)
            centers.append(float((along * places).sum() / along.sum()) if along.any() else 0.5)
        moved += centers[1] - centers[0]
    return moved


def _token_grid(
    trace: LayerTrace, index: int, output: Tensor, grid: tuple[int, int] | None, prefix: int | None
) -> tuple[tuple[int, int], int]:
    """Return the grid of patch tokens and the number of tokens before them."""
    name, module, _, _ = trace.calls[index]
    tokens = output.shape[1]
    prefixes = range(min(MAX_PREFIX_TOKENS, tokens - 1) + 1) if prefix is None else (prefix,)
    if grid is not None:
        over = tokens - grid[0] * grid[1]
        if over >= 0 and (prefix is None or over == prefix):
            return grid, over
        raise ValueError(
            f"layer {name!r} gives {tokens} tokens, not {prefix if prefix is not None else 'some'} prefix tokens and "
            f"a grid of {grid[0]} x {grid[1]} patches; set token_grid=(h, w) and prefix_tokens"
        )
    if isinstance(module, nn.Flatten):
        raise NotAFeatureMapError(name, f"{output_words(output)}, a flattened one")
    for h, w, halved in _embedding_grids(trace, index):
        over = tokens - h * w
        if over in prefixes and (over == 0 or not halved):
            return (h, w), over
    few = [over for over in prefixes if prefix is not None or over <= _BLIND_PREFIX_TOKENS]
    found = [(grid, over) for over in few for grid in _even_grids(tokens - over, trace.images)]
    if len(found) == 1:
        return found[0]
    what = "several grids fit" if found else "no grid of the image's proportions fits"
    listed = ", ".join(f"{h} x {w} behind {over}" for (h, w), over in found)
    raise ValueError(
        f"layer {name!r} gives tokens {shape_words(output.shape[1:])}, and {what}{': ' * bool(found)}{listed}; "
        "set token_grid=(h, w) and prefix_tokens"
    )


def _embedding_grids(trace: LayerTrace, index: int) -> Iterator[tuple[int, int, bool]]:
    """Yield the grids of patch embeddings from the last to the first, then the same grids halved repeatedly."""
    grids: list[tuple[int, int]] = []
    for each in reversed(trace.calls[:index]):
        if each.output is None:
            continue
        if isinstance(each.module, nn.Conv2d) and each.output.dim() == 4:
            grids.append((int(each.output.shape[2]), int(each.output.shape[3])))
        elif _is_linear_embedding(each, trace.images):
            grids.extend(_even_grids(each.output.shape[1], trace.images))
    for h, w in grids:
        yield h, w, False
    for h, w in grids:
        while h * w > 1:
            h, w = -(-h // 2), -(-w // 2)
            yield h, w, True


def _is_linear_embedding(call: LayerCall, images: Tensor) -> bool:
    """Return whether a layer's input is patches ``(B, h w, pixels)`` that contain every pixel of the images once."""
    given = call.input
    return (
        isinstance(call.module, nn.Linear)
        and given is not None
        and given.dim() == 3
        and (given[0].numel() == images[0].numel())
    )


def _even_grids(patches: int, images: Tensor) -> Iterator[tuple[int, int]]:
    """Yield the grids ``(h, w)`` of more than one patch that divide images into equal squares."""
    height, width = images.shape[2:]
    for h in range(1, patches + 1):
        w = patches // h
        if h * w == patches > 1 and height % h == 0 and width % w == 0 and height * w == width * h:
            yield h, w


def _first(values: Any) -> Tensor | None:
    value = values[0] if isinstance(values, tuple) and values else values
    return value if isinstance(value, Tensor) else None
