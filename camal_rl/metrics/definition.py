"""The definition of each metric: its range, the better direction, and its source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: key in dictionaries, JSON files and tables.
        range: smallest and largest possible value.
        higher_is_better: ``None`` for a figure that describes the data, so that neither direction is better.
        source: paper or convention it follows.
    """

    name: str
    range: tuple[float, float]
    higher_is_better: bool | None
    source: str

    @property
    def arrow(self) -> str:
        """``↑`` if higher is better, ``↓`` if lower is, empty if neither is."""
        return {True: "↑", False: "↓", None: ""}[self.higher_is_better]


_UNIT = (0.0, 1.0)
_REAL = (-math.inf, math.inf)
_SIGNED = (-1.0, 1.0)

ALIGNMENT_METRICS: tuple[Metric, ...] = (
    Metric("epg", _UNIT, True, "Rao et al. 2023, arXiv 2303.11932: energy pointing game"),
    Metric("area_fraction", _UNIT, None, "share of the frame covered by the target; the EPG of a uniform map"),
    Metric("epg_over_area", (0.0, math.inf), True, "EPG divided by the area fraction; 1 for a uniform map"),
    Metric(
        "pointing_game", _UNIT, True, "Zhang et al. 2018, arXiv 1608.00507; tied maxima count by their share inside"
    ),
    Metric("iou", _UNIT, True, "intersection over union of the min-max map at threshold .5"),
    Metric("iou_auc", _UNIT, True, "IoU averaged over the thresholds .05, .10, ..., .95"),
    Metric("soft_dice", _UNIT, True, "2 sum(m t) / (sum m + sum t) of the min-max map"),
    Metric("mae", _UNIT, False, "mean |m - t| of the min-max map"),
    Metric("auroc", _UNIT, True, "area under the ROC curve over cells; ties count half"),
    Metric("auprc", _UNIT, True, "average precision over cells; chance level is the area fraction"),
)

# RISE's own figures are areas under the probability itself, so lower is better for its deletion and higher for its
# insertion. A value has no such scale, so these figures use the change, with opposite directions and other names.
_RISE = "area under the CHANGE of the output (RISE's AUC, arXiv 1806.07421, is the output's minus this)"

_GRADCAM_PP = "Grad-CAM++, arXiv 1710.11063, on the image multiplied by the map (ADCC, arXiv 2104.10252)"
_ERASER = "after ERASER, arXiv 1911.03429: change"

FAITHFULNESS_METRICS: tuple[Metric, ...] = (
    Metric("deletion_effect", _REAL, True, "mean change over the deleted fractions in (0, .5]"),
    Metric("deletion_change_auc", _REAL, True, f"{_RISE} while pixels are removed, most salient first"),
    Metric("insertion_change_auc", _REAL, False, f"{_RISE} while pixels are restored, most salient first"),
    Metric(
        "deletion_effect_lerf", _REAL, False, "deletion_effect, least salient pixels first (ROAD, arXiv 2202.00449)"
    ),
    Metric("order_gap", _REAL, True, "deletion_effect - deletion_effect_lerf; 0 for a random map"),
    Metric("comprehensiveness", _REAL, True, f"{_ERASER} without the most salient 20 % (by default) of the pixels"),
    Metric("sufficiency", _REAL, False, f"{_ERASER} with only the most salient 20 % (by default) of the pixels"),
    Metric("average_drop", _UNIT, False, f"{_GRADCAM_PP}: relative drop of the probability"),
    Metric("increase_in_confidence", _UNIT, True, f"{_GRADCAM_PP}: share of frames whose probability rises"),
    Metric("faithfulness_correlation", _SIGNED, True, "Bhatt et al. 2020, arXiv 2005.00631, on subsets of grid cells"),
)

CONTROLLED_METRICS: tuple[Metric, ...] = (
    Metric("deletion_effect_net", _REAL, True, "deletion_effect minus that of a random map on the same frames"),
    Metric(
        "insertion_change_auc_net",
        _REAL,
        True,
        "insertion_change_auc of a random map on the same frames minus the own map's",
    ),
)

STABILITY_METRICS: tuple[Metric, ...] = (
    Metric("consistency_spearman", _SIGNED, True, "rank correlation with the map of a slightly perturbed image"),
    Metric("consistency_cosine", _UNIT, True, "cosine similarity with the map of a slightly perturbed image"),
    Metric(
        "randomized_spearman", _SIGNED, False, "Adebayo et al. 2018, arXiv 1810.03292; all layers randomized, ideally 0"
    ),
)

METRICS: tuple[Metric, ...] = ALIGNMENT_METRICS + FAITHFULNESS_METRICS + CONTROLLED_METRICS + STABILITY_METRICS

FORMER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "deletion_auc": "deletion_change_auc",
        "insertion_auc": "insertion_change_auc",
        "randomisation": "randomization",
    }
)
"""Names of figures in files of earlier versions, and their current names."""
