"""Metrics of attention: agreement with the target, faithfulness to the decision, and stability."""

from camal_rl.metrics.alignment import AlignmentSummary, alignment, energy_pointing_game, iou
from camal_rl.metrics.changes import (
    Change,
    ClassScoreDrop,
    gaussian_action_drop,
    gaussian_divergence,
    gaussian_flip,
    policy_divergence,
    preferred_action_drop,
    q_sarfa,
    q_value_change,
    sarfa,
    value_change,
)
from camal_rl.metrics.confidence import average_drop, explanation_images, increase_in_confidence
from camal_rl.metrics.consistency import Consistency, Shift, UniformNoise, explanation_consistency
from camal_rl.metrics.controls import random_saliency
from camal_rl.metrics.correlation import faithfulness_correlation
from camal_rl.metrics.counterfactual import (
    CounterfactualSummary,
    attention_mass,
    changed_area,
    rank_correlation,
    summarize_counterfactuals,
)
from camal_rl.metrics.custom import CUSTOM_METRICS, METRICS_BY_NAME, CustomMetric, register_metric
from camal_rl.metrics.decision_change import DecisionChange, decision_change, gaussian_decision_change
from camal_rl.metrics.definition import (
    ALIGNMENT_METRICS,
    CONTROLLED_METRICS,
    FAITHFULNESS_METRICS,
    METRICS,
    STABILITY_METRICS,
    Metric,
)
from camal_rl.metrics.deletion import PerturbationEffect, area_under_curve, deletion_effect
from camal_rl.metrics.faithfulness import Faithfulness, faithfulness
from camal_rl.metrics.fills import FILLS, Fill, fill_images, remove_pixels
from camal_rl.metrics.perturbation import perturbation_curve
from camal_rl.metrics.randomization import Randomization, randomization_check
from camal_rl.metrics.ranking import spearman

__all__ = [
    "ALIGNMENT_METRICS",
    "CONTROLLED_METRICS",
    "CUSTOM_METRICS",
    "FAITHFULNESS_METRICS",
    "FILLS",
    "METRICS",
    "METRICS_BY_NAME",
    "STABILITY_METRICS",
    "AlignmentSummary",
    "Change",
    "ClassScoreDrop",
    "Consistency",
    "CounterfactualSummary",
    "CustomMetric",
    "DecisionChange",
    "Faithfulness",
    "Fill",
    "Metric",
    "PerturbationEffect",
    "Randomization",
    "Shift",
    "UniformNoise",
    "alignment",
    "area_under_curve",
    "attention_mass",
    "average_drop",
    "changed_area",
    "decision_change",
    "deletion_effect",
    "energy_pointing_game",
    "explanation_consistency",
    "explanation_images",
    "faithfulness",
    "faithfulness_correlation",
    "fill_images",
    "gaussian_action_drop",
    "gaussian_decision_change",
    "gaussian_divergence",
    "gaussian_flip",
    "increase_in_confidence",
    "iou",
    "perturbation_curve",
    "policy_divergence",
    "preferred_action_drop",
    "q_sarfa",
    "q_value_change",
    "random_saliency",
    "randomization_check",
    "rank_correlation",
    "register_metric",
    "remove_pixels",
    "sarfa",
    "spearman",
    "summarize_counterfactuals",
    "value_change",
]
