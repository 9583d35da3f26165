"""Alignment metrics that users add: functions of maps and targets, each with a definition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from camal_rl.metrics.definition import METRICS, Metric
from camal_rl.registry import Registry

Compute = Callable[[Tensor, Tensor], Tensor]
Function = TypeVar("Function", bound=Compute)


@dataclass(frozen=True)
class CustomMetric:
    """A user's metric.

    Attributes:
        definition: name, range, direction, source.
        compute: takes maps ``(B, h, w)``, non-negative and of any scale, and targets ``(B, h, w)`` in [0, 1]; returns
            one value for each frame, ``(B,)``.
        formula: how it is computed, for the glossary.
        random: value for a random map, for the glossary.
    """

    definition: Metric
    compute: Compute
    formula: str
    random: str

    @property
    def __wrapped__(self) -> Compute:
        """The registered function: a module that is executed twice registers the same function twice."""
        return self.compute

    def of(self, cam: Tensor, target: Tensor) -> Tensor:
        """Return the metric of each frame, ``(B,)``.

        Raises:
            ValueError: the function returns something else.
        """
        found = self.compute(cam, target)
        if not isinstance(found, Tensor) or found.shape != cam.shape[:1]:
            got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else repr(found)
            raise ValueError(
                f"metric {self.definition.name!r} must return one value for each of {len(cam)} frames, a tensor of "
                f"shape ({len(cam)},), got {got}"
            )
        return found.to(cam.dtype)


CUSTOM_METRICS: Registry[CustomMetric] = Registry("metric", {}, "camal_rl.metrics")
"""User-defined metrics by name; :func:`register_metric` adds to them."""
_SHIPPED = {metric.name: metric for metric in METRICS}


def register_metric(
    name: str,
    *,
    range: tuple[float, float],
    higher_is_better: bool | None,
    source: str,
    formula: str = "",
    random: str = "-",
) -> Callable[[Function], Function]:
    """Register a function as an alignment metric for evaluation, tables, reports and the glossary; a decorator.

    The function takes maps ``cam (B, h, w)``, at least 0 and of any scale, and targets ``(B, h, w)`` in [0, 1], and
    returns a tensor ``(B,)``. Its values for zero maps and empty targets are ignored.

    Args:
        name: key in files and tables; words are joined by underscores.
        range: smallest and largest possible value.
        higher_is_better: ``None`` if neither direction is better.
        source: paper or convention it follows.
        formula: how it is computed; by default the first line of the function's docstring.
        random: value for a random map.

    Raises:
        ValueError: the name is taken or invalid, the range is empty, or the function does not meet the requirements.

    Example:
        >>> from camal_rl.metrics import register_metric
        >>> @register_metric("mean_inside", range=(0, 1), higher_is_better=True, source="ours")
        ... def mean_inside(cam, target):
        ...     '''Mean over the target of the map divided by its maximum.'''
        ...     scaled = cam / cam.amax(dim=(-2, -1), keepdim=True)
        ...     return (scaled * target).sum(dim=(-2, -1)) / target.sum(dim=(-2, -1))
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"the name of a metric must be a word, or words joined by underscores, got {name!r}")
    if name in _SHIPPED:
        raise ValueError(f"there is a metric {name!r} in this package; register yours under another name")
    low, high = map(float, range)
    if not low < high:
        raise ValueError(f"the range of metric {name!r} must be (smallest, largest), got {range}")

    def register(function: Function) -> Function:
        told = formula or (function.__doc__ or "").strip().partition("\n")[0]
        metric = CustomMetric(Metric(name, (low, high), higher_is_better, source), function, told, random)
        _check(metric)
        CUSTOM_METRICS.register(name, metric)
        return function

    return register


def custom_metric(name: str) -> CustomMetric:
    """Return a user-defined metric.

    Raises:
        ValueError: there is none, or a package announces it but does not register it.
    """
    found = CUSTOM_METRICS.find(name)
    if not isinstance(found, CustomMetric):
        raise ValueError(f"metric {name!r} is announced, but the module does not call register_metric({name!r}, ...)")
    return found


class _Definitions(Mapping[str, Metric]):
    """The definitions of all metrics by name, including those that users add later."""

    def __getitem__(self, name: str) -> Metric:
        if name in _SHIPPED:
            return _SHIPPED[name]
        if name not in CUSTOM_METRICS:
            raise KeyError(name)
        return custom_metric(name).definition

    def __iter__(self) -> Iterator[str]:
        return iter([*_SHIPPED, *CUSTOM_METRICS])

    def __len__(self) -> int:
        return len(_SHIPPED) + len(CUSTOM_METRICS)


METRICS_BY_NAME: Mapping[str, Metric] = _Definitions()


def _check(metric: CustomMetric) -> None:
    """Check a metric on two frames."""
    cam = torch.tensor([[[0.9, 0.2, 0.1], [0.4, 0.3, 0.6]], [[0.0, 0.2, 0.1], [3.0, 0.3, 0.6]]])
    target = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]).repeat(2, 1, 1)
    name, (low, high) = metric.definition.name, metric.definition.range
    try:
        found = metric.of(cam, target)
    except ValueError:
        raise
    except Exception as error:  # a user's function may raise anything
        raise ValueError(
            f"metric {name!r} raised {type(error).__name__} on two frames of 2x3 cells: {error}"
        ) from error
    if not bool(((found >= low) & (found <= high)).all()):
        raise ValueError(f"metric {name!r} must be in [{low:g}, {high:g}], but returned {found.tolist()} on two frames")
