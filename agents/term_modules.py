"""The modules that auxiliary terms train besides the policy."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from camal_rl.agents.terms import AuxiliaryTerm


class TermModules:
    """The modules of terms, each with an optimizer of the policy's kind.

    They are not part of the policy, so that stock PPO can load a saved model. Their state is saved as text instead.

    Args:
        terms: terms after their ``setup``.
        policy: provides the device, the kind of optimizer and the learning rate.
    """

    def __init__(self, terms: Iterable[AuxiliaryTerm], policy: ActorCriticPolicy) -> None:
        self._device = policy.device
        self._modules: dict[str, nn.Module] = {}
        self._optimizers: dict[str, torch.optim.Optimizer] = {}
        for term in terms:
            if term.module is None:
                continue
            self._modules[term.name] = term.module.to(policy.device)
            rate = policy.optimizer.param_groups[0]["lr"]
            options: dict[str, Any] = {"lr": rate, **policy.optimizer_kwargs}
            self._optimizers[term.name] = policy.optimizer_class(term.module.parameters(), **options)

    @property
    def optimizers(self) -> list[torch.optim.Optimizer]:
        """The optimizers, one for each module."""
        return list(self._optimizers.values())

    def clip_gradients(self, max_norm: float) -> list[Tensor]:
        """Scale the gradients of each module to a norm of at most ``max_norm``; return the norms before."""
        return [nn.utils.clip_grad_norm_(module.parameters(), max_norm) for module in self._modules.values()]

    def states(self) -> dict[str, dict[str, Any]]:
        """Return the states of parameters and optimizers by term."""
        return {
            name: {"module": module.state_dict(), "optimizer": self._optimizers[name].state_dict()}
            for name, module in self._modules.items()
        }

    def load_states(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Restore a result of :meth:`states`.

        Raises:
            ValueError: it belongs to the modules of other terms.
        """
        if states.keys() != self._modules.keys():
            raise ValueError(
                f"the state has modules of the terms {sorted(states)}, but the model of {sorted(self._modules)}"
            )
        for name, module in self._modules.items():
            module.load_state_dict(states[name]["module"])
            self._optimizers[name].load_state_dict(dict(states[name]["optimizer"]))

    def state(self) -> str | None:
        """Return :meth:`states` as text; ``None`` if there are no modules."""
        if not self._modules:
            return None
        stream = io.BytesIO()
        torch.save(self.states(), stream)
        return base64.b64encode(stream.getvalue()).decode("ascii")

    def load(self, state: str) -> None:
        """Restore a result of :meth:`state`, for the modules that exist here too."""
        stream = io.BytesIO(base64.b64decode(state))
        states = torch.load(stream, map_location=self._device, weights_only=True)
        for name, module in self._modules.items():
            if name in states:
                module.load_state_dict(states[name]["module"])
                self._optimizers[name].load_state_dict(states[name]["optimizer"])
