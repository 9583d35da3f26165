"""CAMAL, Class Activation Map Attention Learning (arXiv 2605.08325), for deep reinforcement learning.

The package root contains the method, independent of simulators and agents: attention maps (:mod:`camal_rl.attention`),
losses (:mod:`camal_rl.losses`), target masks (:mod:`camal_rl.targets`) and metrics (:mod:`camal_rl.metrics`).
Environments are in :mod:`camal_rl.envs`, agents in :mod:`camal_rl.agents`.
"""

from camal_rl._version import __version__

__all__ = ["__version__"]
