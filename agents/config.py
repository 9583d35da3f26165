"""CAMAL's settings under the module name stored in saved models; they are defined in :mod:`camal_rl.camal_config`."""

from camal_rl.camal_config import ACTOR_CRITIC_TARGETS, ATTENTION_TARGETS, AttentionTarget, CamalConfig, Schedule

__all__ = ["ACTOR_CRITIC_TARGETS", "ATTENTION_TARGETS", "AttentionTarget", "CamalConfig", "Schedule"]
