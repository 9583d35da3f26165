"""Training of one agent: configuration, environments, training, evaluation, explanation, export."""

import camal_rl.envs  # noqa: F401 - before Stable-Baselines3, whose import of gym prints a notice otherwise
from camal_rl.rl.policy_file import load_policy, save_policy

__all__ = ["load_policy", "save_policy"]
