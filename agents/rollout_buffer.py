"""A rollout buffer on the learner's device, which also stores data of auxiliary terms with the observations."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor

TARGET_MASKS = "target_masks"
"""The column of CAMAL's masks, ``uint8 (num_envs, h, w)`` on the CAM grid."""


class CamalRolloutSamples(NamedTuple):
    """SB3's ``RolloutBufferSamples``, plus the data of auxiliary terms: name to ``(B, ...)``."""

    observations: Tensor
    actions: Tensor
    old_values: Tensor
    old_log_prob: Tensor
    advantages: Tensor
    returns: Tensor
    columns: Mapping[str, Tensor] = MappingProxyType({})

    @property
    def targets(self) -> Tensor | None:
        """CAMAL's masks ``uint8 (B, h, w)``; ``None`` without masks."""
        return self.columns.get(TARGET_MASKS)

    def first(self, count: int) -> CamalRolloutSamples:
        """Return the first ``count`` samples; minibatches are drawn at random."""
        tensors = {name: value[:count] for name, value in self._asdict().items() if name != "columns"}
        return CamalRolloutSamples(**tensors, columns={name: each[:count] for name, each in self.columns.items()})


class CamalRolloutBuffer(RolloutBuffer):
    """SB3's rollout buffer with the observations and the data of terms on the device, in their original dtype.

    The stock buffer holds NumPy arrays and copies all observations for the minibatches. Here an observation is written
    once, before the policy acts on it, and the observations are never copied as a whole. Images keep the memory order
    of the environment, mostly channels-last; samples have SB3's shape ``(B, C, H, W)``. Minibatches are drawn on the
    device, in the order of the stock buffer for the same random state.
    """

    _frames: Tensor | None = None
    _channels_last = False
    _staging: Tensor | None = None
    columns: Mapping[str, Tensor] = MappingProxyType({})
    """Data that auxiliary terms store with each observation: name to ``(buffer_size, n_envs, ...)``."""

    @property
    def targets(self) -> Tensor | None:
        """CAMAL's masks ``uint8 (buffer_size, n_envs, h, w)``; ``None`` without masks."""
        return self.columns.get(TARGET_MASKS)

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
        """The observations ``(buffer_size, n_envs, *shape)``, as in the stock buffer; on a GPU, this copies them."""
        return self._in_sb3_order(self._storage()).cpu().numpy()

    def _storage(self, channels_last: bool = False) -> Tensor:
        """Return the memory of the observations; the first call allocates it."""
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

    def store_observations(self, observations: npt.NDArray[Any], columns: Mapping[str, npt.NDArray[Any]]) -> Tensor:
        """Store the current observation of every environment and return them on the device, ``(n_envs, *shape)``.

        The result has the memory order of SB3's input to the policy, since some convolutions round differently in
        another order.

        Args:
            observations: as the environment returned them.
            columns: data that auxiliary terms store with them: name to ``(n_envs, ...)``.
        """
        # VecTransposeImage gives a view of channels-last images.
        transposed = len(self.obs_shape) == 3 and not observations.flags.c_contiguous
        place = self._storage(channels_last=transposed)[self.pos]
        ordered = np.moveaxis(observations, 1, -1) if self._channels_last else observations
        given = torch.from_numpy(np.ascontiguousarray(ordered)).view(place.shape)
        if self._staging is not None:
            # Fetching the actions from the device completes this copy before the next one starts.
            given = self._staging.copy_(given)
        place.copy_(given, non_blocking=True)
        self._store_columns(columns)
        if self.device.type == "cpu" and min(observations.strides) >= 0:
            return torch.as_tensor(observations)
        stored = self._in_sb3_order(place)
        return stored if transposed == self._channels_last else stored.contiguous()

    def stored(self, count: int) -> dict[str, Any]:
        """Return the observations of the first ``count`` steps and the data stored with them, for checkpoints."""
        return {
            "channels_last": self._channels_last,
            "observations": self._storage(self._channels_last)[:count],
            "columns": {name: column[:count] for name, column in self.columns.items()},
        }

    def restore_stored(self, stored: Mapping[str, Any]) -> None:
        """Restore a result of :meth:`stored`."""
        observations, self._frames = stored["observations"], None
        self._storage(bool(stored["channels_last"]))[: len(observations)].copy_(observations)
        self.columns = {}
        for name, given in stored["columns"].items():
            column = torch.zeros((self.buffer_size, *given.shape[1:]), dtype=given.dtype, device=self.device)
            column[: len(given)].copy_(given)
            self.columns = {**self.columns, name: column}

    def _store_columns(self, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        stored = {}
        for name, values in columns.items():
            given = torch.from_numpy(np.ascontiguousarray(values))
            if given.dim() == 0 or len(given) != self.n_envs:
                raise ValueError(
                    f"column {name!r} must have one entry for each of {self.n_envs} environments, got shape "
                    f"{tuple(given.shape)}"
                )
            column = self.columns.get(name)
            if column is None or column.shape[2:] != given.shape[1:] or column.dtype != given.dtype:
                shape = (self.buffer_size, self.n_envs, *given.shape[1:])
                column = torch.zeros(shape, dtype=given.dtype, device=self.device)
            column[self.pos].copy_(given)
            stored[name] = column
        self.columns = stored

    def add(
        self,
        obs: npt.NDArray[Any],
        action: npt.NDArray[Any],
        reward: npt.NDArray[np.float32],
        episode_start: npt.NDArray[np.bool_],
        value: Tensor,
        log_prob: Tensor,
        columns: Mapping[str, npt.NDArray[Any]] = MappingProxyType({}),
    ) -> None:
        """Store a whole step, as SB3's own loops do, with the data of auxiliary terms."""
        self.store_observations(obs, columns)
        self.store_policy_outputs(action, episode_start, value, log_prob)
        self.store_rewards(reward)

    def store_policy_outputs(
        self, actions: npt.NDArray[Any], episode_starts: npt.NDArray[np.bool_], values: Tensor, log_probs: Tensor
    ) -> None:
        """Store the policy's outputs for the observations of :meth:`store_observations`."""
        self.actions[self.pos] = actions.reshape(self.n_envs, self.action_dim)
        self.episode_starts[self.pos] = episode_starts
        self.values[self.pos] = values.cpu().numpy().reshape(self.n_envs)
        self.log_probs[self.pos] = log_probs.cpu().numpy().reshape(self.n_envs)

    def store_rewards(self, rewards: npt.NDArray[np.float32]) -> None:
        """Store the rewards of the actions, and advance to the next step."""
        self.rewards[self.pos] = rewards
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def get(self, batch_size: int | None = None) -> Generator[CamalRolloutSamples, None, None]:  # type: ignore[override]
        """Yield shuffled minibatches; the order is that of SB3's buffer for the same random state."""
        if not self.full:
            raise RuntimeError("the rollout must be complete before minibatches can be drawn")
        count = self.buffer_size * self.n_envs
        # The stock buffer numbers the samples environment by environment, this buffer step by step.
        environment, step = np.divmod(np.random.permutation(count), self.buffer_size)  # noqa: NPY002
        rows = torch.from_numpy(step * self.n_envs + environment).to(self.device)
        everything = self._everything()
        for chosen in rows.split(batch_size or count):
            yield self._chosen(everything, chosen)

    def evenly_spaced(self, count: int) -> CamalRolloutSamples:
        """Return up to ``count`` samples of the rollout, the same ones every time."""
        rows = torch.linspace(0, self.buffer_size * self.n_envs - 1, count, device=self.device).long().unique()
        return self._chosen(self._everything(), rows)

    def _everything(self) -> CamalRolloutSamples:
        """Return all samples, step by step, with the observations in their memory order."""

        def flat(numbers: npt.NDArray[Any]) -> Tensor:
            return torch.from_numpy(numbers).flatten(0, 1).to(self.device)

        return CamalRolloutSamples(
            observations=self._storage().flatten(0, 1),
            actions=flat(self.actions.astype(np.float32, copy=False)),
            old_values=flat(self.values),
            old_log_prob=flat(self.log_probs),
            advantages=flat(self.advantages),
            returns=flat(self.returns),
            columns={name: column.flatten(0, 1) for name, column in self.columns.items()},
        )

    def _chosen(self, everything: CamalRolloutSamples, rows: Tensor) -> CamalRolloutSamples:
        """Return some samples, with the observations in SB3's axis order."""
        return CamalRolloutSamples(
            observations=self._in_sb3_order(everything.observations.index_select(0, rows)),
            actions=everything.actions.index_select(0, rows),
            old_values=everything.old_values.index_select(0, rows),
            old_log_prob=everything.old_log_prob.index_select(0, rows),
            advantages=everything.advantages.index_select(0, rows),
            returns=everything.returns.index_select(0, rows),
            columns={name: column.index_select(0, rows) for name, column in everything.columns.items()},
        )
