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
    """PPO with attention supervised by the simulator's segmentation.

    It keeps all features of SB3's PPO. In training, each minibatch's attention maps are compared with the target masks
    of the same observations, and ``weight(t) * sum of the losses`` is added to the PPO loss (one backward pass). With
    weight 0 the parameters are bit-identical to stock PPO, for every policy of PPO; if a CamPolicy's environment has
    masks, alignment is still logged. Inference does not change: the saved model needs no masks and also loads with
    SB3's ``PPO.load``. A file of stock PPO loads here too, with weight 0 unless ``load(..., camal=...)`` is given.

    Args:
        policy: ``"CamPolicy"``; with weight 0 any policy of PPO, which then uses SB3's own buffer, rollouts and update.
        env: an environment with segmentation (``camal_rl.envs.make_vec``, ``make_segmented_vec``), needed for weights
            above 0.
        *args: as in ``stable_baselines3.PPO``.
        camal: settings of the CAMAL term; a mapping of settings, as in YAML files, is accepted too.
        terms: further terms, which are added to CAMAL's (:class:`camal_rl.agents.PPOWithTerms`).
        **kwargs: as in ``stable_baselines3.PPO``.

    Raises:
        ValueError: the weight is above 0, but the environment has no segmentation or the policy no attention maps; or
            the encoder does not accept the images.
        TypeError: ``camal`` is neither settings nor a mapping of them.
    """

    # Defaults for loading a file of stock PPO.
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
        self.camal = CamalConfig.of(self.camal)  # load() stores its argument here unchanged
        self._check_normalization()
        if isinstance(self.policy_class, type) and issubclass(self.policy_class, CamPolicy):
            # Stored with the policy's own arguments, so that the maps are kept when stock PPO loads the model.
            self.camal = self.camal.for_targets(self.policy_class.attention_targets)
            self.policy_kwargs = {**(self.policy_kwargs or {}), "maps": MapSettings.of(self.camal).as_dict()}
        super()._setup_model()
