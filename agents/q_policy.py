"""The policy of a Q-network with attention maps of Q(s, a)."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import Tensor, nn

from camal_rl.agents.action_evaluation import QEvaluation
from camal_rl.agents.attentive_policy import AttentivePolicy
from camal_rl.agents.config import AttentionTarget
from camal_rl.closed_form import q_score_gradient

EXPLORATION = 0.05
"""The default share of random actions in evaluations, as in Mnih et al. 2015."""


class CamQPolicy(AttentivePolicy, DQNPolicy):
    """SB3's DQN policy with class activation maps of ``Q(s, a)``, the attention target ``q``.

    It keeps the behavior of ``DQNPolicy``: with ``encoder="nature"`` the parameters, their names and their initial
    values are those of DQN's ``CnnPolicy``. Unless ``net_arch`` is given, the head is linear and the maps have a
    closed form. The score of a map is ``Q(s, a)``, by default of the greedy action, whose map is also the one that
    :class:`camal_rl.agents.CAMALDQN` trains.

    A Q-network has no distribution of actions. If sampled actions are requested, as in an evaluation, :meth:`act`
    returns for each image a random action with probability ``exploration``, drawn from torch's generator, and the
    greedy one otherwise. ``predict`` is SB3's.

    Args:
        *args: those of :class:`camal_rl.agents.attentive_policy.AttentivePolicy`.
        exploration: the probability of a random action, in [0, 1].
        **kwargs: those of the same class, and further ones of ``DQNPolicy``.
    """

    attention_targets: ClassVar[tuple[AttentionTarget, ...]] = ("q",)

    def __init__(self, *args: Any, exploration: float = EXPLORATION, **kwargs: Any) -> None:
        if not 0 <= exploration <= 1:
            raise ValueError(f"exploration must be a probability in [0, 1], got {exploration}")
        self.exploration = float(exploration)
        super().__init__(*args, **kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "exploration": self.exploration}

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        self.q_net_target.load_state_dict(self.q_net.state_dict())

    def make_q_net(self) -> QNetwork:
        """Create a Q-network like SB3; the algorithm moves the whole policy to its device."""
        return QNetwork(**self._update_features_extractor(self.net_args, features_extractor=None))

    def _extractors(self) -> dict[AttentionTarget, BaseFeaturesExtractor]:
        return {"q": self.q_net.features_extractor}

    @property
    def _is_shipped(self) -> bool:
        return type(self) is CamQPolicy

    def act(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[npt.NDArray[Any], Any]:
        """Return the greedy actions, or those of epsilon-greedy exploration; the arguments are those of ``predict``."""
        actions, state = self.predict(observation, state, episode_start, deterministic=True)
        if not deterministic and self.exploration > 0:
            # Both are drawn for every image, so that images do not affect each other's random numbers.
            explores = torch.rand(actions.shape).numpy() < self.exploration
            random = torch.randint(int(cast(Any, self.action_space).n), actions.shape).numpy()
            actions = np.where(explores, random, actions)
        return actions, state

    def evaluate_for_attention(
        self, observations: Tensor, actions: Tensor | None = None, num_attention_frames: int | None = None
    ) -> QEvaluation:
        """Return the Q-values of images like ``q_net``, with everything needed for attention maps.

        The arguments are those of :meth:`camal_rl.agents.attentive_policy.AttentivePolicy.evaluate_for_attention`;
        without actions the maps explain the greedy actions.
        """
        encoded = self._encode_all(observations, num_attention_frames)
        q_values = self.q_net.q_net(encoded["q"].features)
        chosen = q_values.argmax(dim=1) if actions is None else actions.long()
        return QEvaluation(q_values, chosen, encoded, num_attention_frames)

    def _has_linear_head(self, target: AttentionTarget) -> bool:
        return [type(layer) for layer in self.q_net.q_net] == [nn.Linear]

    def _score_gradient(self, target: AttentionTarget, evaluation: QEvaluation) -> Tensor:
        head = cast(nn.Linear, self.q_net.q_net[0])
        return q_score_gradient(head.weight, evaluation.actions[evaluation.attention_frames])
