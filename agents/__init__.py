"""Agents that learn where to look: encoders, the policy with attention, CAMAL PPO."""

from camal_rl.envs import quiet_gym as _quiet_gym  # noqa: F401  # isort: skip  (before SB3 is imported)
from camal_rl.agents.attributions import EXPLAIN_METHODS, explain, policy_scores
from camal_rl.agents.callbacks import HParamCallback, OverlayCallback, UpdateLogCallback
from camal_rl.agents.camal_ppo import CAMALPPO
from camal_rl.agents.encoders import ENCODERS, CamEncoder, CompactEncoder, ImpalaEncoder, NatureEncoder
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.rollout_buffer import CamalRolloutBuffer
from camal_rl.camal_config import CamalConfig
from camal_rl.camal_term import CamalTerm, camal_term

__all__ = [
    "CAMALPPO",
    "ENCODERS",
    "EXPLAIN_METHODS",
    "CamEncoder",
    "CamPolicy",
    "CamalConfig",
    "CamalRolloutBuffer",
    "CamalTerm",
    "CompactEncoder",
    "HParamCallback",
    "ImpalaEncoder",
    "NatureEncoder",
    "OverlayCallback",
    "UpdateLogCallback",
    "camal_term",
    "explain",
    "policy_scores",
]
