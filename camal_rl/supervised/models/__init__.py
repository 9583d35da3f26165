"""Image classifiers by name, each with a default layer for maps."""

from camal_rl.supervised.models.build import build_model, model_names

__all__ = ["build_model", "model_names"]
