"""UCB-DrAC: DrAC with an augmentation chosen by a bandit (Raileanu et al. 2021, arXiv 2006.12862, sec. 3.2)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.agents.action_evaluation import ActionEvaluation
from camal_rl.agents.augmentations import AUGMENTATIONS
from camal_rl.agents.consistency import check_images, consistency_loss
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.rollout_buffer import CamalRolloutBuffer, CamalRolloutSamples
from camal_rl.agents.term_settings import check_count, check_weight
from camal_rl.agents.terms import AuxiliaryTerm, TermLoss


class UpperConfidenceBound:
    """Chooses the arm with the largest ``Q(f) + c sqrt(log t / N(f))``.

    ``Q(f)`` is the mean of the last ``window`` rewards of arm ``f``, 0 before the first one. ``N(f)`` is 1 plus the
    number of its rewards, and ``t`` is 1 plus the number of all rewards. Of equally good arms the first is chosen.

    Attributes:
        counts: number of rewards of each arm so far.
        chosen: the arm that was chosen last; ``None`` before the first choice.
    """

    def __init__(self, arms: int, exploration: float, window: int) -> None:
        """Create a bandit without rewards; ``exploration`` is ``c``."""
        self.exploration = exploration
        self.counts = [0] * arms
        self.chosen: int | None = None
        self._rewards: list[deque[float]] = [deque(maxlen=window) for _ in range(arms)]

    def bounds(self) -> list[float]:
        """Return the bound of every arm."""
        log_total = math.log(1 + sum(self.counts))
        return [
            (sum(rewards) / len(rewards) if rewards else 0.0) + self.exploration * math.sqrt(log_total / (1 + count))
            for rewards, count in zip(self._rewards, self.counts, strict=True)
        ]

    def choose(self) -> int:
        """Choose an arm and return it."""
        bounds = self.bounds()
        self.chosen = bounds.index(max(bounds))
        return self.chosen

    def reward(self, value: float) -> None:
        """Record a reward of the chosen arm; before the first choice this does nothing."""
        if self.chosen is not None:
            self.counts[self.chosen] += 1
            self._rewards[self.chosen].append(value)

    def state(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {"chosen": self.chosen, "counts": list(self.counts), "rewards": [list(each) for each in self._rewards]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a result of :meth:`state`.

        Raises:
            ValueError: the state has another number of arms.
        """
        if not len(state["counts"]) == len(state["rewards"]) == len(self.counts):
            raise ValueError(f"the bandit has {len(self.counts)} arms, but the state is for {len(state['counts'])}")
        self.chosen, self.counts = state["chosen"], list(state["counts"])
        self._rewards = [
            deque(rewards, maxlen=own.maxlen) for rewards, own in zip(state["rewards"], self._rewards, strict=True)
        ]


@dataclass(frozen=True)
class UCBDrACConfig:
    """Settings of UCB-DrAC; the defaults are the paper's.

    Attributes:
        weight: coefficient of the term, at least 0.
        exploration: the factor ``c`` of the bandit's exploration, at least 0; 0 always chooses the best augmentation
            so far.
        window: number of latest rewards of each augmentation that are averaged, at least 1.
    """

    weight: float = 0.1
    exploration: float = 0.1
    window: int = 10

    def __post_init__(self) -> None:
        """Check every setting; a ValueError or TypeError gives its name, the expected and the given value."""
        check_weight("ucb_drac.weight", self.weight)
        check_weight("ucb_drac.exploration", self.exploration)
        check_count("ucb_drac.window", self.window)


class UCBDrACTerm(AuxiliaryTerm):
    """DrAC's loss with one augmentation per update, chosen by a bandit.

    The reward of an augmentation is the mean of the returns (the value targets) in the rollout after the update.
    """

    name: ClassVar[str] = "ucb_drac"
    config_type: ClassVar[type[Any]] = UCBDrACConfig
    config: UCBDrACConfig

    def __init__(self, config: UCBDrACConfig | None = None, seed: int = 0) -> None:
        super().__init__(UCBDrACConfig() if config is None else config, seed)
        self.bandit = UpperConfidenceBound(len(AUGMENTATIONS), self.config.exploration, self.config.window)
        self._generator = torch.Generator().manual_seed(seed)
        self._policy: ActorCriticPolicy | None = None

    def setup(self, policy: ActorCriticPolicy, env: VecEnv | None) -> None:
        """Check that observations are images, and store the policy."""
        check_images(policy, self.name, "UCB-DrAC augments")
        self._policy = policy

    def update_starts(self, rollout: CamalRolloutBuffer) -> None:
        """Reward the last update's augmentation for this rollout, and choose the next one."""
        self.bandit.reward(float(rollout.returns.mean()))
        self.bandit.choose()

    def loss(self, minibatch: CamalRolloutSamples, evaluation: ActionEvaluation, progress: float) -> TermLoss:
        """Return the disagreement between the minibatch's images and their augmented copies."""
        if self._policy is None or self.bandit.chosen is None:
            raise RuntimeError("call setup() and update_starts() before loss()")
        augment = list(AUGMENTATIONS.values())[self.bandit.chosen]
        images = augment(minibatch.observations, self._generator)
        return consistency_loss(cast(CamPolicy, self._policy), minibatch, evaluation, images)

    def diagnostics(self, minibatch: CamalRolloutSamples, policy: ActorCriticPolicy) -> Mapping[str, float]:
        """Return the index of this update's augmentation, and how often each augmentation was rewarded so far."""
        chosen = {} if self.bandit.chosen is None else {"chosen": float(self.bandit.chosen)}
        return {**chosen, **{name: float(n) for name, n in zip(AUGMENTATIONS, self.bandit.counts, strict=True)}}

    def training_state(self) -> dict[str, Any]:
        """Return the states of the random generator and of the bandit."""
        return {"random": super().training_state(), "bandit": self.bandit.state()}

    def restore_training_state(self, state: Mapping[str, Any]) -> None:
        """Restore a result of :meth:`training_state`."""
        super().restore_training_state(state["random"])
        self.bandit.restore(state["bandit"])
