"""CAMAL for image classifiers: data with masks, models, a trainer, metrics by group."""

from camal_rl.losses import camal_loss
from camal_rl.supervised.cam_classifier import CamClassifier
from camal_rl.supervised.config import CamalConfig, LogConfig, OptimizationConfig, SupervisedConfig
from camal_rl.supervised.trainer import Trainer

__all__ = [
    "CamClassifier",
    "CamalConfig",
    "LogConfig",
    "OptimizationConfig",
    "SupervisedConfig",
    "Trainer",
    "camal_loss",
]
