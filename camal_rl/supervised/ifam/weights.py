"""The weights of iFAM's losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from camal_rl.spelling import did_you_mean


@dataclass(frozen=True)
class IfamWeights:
    """One weight for each loss, with the values published for CUB (arXiv 2506.08915 and its released settings).

    Attributes:
        stage1: cross-entropy of the mean of the parts' predictions.
        stage2: cross-entropy of the final prediction.
        orthogonality: orthogonality of the parts' features.
        equivariance: equivariance of the part maps under affine transforms; 0 saves the second run of stage 1.
        presence: presence of each part somewhere in the batch.
        background: presence of background near the border of each image.
        total_variation: total variation of the part maps.
        entropy: entropy of each patch's assignment to parts.
    """

    stage1: float = 1.0
    stage2: float = 1.0
    orthogonality: float = 1.0
    equivariance: float = 1.0
    presence: float = 1.0
    background: float = 2.0
    total_variation: float = 1.0
    entropy: float = 1.0

    def __post_init__(self) -> None:
        """Raise a TypeError or ValueError unless every weight is a finite number of at least 0."""
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"iFAM's weight {name!r} must be a number, got {value!r}")
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"iFAM's weight {name!r} must be finite and at least 0, got {value}")


def ifam_weights(weights: IfamWeights | Mapping[str, float] | None) -> IfamWeights:
    """Return the weights of a configuration; omitted ones have their default.

    Raises:
        TypeError: the argument is neither weights nor a mapping, or a value is not a number.
        ValueError: a name is unknown, or a weight is negative or not finite.
    """
    if isinstance(weights, IfamWeights):
        return weights
    if weights is None:
        return IfamWeights()
    if not isinstance(weights, Mapping):
        raise TypeError(f"iFAM's weights must be IfamWeights or a mapping of names to numbers, got {weights!r}")
    known = [field.name for field in fields(IfamWeights)]
    for name in weights:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ValueError(f"unknown iFAM weight {name!r}; {hint}the weights are {', '.join(known)}")
    return IfamWeights(**weights)
