"""One agent: its configuration, the environments of an experiment, training, evaluation, explanation, export."""

import camal_rl.envs  # noqa: F401 - before Stable-Baselines3, whose import of gym prints a notice otherwise
