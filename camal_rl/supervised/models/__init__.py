"""Image classifiers by name, each with the layer whose maps are looked at by default."""

from camal_rl.supervised.models.build import build_model, model_names

__all__ = ["build_model", "model_names"]
