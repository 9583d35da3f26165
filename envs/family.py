"""What a family of simulators offers, and the facts that help to choose an environment."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from camal_rl.envs.segmentation import SegmentationSpec, SegmentedVecEnv

Exactness = Literal["exact", "good", "poor", "none", "unknown"]


@dataclass(frozen=True)
class EnvInfo:
    """Facts that help to choose an environment.

    Attributes:
        exactness: how exact its masks are. ``exact``: drawn by the simulator or from its state; ``good`` and ``poor``:
            approximate, with measured agreement; ``none``: no masks, only images; ``unknown``: not stated.
        license: license of the simulator and of its images.
        extra: the extra of camal-rl that installs the simulator; empty if none is needed.
        module: the module that must be installed; empty if none is needed.
        note: one sentence on what is not exact, or why there are no masks; may be empty.
    """

    exactness: Exactness
    license: str
    extra: str = ""
    module: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """Check the exactness."""
        if self.exactness not in get_args(Exactness):
            raise ValueError(f"exactness must be one of {', '.join(get_args(Exactness))}, got {self.exactness!r}")

    @property
    def installed(self) -> bool:
        """Whether the simulator's module is installed; this does not import the module."""
        return not self.module or importlib.util.find_spec(self.module) is not None


Returns = npt.NDArray[np.float64]
Frame = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Family:
    """The functions of a family of simulators; names of environments are without the family's prefix.

    The last five are optional.

    Attributes:
        env_names: the names of the family's environments; works without the simulator installed.
        segmentation_spec: the classes of one environment and its default relevant set.
        info: how exact one environment's masks are, its license and what installs it.
        level_sets: options for :func:`make_vec` by level set; ``train`` and ``held_out`` always exist.
        make_vec: ``(name, num_envs, seed, **options)``: copies of one environment as one vectorized environment.
        register: registers the family's Gymnasium ids; works without the simulator installed.
        normalized_score: ``(name, returns)``: returns scaled so that 0 is chance level and 1 the best possible return.
        training_fingerprints: ``(name, options)``: the :attr:`frame_fingerprint` of the first frame of every training
            level. Evaluation excludes held-out episodes that start with such a frame.
        frame_fingerprint: a hash of a frame ``uint8[H, W, C]``.
        episode_scores: ``(name, infos)``: the family's own metrics by name, which ``evaluate`` adds to the returns.
            ``infos`` holds the last ``info`` of each episode, at least one. ``score`` is a score over the episodes,
            higher is better. ``success_<what>`` is the share of the episodes, in [0, 1], that reached ``<what>``.
    """

    env_names: Callable[[], tuple[str, ...]]
    segmentation_spec: Callable[[str], SegmentationSpec]
    info: Callable[[str], EnvInfo]
    level_sets: Callable[[str], Mapping[str, Mapping[str, Any]]]
    make_vec: Callable[..., SegmentedVecEnv]
    register: Callable[[], None] | None = None
    normalized_score: Callable[[str, Returns], Returns] | None = None
    training_fingerprints: Callable[[str, Mapping[str, Any]], frozenset[bytes]] | None = None
    frame_fingerprint: Callable[[Frame], bytes] | None = None
    episode_scores: Callable[[str, Sequence[Mapping[str, Any]]], Mapping[str, float]] | None = None
