"""A rollout buffer whose observations lie where the learner needs them, with a target mask for every observation."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor


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
    """SB3's rollout buffer with observations and target masks on the device, in the dtype they came in.

    What differs from the stock buffer, which holds NumPy arrays: an observation is written once, before the policy
    acts on it, and never copied as a whole again (stock makes a second copy of all of them for the minibatches).
    Images lie as the environment gives them, mostly channels-last; what is handed out has SB3's shape ``(B, C, H, W)``.
    Minibatches are drawn on the device, in the order of the stock buffer for the same random state.
    """

    _frames: Tensor | None = None
    _channels_last = False
    _staging: Tensor | None = None
    targets: Tensor | None = None

    def reset(self) -> None:
        """Empty the buffer; the memory of the observations is kept."""
        shape = (self.buffer_size, self.n_envs)
        self.actions = np.zeros((*shape, self.action_dim), dtype=self.action_space.dtype)
        for name in ("rewards", "returns", "episode_starts", "values", "log_probs", "advantages"):
            setattr(self, name, np.zeros(shape, dtype=np.float32))
        self.generator_ready = False
        self.pos, self.full = 0, False

    @property
    def observations(self) -> npt.NDArray[Any]:  # type: ignore[override]
        """The observations ``(buffer_size, n_envs, *shape)``, as the stock buffer has them; a copy on a GPU."""
        return self._in_sb3_order(self._storage()).cpu().numpy()

    def _storage(self, channels_last: bool = False) -> Tensor:
        """Return the memory of the observations, which the first call lays out."""
        if self._frames is None:
            shape = tuple(self.obs_shape)
            self._channels_last = channels_last
            if channels_last:
                shape = (*shape[1:], shape[0])
            dtype = torch.from_numpy(np.empty(0, dtype=self.observation_space.dtype)).dtype
            self._frames = torch.empty((self.buffer_size, self.n_envs, *shape), dtype=dtype, device=self.device)
            if self.device.type == "cuda":
                self._staging = torch.empty((self.n_envs, *shape), dtype=dtype, pin_memory=True)
        return self._frames

    def _in_sb3_order(self, frames: Tensor) -> Tensor:
        return frames.movedim(-1, -3) if self._channels_last else frames

    def observe(self, observations: npt.NDArray[Any], targets: npt.NDArray[np.uint8] | None) -> Tensor:
        """Store what every environment shows now and return it on the device, ``(n_envs, *shape)``.

        What is returned lies in memory as what SB3 would act on, for which some convolutions round differently.

        Args:
            observations: as the environment gave them.
            targets: their masks ``uint8 (n_envs, h, w)`` on the CAM grid, or ``None``.
        """
        # VecTransposeImage gives a view of channels-last images.
        transposed = len(self.obs_shape) == 3 and not observations.flags.c_contiguous
        place = self._storage(channels_last=transposed)[self.pos]
        ordered = np.moveaxis(observations, 1, -1) if self._channels_last else observations
        given = torch.from_numpy(np.ascontiguousarray(ordered)).view(place.shape)
        if self._staging is not None:
            # The copy to the device is over before the next one starts: in between, the actions come back from it.
            given = self._staging.copy_(given)
        place.copy_(given, non_blocking=True)
        self._store_targets(targets)
        if self.device.type == "cpu" and min(observations.strides) >= 0:
            return torch.as_tensor(observations)
        stored = self._in_sb3_order(place)
        return stored if transposed == self._channels_last else stored.contiguous()

    def _store_targets(self, targets: npt.NDArray[np.uint8] | None) -> None:
        if targets is None:
            self.targets = None
            return
        if self.targets is None or self.targets.shape[2:] != targets.shape[1:]:
            shape = (self.buffer_size, self.n_envs, *targets.shape[1:])
            self.targets = torch.zeros(shape, dtype=torch.uint8, device=self.device)
        self.targets[self.pos].copy_(torch.from_numpy(targets))

    def add(
        self,
        obs: npt.NDArray[Any],
        action: npt.NDArray[Any],
        reward: npt.NDArray[np.float32],
        episode_start: npt.NDArray[np.bool_],
        value: Tensor,
        log_prob: Tensor,
        targets: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        """Store a whole step, as SB3's own loops do, with the masks of its observations where there are any."""
        self.observe(obs, targets)
        self.decide(action, episode_start, value, log_prob)
        self.reward(reward)

    def decide(
        self, actions: npt.NDArray[Any], episode_starts: npt.NDArray[np.bool_], values: Tensor, log_probs: Tensor
    ) -> None:
        """Store what the policy chose for the observations of :meth:`observe`."""
        self.actions[self.pos] = actions.reshape(self.n_envs, self.action_dim)
        self.episode_starts[self.pos] = episode_starts
        self.values[self.pos] = values.cpu().numpy().reshape(self.n_envs)
        self.log_probs[self.pos] = log_probs.cpu().numpy().reshape(self.n_envs)

    def reward(self, rewards: npt.NDArray[np.float32]) -> None:
        """Store what the chosen actions earned, and go on to the next step."""
        self.rewards[self.pos] = rewards
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def get(self, batch_size: int | None = None) -> Generator[CamalRolloutSamples, None, None]:  # type: ignore[override]
        """Yield shuffled minibatches; the order is that of SB3's buffer for the same random state."""
        if not self.full:
            raise RuntimeError("the rollout is not complete; minibatches can be drawn after it")
        count = self.buffer_size * self.n_envs
        # Stock numbers the samples environment by environment, this buffer step by step.
        environment, step = np.divmod(np.random.permutation(count), self.buffer_size)  # noqa: NPY002
        rows = torch.from_numpy(step * self.n_envs + environment).to(self.device)
        columns = self._columns()
        for chosen in rows.split(batch_size or count):
            yield self._samples(columns, chosen)

    def evenly_spaced(self, count: int) -> CamalRolloutSamples:
        """Return up to ``count`` samples of the rollout, the same ones every time."""
        rows = torch.linspace(0, self.buffer_size * self.n_envs - 1, count, device=self.device).long().unique()
        return self._samples(self._columns(), rows)

    def _columns(self) -> list[Tensor | None]:
        """Return everything that is stored, one row a sample, in the order of :class:`CamalRolloutSamples`."""
        actions = self.actions.astype(np.float32, copy=False)
        figures = (actions, self.values, self.log_probs, self.advantages, self.returns)
        return [
            self._storage().flatten(0, 1),
            *(torch.from_numpy(each).flatten(0, 1).to(self.device) for each in figures),
            None if self.targets is None else self.targets.flatten(0, 1),
        ]

    def _samples(self, columns: list[Tensor | None], rows: Tensor) -> CamalRolloutSamples:
        frames, *others = (None if column is None else column.index_select(0, rows) for column in columns)
        return CamalRolloutSamples(self._in_sb3_order(cast(Tensor, frames)), *others)  # type: ignore[arg-type]
