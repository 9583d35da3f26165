"""Metrics of attention: agreement with the target, and whether attended pixels drive the decision."""

from camal_rl.metrics.alignment import AlignmentSummary, alignment, energy_pointing_game, iou
from camal_rl.metrics.definition import (
    ALIGNMENT_METRICS,
    FAITHFULNESS_METRICS,
    METRICS,
    METRICS_BY_NAME,
    Metric,
)
from camal_rl.metrics.faithfulness import (
    PerturbationEffect,
    area_under_curve,
    deletion_effect,
    policy_divergence,
    preferred_action_drop,
    random_saliency,
    sarfa,
    value_change,
)
from camal_rl.metrics.perturbation import fill_images, perturbation_curve

__all__ = [
    "ALIGNMENT_METRICS",
    "FAITHFULNESS_METRICS",
    "METRICS",
    "METRICS_BY_NAME",
    "AlignmentSummary",
    "Metric",
    "PerturbationEffect",
    "alignment",
    "area_under_curve",
    "deletion_effect",
    "energy_pointing_game",
    "fill_images",
    "iou",
    "perturbation_curve",
    "policy_divergence",
    "preferred_action_drop",
    "random_saliency",
    "sarfa",
    "value_change",
]
