"""The experiment layer: configuration, run folders, training, evaluation and comparison."""

import camal_rl.envs  # noqa: F401 - before Stable-Baselines3, whose import of gym prints a notice otherwise
