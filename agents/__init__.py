"""Agents with supervised attention: encoders, policies with maps, PPO with auxiliary terms, CAMAL PPO and DQN."""

from camal_rl.envs import quiet_gym as _quiet_gym  # noqa: F401  # isort: skip  (before SB3 is imported)
from camal_rl.agents.attentive_policy import AttentivePolicy
from camal_rl.agents.attributions import EXPLAIN_METHODS, explain, policy_scores
from camal_rl.agents.callbacks import HParamCallback, OverlayCallback, UpdateLogCallback
from camal_rl.agents.cam_encoder import CamEncoder
from camal_rl.agents.camal_dqn import CAMALDQN
from camal_rl.agents.camal_ppo import CAMALPPO
from camal_rl.agents.camal_term import CamalTerm
from camal_rl.agents.encoders import (
    ENCODERS,
    CompactEncoder,
    ImpalaEncoder,
    NatureEncoder,
    PatchEncoder,
    register_encoder,
)
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.ppo_with_terms import PPOWithTerms
from camal_rl.agents.q_policy import CamQPolicy
from camal_rl.agents.relevant_pixels import RelevantPixelsTerm
from camal_rl.agents.replay_buffer import CamalReplayBuffer
from camal_rl.agents.rollout_buffer import CamalRolloutBuffer
from camal_rl.agents.terms import TERMS, AuxiliaryTerm, TermLoss, register_term
from camal_rl.camal_config import CamalConfig
from camal_rl.camal_term import CamalTermLoss, camal_term

__all__ = [
    "CAMALDQN",
    "CAMALPPO",
    "ENCODERS",
    "EXPLAIN_METHODS",
    "TERMS",
    "AttentivePolicy",
    "AuxiliaryTerm",
    "CamEncoder",
    "CamPolicy",
    "CamQPolicy",
    "CamalConfig",
    "CamalReplayBuffer",
    "CamalRolloutBuffer",
    "CamalTerm",
    "CamalTermLoss",
    "CompactEncoder",
    "HParamCallback",
    "ImpalaEncoder",
    "NatureEncoder",
    "OverlayCallback",
    "PPOWithTerms",
    "PatchEncoder",
    "RelevantPixelsTerm",
    "TermLoss",
    "UpdateLogCallback",
    "camal_term",
    "explain",
    "policy_scores",
    "register_encoder",
    "register_term",
]
