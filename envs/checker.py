"""Finds the usual mistakes of environments with segmentation and says how to mend each."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.envs.gym_adapter import KEY, SegmentationError, check_label_map, image_size
from camal_rl.envs.segmentation import LabelMap, SegmentationSpec, SegmentedVecEnv, find_segmented

_FORCED_RESETS = 4
# The tests on changing pixels need this many of them before they say anything.
_ENOUGH_PIXELS = 20
_SAME_FRAME = 0.9


@dataclass
class _Track:
    """The frames of one environment: pictures, masks, and which frames came from a reset."""

    pictures: list[npt.NDArray[Any] | None] = field(default_factory=list)
    masks: list[LabelMap] = field(default_factory=list)
    starts: list[bool] = field(default_factory=list)

    def add(self, picture: npt.NDArray[Any] | None, mask: LabelMap, start: bool) -> None:
        self.pictures.append(None if picture is None else np.array(picture))
        self.masks.append(mask.copy())
        self.starts.append(start)

    def picture_changes(self, frame: int) -> npt.NDArray[np.bool_] | None:
        """Return where the picture changes from ``frame`` to the next one, bool[H, W]; None if unknown."""
        if not 0 <= frame < len(self.masks) - 1 or self.starts[frame + 1]:
            return None
        before, after = self.pictures[frame], self.pictures[frame + 1]
        if before is None or after is None:
            return None
        changed = np.asarray(before != after)
        if changed.ndim == 2:
            return changed
        return changed.any(axis=0) if changed.shape[1:] == self.masks[frame].shape else changed.any(axis=-1)

    def mask_changes(self, frame: int) -> npt.NDArray[np.bool_]:
        return self.masks[frame] != self.masks[frame + 1]


def check_segmented_env(
    env: gymnasium.Env[Any, Any] | VecEnv, spec: SegmentationSpec | None = None, steps: int = 200
) -> None:
    """Play an environment with random actions and check the segmentation that it gives.

    Args:
        env: a Gymnasium environment with ``info["segmentation"]``, or a vectorised one with segmentation.
        spec: what the ids mean; ``None`` takes the environment's own (``env.segmentation_spec``, or ``.spec`` of
            a :class:`SegmentedVecEnv`).
        steps: how many steps to play; more find more.

    Raises:
        TypeError: ``env`` is neither.
        ValueError: a mistake, with the way to mend it. What may be meant so is a warning.
    """
    if steps < 10:
        raise ValueError(f"steps is at least 10, got {steps}")
    if isinstance(env, VecEnv):
        segmented = find_segmented(env)
        if segmented is None:
            raise TypeError(
                "the vectorised environment has no segmentation; wrap it with camal_rl.envs.gym_adapter.wrap_vec"
            )
        found, tracks = spec or segmented.spec, _play_vec(env, segmented, steps)
    elif isinstance(env, gymnasium.Env):
        found, tracks = spec or _spec_of(env), [_play_gym(env, steps)]
        _check_seeded_reset(env)
    else:
        raise TypeError(f"expected a Gymnasium environment or an SB3 VecEnv, got {type(env).__name__}")
    _check_ids(tracks, found)
    _check_moves(tracks)
    _check_resets(tracks)
    _check_lag(tracks)
    _check_same_picture(tracks)
    _check_relevant(tracks, found)


def _spec_of(env: gymnasium.Env[Any, Any]) -> SegmentationSpec:
    try:
        spec = env.get_wrapper_attr("segmentation_spec")
    except AttributeError:
        spec = None
    if not isinstance(spec, SegmentationSpec):
        raise ValueError(
            "what the ids mean is unknown; give spec=SegmentationSpec(names, relevant) or set "
            "self.segmentation_spec in the environment"
        )
    return spec


def _play_gym(env: gymnasium.Env[Any, Any], steps: int) -> _Track:
    size = image_size(env.observation_space)
    env.action_space.seed(0)
    track = _Track()
    observation, info = env.reset(seed=0)
    raw = _mask_of(info, size, "reset")
    track.add(_picture(observation, size), raw, start=True)
    for step in range(1, steps + 1):
        observation, _, terminated, truncated, info = env.step(env.action_space.sample())
        _check_not_shared(raw, track.masks[-1])
        raw = _mask_of(info, size, "step")
        track.add(_picture(observation, size), raw, start=False)
        if terminated or truncated or step % max(1, steps // (_FORCED_RESETS + 1)) == 0:
            observation, info = env.reset()
            _check_not_shared(raw, track.masks[-1])
            raw = _mask_of(info, size, "reset")
            track.add(_picture(observation, size), raw, start=True)
    return track


def _play_vec(env: VecEnv, segmented: SegmentedVecEnv, steps: int) -> list[_Track]:
    size = image_size(segmented.observation_space)
    env.action_space.seed(0)
    tracks = [_Track() for _ in range(env.num_envs)]
    starts: Sequence[bool] = [True] * env.num_envs
    observations = env.reset()
    for step in range(1, steps + 1):
        raw = _masks_of(segmented, size)
        for index, track in enumerate(tracks):
            track.add(_picture(observations, size, index), raw[index], bool(starts[index]))
        if step == steps // 2:
            observations, starts = env.reset(), [True] * env.num_envs
        else:
            actions = np.array([env.action_space.sample() for _ in tracks])
            observations, _, dones, _ = env.step(actions)
            starts = [bool(done) for done in dones]
        for index, track in enumerate(tracks):
            _check_not_shared(raw[index], track.masks[-1])
    return tracks


def _picture(observation: Any, size: tuple[int, int] | None, index: int | None = None) -> Any:
    """Return an observation, or one of several, if it is a picture."""
    if size is None or not isinstance(observation, np.ndarray):
        return None
    return observation if index is None else observation[index]


def _mask_of(info: dict[str, Any], size: tuple[int, int] | None, call: str) -> LabelMap:
    if KEY not in info:
        raise SegmentationError(
            f"{call}() gives no info[{KEY!r}]; put the label map of the observation that it returns there"
        )
    return check_label_map(info[KEY], size, f"info[{KEY!r}] of {call}()")


def _masks_of(env: SegmentedVecEnv, size: tuple[int, int] | None) -> LabelMap:
    masks = env.segmentation()
    if not isinstance(masks, np.ndarray) or masks.ndim != 3 or len(masks) != env.num_envs:
        shape = getattr(masks, "shape", None)
        raise SegmentationError(f"segmentation() gives uint8[{env.num_envs}, H, W], got shape {shape}")
    check_label_map(masks[0], size, "segmentation()[0]")
    return masks


def _check_not_shared(raw: LabelMap, copy: LabelMap) -> None:
    if not np.array_equal(raw, copy):
        raise ValueError(
            "a label map that was handed out changed with the next step: the environment hands out its own "
            "buffer; hand out a copy (.copy())"
        )


def _check_seeded_reset(env: gymnasium.Env[Any, Any]) -> None:
    size = image_size(env.observation_space)
    first, info = env.reset(seed=0)
    mask = np.array(_mask_of(info, size, "reset"))
    for _ in range(5):
        env.step(env.action_space.sample())
        again, info = env.reset(seed=0)
        same = np.array_equal(first, again) if isinstance(first, np.ndarray) else False
        if same and not np.array_equal(mask, _mask_of(info, size, "reset")):
            raise ValueError(
                "two resets with the same seed give the same observation but different label maps: the label map "
                "after a reset is not that of the new episode; compute it after the new level is in place"
            )


def _check_ids(tracks: Sequence[_Track], spec: SegmentationSpec) -> None:
    seen = sorted({int(label) for track in tracks for mask in track.masks for label in np.unique(mask)})
    unnamed = [label for label in seen if label >= len(spec.names)]
    if unnamed:
        raise ValueError(
            f"label maps hold ids without a name: {unnamed}; spec.names has {len(spec.names)} names, "
            f"0 to {len(spec.names) - 1}: add names or mend the ids"
        )


def _check_moves(tracks: Sequence[_Track]) -> None:
    masks = [mask for track in tracks for mask in track.masks]
    if any(not np.array_equal(masks[0], mask) for mask in masks):
        return
    pictures = [picture for track in tracks for picture in track.pictures if picture is not None]
    if not pictures or any(not np.array_equal(pictures[0], picture) for picture in pictures):
        raise ValueError(
            f"the label map was the same in all {len(masks)} frames; compute it anew from the simulator's state in "
            "every reset() and step()"
        )


def _check_resets(tracks: Sequence[_Track]) -> None:
    kept, total = 0, 0
    for track in tracks:
        for frame in range(1, len(track.masks)):
            before, after = track.pictures[frame - 1], track.pictures[frame]
            if track.starts[frame] and (before is None or after is None or not np.array_equal(before, after)):
                total += 1
                kept += not track.mask_changes(frame - 1).any()
    usual, usual_pixels = _agreement(tracks, 0, after_reset=False)
    first, first_pixels = _agreement(tracks, 0, after_reset=True)
    enough = min(usual_pixels, first_pixels) >= _ENOUGH_PIXELS
    if (total >= 2 and kept == total) or (enough and usual >= _SAME_FRAME and first < usual - 0.3):
        raise ValueError(
            "after a reset the label map is that of the old episode: give that of the first frame of the new one "
            "(with SB3's vectorised environments it is in venv.reset_infos, not in infos; wrap_vec does this)"
        )


def _check_lag(tracks: Sequence[_Track]) -> None:
    now, pixels = _agreement(tracks, 0)
    if pixels < _ENOUGH_PIXELS or now >= _SAME_FRAME:
        return
    for shift, word in ((-1, "behind"), (1, "ahead of")):
        other, other_pixels = _agreement(tracks, shift)
        if other_pixels >= _ENOUGH_PIXELS and other > now + 0.2:
            raise ValueError(
                f"the label map is one frame {word} the observation: its changes agree with the picture's to "
                f"{now:.0%}, one frame shifted to {other:.0%}; take both from the same simulator state"
            )


def _agreement(tracks: Sequence[_Track], shift: int, after_reset: bool | None = None) -> tuple[float, int]:
    """Return which part of the changing mask pixels changes in the picture too, and how many pixels change.

    Args:
        tracks: the frames.
        shift: compare the mask's step ``t`` with the picture's step ``t + shift``.
        after_reset: only the first steps of episodes, only the other ones, or all (``None``).
    """
    hits, total = 0, 0
    for track in tracks:
        for frame in range(len(track.masks) - 1):
            if track.starts[frame + 1] or (after_reset is not None and track.starts[frame] != after_reset):
                continue
            picture = track.picture_changes(frame + shift)
            if picture is not None:
                mask = track.mask_changes(frame)
                hits += int((mask & picture).sum())
                total += int(mask.sum())
    return (hits / total if total else 0.0), total


def _check_same_picture(tracks: Sequence[_Track]) -> None:
    seen: dict[bytes, LabelMap] = {}
    for track in tracks:
        for picture, mask in zip(track.pictures, track.masks, strict=True):
            if picture is not None and not np.array_equal(seen.setdefault(picture.tobytes(), mask), mask):
                warnings.warn(
                    "the same observation came with different label maps; unless something invisible is meant to "
                    "be labelled, the label map is not that of the observation",
                    stacklevel=3,
                )
                return


def _check_relevant(tracks: Sequence[_Track], spec: SegmentationSpec) -> None:
    seen = {int(label) for track in tracks for mask in track.masks for label in np.unique(mask)}
    missing = [name for name in spec.relevant if spec.names.index(name) not in seen]
    if not spec.relevant or len(missing) == len(spec.relevant):
        raise ValueError(
            f"no relevant class was ever visible; the relevant set is {list(spec.relevant)}, seen were "
            f"{[spec.names[label] for label in sorted(seen)]}: mend the ids or choose another relevant set"
        )
    if missing:
        warnings.warn(
            f"relevant classes that were never visible: {', '.join(missing)}; right if they are rare, play more "
            "steps to see",
            stacklevel=3,
        )
