"""Returns over a fixed number of episodes, without a bias towards short episodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.envs.masked_vec import images_seen
from camal_rl.envs.segmentation import TERMINAL_KEY
from camal_rl.runs.results import Result

_IMAGES = ("terminal_observation", TERMINAL_KEY)
IsDuplicate = Callable[[npt.NDArray[np.uint8]], bool]


class Actor(Protocol):
    """An object with the ``predict`` method of SB3 models."""

    def predict(self, observation: npt.NDArray[Any], *, deterministic: bool = False) -> tuple[Any, Any]:
        """Return actions for a batch of observations, and an unused state."""


@dataclass(frozen=True)
class EpisodeReturns:
    """Results of the counted episodes.

    Attributes:
        returns: sum of the raw rewards of each episode.
        lengths: steps of each episode.
        excluded: number of episodes that were played but not counted, since their level is a training level.
        last_infos: the info dictionary of the last step of each episode, without its last observation.
    """

    returns: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    excluded: int
    last_infos: tuple[Mapping[str, Any], ...] = ()

    def results(self, level_set: str | None = None, actions: str | None = None) -> list[Result]:
        """Return mean return and length of the episodes (undefined if there are none), and the number of excluded ones.

        Args:
            level_set: name of the levels in the results.
            actions: name of the kind of actions in the results.
        """
        count = len(self.returns)
        mean = float(self.returns.mean()) if count else None
        error = float(self.returns.std()) / math.sqrt(count) if count else None
        found = (
            ("episode_length", float(self.lengths.mean()) if count else None, count),
            ("excluded_episodes", self.excluded, count + self.excluded),
        )
        return [
            Result(figure="return", level_set=level_set, control=actions, value=mean, count=count, error=error),
            *(
                Result(figure=name, level_set=level_set, control=actions, value=value, count=of)
                for name, value, of in found
            ),
        ]


def episode_quota(episodes: int, num_envs: int) -> npt.NDArray[np.int64]:
    """Return the number of episodes for each environment: as equal as possible, ``sum = episodes``."""
    return np.array([(episodes + index) // num_envs for index in range(num_envs)], dtype=np.int64)


def play_episodes(
    model: Actor,
    venv: VecEnv,
    episodes: int,
    deterministic: bool,
    seed: int,
    is_duplicate: IsDuplicate | None = None,
) -> EpisodeReturns:
    """Play episodes and return their results.

    Every environment plays a number of episodes that is fixed in advance. Taking the first ``episodes`` to finish would
    favor short episodes, which are the bad ones in many games.

    Args:
        model: acts on the observations.
        venv: environment with raw rewards; it is reset first.
        episodes: number of episodes, at least 1.
        deterministic: preferred actions instead of sampled ones.
        seed: seed of the sampled actions; torch's global generators are restored.
        is_duplicate: returns, for the first frame of an episode, whether its level must not count.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    remaining = episode_quota(episodes, venv.num_envs)

    def start(indices: npt.NDArray[np.int64]) -> None:
        # Duplicates are detected in the simulator's frames, even if the agent sees masked ones.
        tally.start(indices, images_seen(venv, observations, None))

    tally = _Tally(venv.num_envs, is_duplicate)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        observations = np.asarray(venv.reset())
        start(np.arange(venv.num_envs))
        while (remaining > 0).any():
            actions, _ = model.predict(observations, deterministic=deterministic)
            stepped, rewards, dones, infos = venv.step(actions)
            observations = np.asarray(stepped)
            tally.add(rewards)
            ended = np.flatnonzero(dones)
            tally.finish(ended[remaining[ended] > 0], infos)
            remaining[ended] -= 1
            start(ended[remaining[ended] > 0])
            tally.clear(ended)
    return tally.result()


class _Tally:
    """Running sums of the episodes in progress, and the results of those that ended."""

    def __init__(self, num_envs: int, is_duplicate: IsDuplicate | None) -> None:
        self._sums = np.zeros(num_envs)
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._duplicate = np.zeros(num_envs, dtype=bool)
        self._is_duplicate = is_duplicate
        self._returns: list[float] = []
        self._lengths: list[int] = []
        self._infos: list[Mapping[str, Any]] = []
        self._excluded = 0

    def start(self, indices: npt.NDArray[np.int64], observations: npt.NDArray[np.uint8]) -> None:
        if self._is_duplicate is not None:
            for index in indices:
                self._duplicate[index] = self._is_duplicate(observations[index])

    def add(self, rewards: npt.NDArray[np.float32]) -> None:
        self._sums += rewards
        self._steps += 1

    def finish(self, indices: npt.NDArray[np.int64], infos: Sequence[Mapping[str, Any]]) -> None:
        counting = indices[~self._duplicate[indices]]
        self._returns += self._sums[counting].tolist()
        self._lengths += self._steps[counting].tolist()
        self._infos += [_without_images(infos[index]) for index in counting]
        self._excluded += len(indices) - len(counting)

    def clear(self, indices: npt.NDArray[np.int64]) -> None:
        self._sums[indices] = 0
        self._steps[indices] = 0

    def result(self) -> EpisodeReturns:
        lengths = np.array(self._lengths, dtype=np.int64)
        return EpisodeReturns(np.array(self._returns), lengths, self._excluded, tuple(self._infos))


def _without_images(info: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in info.items() if key not in _IMAGES}
