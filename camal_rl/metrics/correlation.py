"""Faithfulness correlation: whether removing parts with more attention changes the decision more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from camal_rl.attention import nonfinite_maps, zero_maps
from camal_rl.metrics.changes import Change
from camal_rl.metrics.fills import Fill, imputation_noise
from camal_rl.metrics.perturbation import FRAMES_PER_CHUNK, Evaluate, check_perturbation, outputs_without
from camal_rl.metrics.ranking import pearson

SUBSET_SHARE = 0.25
"""Share of the cells in one subset."""

NO_SPREAD = 1e-6
"""Changes (or relative sums of a map) that differ by no more than this, by rounding, count as equal."""


@dataclass(frozen=True)
class CellSubsets:
    """Random subsets of the cells of a grid, drawn for each frame.

    Attributes:
        cells: ``int64 (H, W)``, the cell of each pixel.
        chosen: ``bool (S, N, cells)``, which cells are in each subset of each frame.
    """

    cells: Tensor
    chosen: Tensor

    @classmethod
    def draw(
        cls, subsets: int, frames: int, grid: tuple[int, int], size: tuple[int, int], generator: torch.Generator
    ) -> CellSubsets:
        """Draw S subsets for each of N frames: a quarter of the cells (at least one) each, without repetition.

        The cells tile the image; pixel row ``y`` of ``H`` belongs to grid row ``floor(y h / H)``, columns alike.
        """
        _check_grid(subsets, grid, size)
        count = max(1, round(SUBSET_SHARE * grid[0] * grid[1]))
        device = generator.device
        parts = []
        for start in range(0, frames, FRAMES_PER_CHUNK):
            shape = (subsets, min(FRAMES_PER_CHUNK, frames - start), grid[0] * grid[1])
            order = torch.rand(shape, generator=generator, device=device).argsort(dim=2)
            nothing = torch.zeros(shape, dtype=torch.bool, device=device)
            parts.append(nothing.scatter_(2, order[..., :count], True))
        rows = torch.arange(size[0], device=device) * grid[0] // size[0]
        columns = torch.arange(size[1], device=device) * grid[1] // size[1]
        return cls(rows[:, None] * grid[1] + columns, torch.cat(parts, dim=1))

    def to(self, device: torch.device) -> CellSubsets:
        """Return the same subsets on a device."""
        return CellSubsets(self.cells.to(device), self.chosen.to(device))

    def masks(self, frames: slice) -> Iterable[Tensor]:
        """Yield the pixels ``bool (n, H, W)`` of each subset for a slice of the frames."""
        return (chosen[:, self.cells] for chosen in self.chosen[:, frames])

    def sums(self, saliency: Tensor) -> Tensor:
        """Return the sum over each subset of maps ``(N, H, W)``, ``float64 (S, N)``."""
        per_cell = torch.zeros(len(saliency), self.chosen.shape[2], dtype=torch.float64, device=saliency.device)
        per_cell.index_add_(1, self.cells.flatten(), saliency.flatten(1).double())
        return torch.stack([(chosen * per_cell).sum(dim=1) for chosen in self.chosen])


def correlate(sums: Tensor, changes: Tensor) -> Tensor:
    """Return the Pearson correlation over S subsets of ``sums`` and ``changes``, both ``(S, N)``: ``(N,)``.

    NaN where either side has no variance: all its values are equal up to rounding.
    """
    flat = _spread(sums) <= NO_SPREAD * sums.abs().amax(dim=0)
    dull = _spread(changes) <= NO_SPREAD
    correlation = pearson(sums.T, changes.T.to(sums))
    return torch.where(flat | dull, torch.nan, correlation).to(changes.dtype)


def faithfulness_correlation(
    images: Tensor,
    saliency: Tensor,
    evaluate: Evaluate,
    change: Change,
    grid: tuple[int, int] = (8, 8),
    subsets: int = 32,
    fill: Fill = "mean",
    chunk_size: int = 256,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the correlation between the sum of a map over removed pixels and the change of the output.

    ``pearson over subsets S of (sum over S of m, change(x, x without S))``: Bhatt et al. 2020, arXiv 2005.00631
    (faithfulness correlation). Their subsets consist of single pixels. Ours consist of a quarter of the cells of a
    grid, since single pixels are meaningless for a map as coarse as a CAM.

    Args:
        images: ``(N, C, H, W)``, uint8 or floating point; not changed.
        saliency: ``(N, H, W)``, non-negative.
        evaluate: takes ``(n, C, H, W)``, returns ``(n, K)``.
        change: see :mod:`camal_rl.metrics.changes`.
        grid: ``(h, w)``, cells per column and per row; preferably the grid of the map, at most the image's size.
        subsets: number of random subsets, at least 3.
        fill: see :func:`camal_rl.metrics.fills.remove_pixels`.
        chunk_size: largest number of images given to ``evaluate`` at once; does not change the result.
        generator: draws the subsets and ROAD's noise; ``None`` means a new CPU generator with seed 0.

    Returns:
        ``(N,)`` in [-1, 1], higher is better; NaN where the map is zero or not finite, or where the sums or the
        changes do not vary.
    """
    check_perturbation(images, saliency, (0.0,), chunk_size)
    source = generator or torch.Generator().manual_seed(0)
    size = (images.shape[2], images.shape[3])
    drawn = CellSubsets.draw(subsets, len(images), grid, size, source).to(images.device)
    noise = imputation_noise(images, fill, source)
    nothing = torch.zeros(len(images), *size, dtype=torch.bool, device=images.device)

    def removals(frames: slice) -> Iterable[Tensor]:
        yield nothing[frames]
        yield from drawn.masks(frames)

    outputs = outputs_without(images, removals, evaluate, fill, noise, chunk_size)
    undefined = (zero_maps(saliency) | nonfinite_maps(saliency)).to(outputs.device)
    changes = change(outputs[0], outputs[1:])
    result = correlate(drawn.sums(saliency.detach().to(images.device)).to(changes.device), changes)
    return torch.where(undefined, torch.nan, result)


def _spread(values: Tensor) -> Tensor:
    return values.amax(dim=0) - values.amin(dim=0)


def _check_grid(subsets: int, grid: tuple[int, int], size: tuple[int, int]) -> None:
    if subsets < 3:
        raise ValueError(f"subsets must be at least 3 (two points always correlate perfectly), got {subsets}")
    if min(grid) < 1 or grid[0] * grid[1] < 2 or grid[0] > size[0] or grid[1] > size[1]:
        raise ValueError(f"grid must have two or more cells and be at most the images' size {size}, got {grid}")
