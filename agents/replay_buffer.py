"""Replay buffers that store target masks with the observations, on the grid of the attention maps."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from camal_rl.agents.rollout_buffer import TARGET_MASKS

_ARRAYS = ("actions", "rewards", "dones", "timeouts")
_LEVEL = 1
"""Level of compression: game frames shrink to a few percent, and higher levels gain little."""


class CamalReplaySamples(NamedTuple):
    """SB3's ``ReplayBufferSamples``, plus the data stored with the observations: name to ``(B, ...)``."""

    observations: Tensor
    actions: Tensor
    next_observations: Tensor
    dones: Tensor
    rewards: Tensor
    discounts: Tensor | None = None
    columns: Mapping[str, Tensor] = MappingProxyType({})

    @property
    def targets(self) -> Tensor | None:
        """CAMAL's masks ``uint8 (B, h, w)`` of the observations; ``None`` without masks."""
        return self.columns.get(TARGET_MASKS)


class CamalReplayBuffer(ReplayBuffer):
    """SB3's replay buffer with a target mask for each observation, ``uint8 (buffer_size, n_envs, h, w)``.

    Samples are those of the stock buffer for the same random state, with every option: ``optimize_memory_usage``,
    time limits, several environments. If the environment has no masks, only the data of the stock buffer are stored.
    """

    target_masks: npt.NDArray[np.uint8] | None = None
    """CAMAL's masks on the CAM grid, in 0 .. 255; ``None`` before the first one is stored."""

    def store_masks(self, masks: npt.NDArray[np.uint8]) -> None:
        """Store the masks ``uint8 (n_envs, h, w)`` of the observations that the next :meth:`add` stores.

        Raises:
            ValueError: the masks have another shape or type.
        """
        if masks.dtype != np.uint8 or masks.ndim != 3 or len(masks) != self.n_envs:
            raise ValueError(
                f"expected uint8 masks (n_envs, h, w) of {self.n_envs} environments, got {masks.dtype} {masks.shape}"
            )
        if self.target_masks is None:
            self.target_masks = np.zeros((self.buffer_size, *masks.shape), np.uint8)
        self.target_masks[self.pos] = masks

    def _get_samples(self, batch_inds: npt.NDArray[Any], env: VecNormalize | None = None) -> Any:
        # The stock buffer starts by drawing the environments; the same state gives the same ones.
        state = np.random.get_state()  # noqa: NPY002
        env_indices = np.random.randint(0, high=self.n_envs, size=(len(batch_inds),))  # noqa: NPY002
        np.random.set_state(state)  # noqa: NPY002
        samples = super()._get_samples(batch_inds, env)
        return CamalReplaySamples(*samples, columns=self._columns(batch_inds, env_indices))

    def _columns(self, steps: npt.NDArray[Any], environments: npt.NDArray[Any]) -> dict[str, Tensor]:
        if self.target_masks is None:
            return {}
        return {TARGET_MASKS: torch.from_numpy(self.target_masks[steps, environments]).to(self.device)}

    def evenly_spaced(self, count: int) -> CamalReplaySamples:
        """Return up to ``count`` evenly spaced samples, with only observations, actions and columns.

        Raises:
            ValueError: the buffer is empty.
        """
        stored = self.size()
        if not stored:
            raise ValueError("the replay buffer is empty")
        rows = np.unique(np.linspace(0, stored * self.n_envs - 1, count).astype(np.int64))
        steps, environments = np.divmod(rows, self.n_envs)
        observations, actions = (
            torch.from_numpy(array[steps, environments]).to(self.device) for array in (self.observations, self.actions)
        )
        nothing = torch.empty(0)
        columns = self._columns(steps, environments)
        return CamalReplaySamples(observations, actions, nothing, nothing, nothing, None, columns)

    # Checkpoints --------------------------------------------------------------------------------------------------

    def stored(self) -> dict[str, Any]:
        """Return all stored data, compressed, for checkpoints.

        A next observation is included only if it is not the observation of the next step: about one per episode.
        """
        count = self.size()
        one_more = min(count + int(self.optimize_memory_usage), self.buffer_size)
        found: dict[str, Any] = {
            "pos": self.pos,
            "full": self.full,
            "observations": _compressed(self.observations[:one_more]),
            **{name: getattr(self, name)[:count] for name in _ARRAYS},
            "masks": None if self.target_masks is None else _compressed(self.target_masks[:count]),
        }
        if not self.optimize_memory_usage:
            rows, environments = np.nonzero(self._broken(count))
            found["next_places"] = np.stack([rows, environments])
            found["next_observations"] = _compressed(self.next_observations[rows, environments])
        return found

    def _broken(self, count: int) -> npt.NDArray[np.bool_]:
        """Return ``bool (count, n_envs)``: where the next observation is not the observation of the next step."""
        broken = np.ones((count, self.n_envs), dtype=np.bool_)
        for step in range(count):
            after = self.observations[(step + 1) % self.buffer_size]
            same = (self.next_observations[step] == after).reshape(self.n_envs, -1)
            broken[step] = ~same.all(axis=1)
        return broken

    def restore_stored(self, stored: Mapping[str, Any]) -> None:
        """Restore a result of :meth:`stored`.

        Raises:
            ValueError, KeyError, TypeError: it belongs to another buffer.
        """
        count = len(stored["rewards"])
        observations = _expanded(stored["observations"], self.observations)
        self.observations[: len(observations)] = observations
        for name in _ARRAYS:
            getattr(self, name)[:count] = stored[name]
        if stored["masks"] is not None:
            _, *shape = (int(size) for size in stored["masks"]["shape"])
            self.target_masks = np.zeros((self.buffer_size, *shape), np.uint8)
            self.target_masks[:count] = _expanded(stored["masks"], self.target_masks)
        self.pos, self.full = int(stored["pos"]), bool(stored["full"])
        if count and not self.optimize_memory_usage:
            self.next_observations[: count - 1] = self.observations[1:count]
            self.next_observations[count - 1] = self.observations[count % self.buffer_size]
            rows, environments = stored["next_places"]
            found = _expanded(stored["next_observations"], self.observations[0], most=count * self.n_envs)
            self.next_observations[rows, environments] = found


