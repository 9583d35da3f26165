"""What arithmetic alone allows: a network's multiplications, and how many this machine makes a second."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def multiplications(network: nn.Module, image: Tensor) -> int:
    """Return how many multiplications convolutions and linear layers take for one image ``(1, C, H, W)``."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = layer.get_parameter("weight")
        total += output.numel() * weight[0].numel()

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        network(image)
    for hook in hooks:
        hook.remove()
    return total


def product_rate(dtype: torch.dtype, size: int = 1024, repeats: int = 10) -> float:
    """Return the multiplications per second of matrix products on one thread, the best of several."""
    torch.set_num_threads(1)
    left, right = torch.randn(2, size, size).to(dtype)
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - start)
    return size**3 / min(seconds[1:])


def floors(multiplications_of_a_step: int, threads: int) -> dict[str, float]:
    """Return the steps per second that matrix products alone allow on all threads, by precision."""
    rates = {name: product_rate(dtype) for name, dtype in PRECISIONS.items()}
    return {name: threads * rate / multiplications_of_a_step for name, rate in rates.items()}
