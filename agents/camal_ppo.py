"""PPO with the CAMAL term."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.base_class import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv

from camal_rl.agents.camal_term import CamalTerm
from camal_rl.agents.map_settings import MapSettings
from camal_rl.agents.policy import CamPolicy
from camal_rl.agents.ppo_with_terms import PPOWithTerms
from camal_rl.agents.terms import AuxiliaryTerm, Terms
from camal_rl.camal_config import CamalConfig


class CAMALPPO(PPOWithTerms):
    """PPO whose attention is supervised by the simulator's segmentation.

    Everything of SB3's PPO stays. In training, each minibatch's attention maps are compared with the target masks of
    the same observations, and ``weight(t) * sum of the losses`` joins the PPO loss (one backward pass). With weight 0
    the parameters are those of stock PPO, bit for bit, for every policy that PPO takes; where a CamPolicy's environment
    has masks, alignment is logged all the same. Nothing changes at inference: the saved model needs no masks and loads
    with SB3's ``PPO.load`` as well. A file of stock PPO's loads here, with weight 0 unless ``load(..., camal=...)``
    says otherwise.

    Args:
        policy: ``"CamPolicy"``; with weight 0 any policy of PPO's, which then has SB3's own buffer, rollouts, update.
        env: an environment with segmentation (``camal_rl.envs.make_vec``, ``make_segmented_vec``), needed for weights
            above 0.
        *args: as in ``stable_baselines3.PPO``.
        camal: what is supervised, and how strongly; a mapping of settings, as YAML files hold them, will do.
        terms: further terms, which add up with CAMAL's (:class:`camal_rl.agents.PPOWithTerms`).
        **kwargs: as in ``stable_baselines3.PPO``.

    Raises:
        ValueError: weight above 0 with an environment that has no segmentation or a policy that has no attention;
            images that the encoder does not take.
        TypeError: ``camal`` is neither settings nor a mapping of them.
    """

    # What a file of stock PPO's is loaded with.
    camal: CamalConfig = CamalConfig(weight=0)

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str | None,
        *args: Any,
        camal: CamalConfig | Mapping[str, Any] | None = None,
        terms: Terms | None = None,
        **kwargs: Any,
    ) -> None:
        if camal is not None or kwargs.get("_init_setup_model", True):
            self.camal = CamalConfig.of(camal)
        super().__init__(policy, env, *args, terms=terms, **kwargs)

    @property
    def camal_term(self) -> CamalTerm:
        """CAMAL's own term."""
        return next(term for term in self.auxiliary_terms if isinstance(term, CamalTerm))

    def _make_terms(self) -> tuple[AuxiliaryTerm, ...]:
        return CamalTerm(self.camal, self.seed or 0), *super()._make_terms()

    def _setup_model(self) -> None:
        self.camal = CamalConfig.of(self.camal)  # load() puts its arguments here as they are
        self._check_normalization()
        if isinstance(self.policy_class, type) and issubclass(self.policy_class, CamPolicy):
            # With the policy's own arguments, so that the maps stay the model's own where stock PPO loads it.
            self.camal = self.camal.for_targets(self.policy_class.attention_targets)
            self.policy_kwargs = {**(self.policy_kwargs or {}), "maps": MapSettings.of(self.camal).as_dict()}
        super()._setup_model()