class CamalNStepReplayBuffer(CamalReplayBuffer, NStepReplayBuffer):
    """The same buffer for returns over several steps (``n_steps`` above 1)."""


def _compressed(array: npt.NDArray[Any]) -> dict[str, Any]:
    """Compress an array in parts of several rows, for :func:`_expanded`."""
    array = np.ascontiguousarray(array)
    rows = max(1, 2**24 // max(1, array[:1].nbytes))
    parts = [zlib.compress(array[start : start + rows].tobytes(), _LEVEL) for start in range(0, len(array), rows)]
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.str,
        "rows": rows,
        "lengths": [len(part) for part in parts],
        "bytes": np.frombuffer(bytearray().join(parts), np.uint8),
    }


def _expanded(stored: Mapping[str, Any], like: npt.NDArray[Any], most: int | None = None) -> npt.NDArray[Any]:
    """Return the array that :func:`_compressed` compressed, without allocating memory for more than ``most`` rows.

    Args:
        stored: result of :func:`_compressed`.
        like: an array whose rows have the same shape and type.
        most: maximum number of rows; by default that of ``like``.

    Raises:
        ValueError: the shape or type differs, there are too many rows, or the data are damaged.
    """
    shape, dtype = tuple(int(size) for size in stored["shape"]), np.dtype(stored["dtype"])
    largest = len(like) if most is None else most
    if (shape[1:], dtype) != (like.shape[1:], like.dtype) or shape[0] > largest:
        raise ValueError(f"its replay buffer has {dtype} {shape}, expected {like.dtype} {(largest, *like.shape[1:])}")
    array = np.empty(shape, dtype)
    rows, packed, place = int(stored["rows"]), np.asarray(stored["bytes"]), 0
    for number, length in enumerate(stored["lengths"]):
        part = array[number * rows : (number + 1) * rows]
        content = zlib.decompressobj().decompress(cast(Any, packed[place : place + length]), part.nbytes)
        if len(content) != part.nbytes:
            raise ValueError("its replay buffer is damaged")
        part[...] = np.frombuffer(content, dtype).reshape(part.shape)
        place += length
    return array
