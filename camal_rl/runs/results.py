"""Results of an evaluation in long form: one record for each number, so that a file of them is a tidy table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple


class ResultKey(NamedTuple):
    """The key of a result, unique within a run. See :class:`Result`."""

    figure: str
    level_set: str | None = None
    target: str | None = None
    map: str | None = None
    control: str | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """One number measured by an evaluation.

    Attributes:
        figure: name of the metric: ``return``, ``gap``, ``accuracy``, ``epg``, ``deletion_effect`` ...
        target: target of the map: ``value`` or ``policy`` of an agent, ``class`` or ``built_in`` of a classifier; for
            interventions, the output that changes. ``None`` for figures without a map.
        level_set: the levels or images: ``train``, ``held_out``, ``test`` ... ``None`` for figures without one.
        map: the measured map: the model's ``own``, a control (``random``, ``mask``, ``uniform``), or one on which no
            method is trained (``perturbation``, ``integrated_gradients``). ``None`` for figures without a map.
        control: the variant of the measurement: for returns, the actions (``stochastic``, ``deterministic``); for
            faithfulness, the fill (``mean``, ``blur`` ...); for accuracies, the group of images; for curves, the share
            of the pixels in [0, 1]; for consistency, the change of the image; for randomization, the last randomized
            layer; for interventions, their name; for rank correlations, the group of interventions. ``None``: there is
            only one variant, or the figure covers all of them.
        value: the number, in the unit of the metric; ``None`` if undefined. It is never NaN or infinite.
        count: number of episodes, frames, images or pairs in the mean, without those where it is undefined; for counts
            (``zero_maps``, ``excluded_episodes`` ...), the total number. ``None`` if unknown.
        error: standard error of the mean over these episodes or images, at least 0. ``None`` if unknown.

    Raises:
        TypeError, ValueError: a field has the wrong type or is out of range.
    """

    figure: str
    target: str | None = None
    level_set: str | None = None
    map: str | None = None
    control: str | None = None
    value: float | None
    count: int | None = None
    error: float | None = None

    def __post_init__(self) -> None:
        for name in ResultKey._fields:
            _check_name(name, getattr(self, name), optional=name != "figure")
        for name in ("value", "error"):
            object.__setattr__(self, name, _finite_number(name, getattr(self, name)))
        if self.count is not None and (type(self.count) is not int or self.count < 0):
            raise ValueError(f"count must be a whole number of at least 0 or null, got {self.count!r}")
        if self.error is not None and self.error < 0:
            raise ValueError(f"error must be at least 0 or null, got {self.error!r}")

    @property
    def key(self) -> ResultKey:
        """The key of the number."""
        return ResultKey(self.figure, self.level_set, self.target, self.map, self.control)

    def to_json(self) -> dict[str, Any]:
        """Return every field by name."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: object) -> Result:
        """Return the record in JSON data; raise a TypeError or ValueError if it is invalid."""
        if not isinstance(data, Mapping):
            raise TypeError(f"a result must be an object with the fields {', '.join(_FIELDS)}, got {data!r}")
        check_fields(data, _FIELDS, _FIELDS, "a result")
        return cls(**data)


_FIELDS = tuple(field.name for field in fields(Result))


class Results(tuple[Result, ...]):
    """The results of a run, in the order in which they were measured; no two have the same key."""

    _by_key: Mapping[ResultKey, Result]

    def __new__(cls, results: Iterable[Result] = ()) -> Results:
        """Create a collection.

        Raises:
            ValueError: two results have the same figure, level set, target, map and control.
        """
        found = super().__new__(cls, results)
        found._by_key = {each.key: each for each in found}
        if len(found._by_key) < len(found):
            keys = [each.key for each in found]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"two results of {', '.join(part for part in twice if part)}; each may occur only once")
        return found

    def __add__(self, others: Iterable[Result]) -> Results:  # type: ignore[override]
        """Return these results and others."""
        return Results((*self, *others))

    def select(self, **wanted: str | None) -> Results:
        """Return the results whose fields are as given: ``select(figure="epg", map="own")``.

        Omitted fields match any value; ``None`` matches only ``None``.
        """
        return Results(each for each in self if all(getattr(each, name) == wanted[name] for name in wanted))

    def find(self, key: ResultKey) -> Result | None:
        """Return the result with a key, ``None`` if there is none."""
        return self._by_key.get(key)

    def value(self, figure: str, **fields_: str | None) -> float | None:
        """Return the value of one result: ``value("return", level_set="train", control="stochastic")``.

        Omitted fields are ``None``. The value is also ``None`` if there is no such result.
        """
        found = self.find(ResultKey(figure, **fields_))
        return None if found is None else found.value

    def names(self, field: str, **wanted: str | None) -> list[str]:
        """Return the distinct values of a field in the results of :meth:`select`, without ``None``."""
        return list(dict.fromkeys(name for each in self.select(**wanted) if (name := getattr(each, field)) is not None))

    def level_sets(self, figure: str) -> list[str]:
        """Return the level sets on which a figure was measured."""
        return self.names("level_set", figure=figure)

    def targets(self) -> list[str]:
        """Return the targets whose own maps were measured."""
        return self.names("target", map="own")

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain records, for JSON and for ``pandas.DataFrame``."""
        return [each.to_json() for each in self]

    @classmethod
    def from_json(cls, data: object) -> Results:
        """Return the results in JSON data.

        Raises:
            TypeError, ValueError: a record is invalid; the message has its number, counted from 1.
        """
        if not isinstance(data, list):
            raise TypeError(f"results must be a list, got {type(data).__name__}")
        found = []
        for number, each in enumerate(data, start=1):
            try:
                found.append(Result.from_json(each))
            except (TypeError, ValueError) as error:
                raise ValueError(f"result {number}: {error}") from error
        return cls(found)


def check_fields(data: Mapping[Any, Any], known: Iterable[str], needed: Iterable[str], what: str) -> None:
    """Raise a ValueError unless an object of a file has every required field and no unknown one."""
    known = tuple(known)
    missing = [name for name in needed if name not in data]
    unknown = [str(name) for name in data if name not in known]
    if missing or unknown:
        told = [f"it lacks {', '.join(missing)}"] * bool(missing)
        told += [f"it has {', '.join(unknown)} too"] * bool(unknown)
        raise ValueError(f"{what} has the fields {', '.join(known)}; {' and '.join(told)}")


def _check_name(field: str, name: object, optional: bool) -> None:
    if not (optional and name is None) and (not isinstance(name, str) or not name):
        raise TypeError(f"{field} must be a name{' or null' * optional}, got {name!r}")


def _finite_number(field: str, number: object) -> float | None:
    """Return a number as a float; a non-finite one is undefined."""
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"{field} must be a number or null, got {number!r}")
    return float(number) if math.isfinite(number) else None
