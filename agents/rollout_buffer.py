"""Stable-Baselines3's rollout buffer with a target mask for every observation."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

TargetSource = Callable[[], npt.NDArray[np.uint8]]


class CamalRolloutSamples(NamedTuple):
    """SB3's ``RolloutBufferSamples`` and the masks: ``targets`` is ``uint8 (B, h, w)``, ``None`` without masks."""

    observations: Tensor
    actions: Tensor
    old_values: Tensor
    old_log_prob: Tensor
    advantages: Tensor
    returns: Tensor
    targets: Tensor | None = None


class CamalRolloutBuffer(RolloutBuffer):
    """A rollout buffer that stores, beside each observation, its target mask ``uint8 (h, w)`` on the CAM grid.

    Stock ``collect_rollouts`` calls ``reset`` before the first action and ``add`` after each step of the simulator,
    when the simulator shows the NEXT observation already. So the buffer asks ``target_source`` for the current masks
    at ``reset`` and after each ``add``, and stores the ones it has waiting. Without a source it is the stock buffer.
    """

    targets: npt.NDArray[np.uint8] | None = None
    target_source: TargetSource | None = None
    _waiting: npt.NDArray[np.uint8]

    def reset(self) -> None:
        """Empty the buffer and fetch the masks of the current observations."""
        super().reset()
        self.targets = None
        if self.target_source is not None:
            self._waiting = self.target_source()
            shape = (self.buffer_size, self.n_envs, *self._waiting.shape[1:])
            self.targets = np.zeros(shape, dtype=np.uint8)

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Add one step of every environment, as in SB3, with the masks that belong to its observations."""
        position = self.pos
        super().add(*args, **kwargs)
        if self.target_source is not None and self.targets is not None:
            self.targets[position] = self._waiting
            self._waiting = self.target_source()

    def get(self, batch_size: int | None = None) -> Generator[CamalRolloutSamples, None, None]:  # type: ignore[override]
        """Yield shuffled minibatches; the order is the one of SB3's buffer for the same random state."""
        if not self.generator_ready and self.targets is not None:
            self.targets = self.swap_and_flatten(self.targets)
        yield from super().get(batch_size)  # type: ignore[misc]

    def _get_samples(  # type: ignore[override]
        self, batch_inds: npt.NDArray[np.int64], env: VecNormalize | None = None
    ) -> CamalRolloutSamples:
        stock = super()._get_samples(batch_inds, env)
        targets = None if self.targets is None else self.to_torch(self.targets[batch_inds])
        return CamalRolloutSamples(*stock, targets=targets)
