"""Finds common mistakes in environments with segmentation and says how to fix each."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from camal_rl.envs.frame_tracks import ORIENTATIONS, Track, agreement, agreement_across_resets
from camal_rl.envs.gym_adapter import KEY, SegmentationError, SpecLike, check_label_map, image_size
from camal_rl.envs.interface_checks import check_image_batch, check_reset, check_spaces, check_step, check_vec_step
from camal_rl.envs.segmentation import LabelMap, SegmentationSpec, SegmentedVecEnv, as_spec, find_segmented

_FORCED_RESETS = 4
# The checks of changing pixels need at least this many pixels.
_ENOUGH_PIXELS = 20
_SAME_FRAME = 0.9
# Boxes around small sprites change where the image does not: 0.28 was measured in Procgen's maze.
_HARDLY_ANY = 0.15
_CLEARLY_BETTER = 0.2
_NOT_BY_CHANCE = 0.05
_BLACK = 1


def check_segmented_env(env: gymnasium.Env[Any, Any] | VecEnv, spec: SpecLike | None = None, steps: int = 200) -> None:
    """Play an environment with random actions and check what training requires, above all the segmentation.

    Args:
        env: a Gymnasium environment with ``info["segmentation"]``, or a vectorized one with segmentation.
        spec: what the ids mean, also as a dictionary; ``None`` takes the environment's own
            (``env.segmentation_spec``, or ``.spec`` of a :class:`SegmentedVecEnv`).
        steps: how many steps to play, at least 10; more steps can find more mistakes.

    Raises:
        TypeError: ``env`` is neither, or has no segmentation.
        ValueError: there is a mistake; the message says how to fix it. What may be intended is only a warning.
    """
    if steps < 10:
        raise ValueError(f"steps must be at least 10, got {steps}")
    given = None if spec is None else as_spec(spec)
    if isinstance(env, VecEnv):
        segmented = find_segmented(env)
        if segmented is None:
            raise TypeError(
                "the vectorized environment has no segmentation; make it with camal_rl.envs.make_segmented_vec, or "
                "wrap it with camal_rl.envs.wrap_vec"
            )
        found, tracks = given or as_spec(segmented.spec), _play_vec(env, segmented, steps)
    elif isinstance(env, gymnasium.Env):
        found, tracks = given or _spec_of(env), [_play_gym(env, steps)]
        _check_seeded_reset(env)
    else:
        kind = f"the class {env.__name__}, not an instance" if isinstance(env, type) else type(env).__name__
        raise TypeError(f"expected a Gymnasium environment or an SB3 VecEnv, got {kind}")
    _check_ids(tracks, found)
    _check_moves(tracks)
    _check_resets(tracks)
    _check_lag(tracks)
    _check_place(tracks)
    _check_brightness(tracks)
    _check_same_image(tracks)
    _check_relevant(tracks, found)


def _spec_of(env: gymnasium.Env[Any, Any]) -> SegmentationSpec:
    try:
        spec = env.get_wrapper_attr("segmentation_spec")
    except AttributeError:
        spec = None
    if spec is None:
        raise ValueError(
            "the meaning of the ids is unknown; give spec=SegmentationSpec(names, relevant) or set "
            "self.segmentation_spec in the environment"
        )
    return as_spec(spec)


def _play_gym(env: gymnasium.Env[Any, Any], steps: int) -> Track:
    space = env.observation_space
    check_spaces(space, env.action_space)
    size = image_size(space)
    env.action_space.seed(0)
    track = Track()
    image, info = check_reset(env.reset(seed=0), space)
    raw = _mask_of(info, size, "reset")
    track.add(image, raw, start=True)
    for step in range(1, steps + 1):
        image, _, terminated, truncated, info = check_step(env.step(env.action_space.sample()), space)
        _check_not_shared(raw, track.masks[-1])
        raw = _mask_of(info, size, "step")
        track.add(image, raw, start=False)
        if terminated or truncated or step % max(1, steps // (_FORCED_RESETS + 1)) == 0:
            image, info = check_reset(env.reset(), space)
            _check_not_shared(raw, track.masks[-1])
            raw = _mask_of(info, size, "reset")
            track.add(image, raw, start=True)
    return track


def _play_vec(env: VecEnv, segmented: SegmentedVecEnv, steps: int) -> list[Track]:
    space, count = env.observation_space, env.num_envs
    check_spaces(space, env.action_space)
    size = image_size(space)
    env.action_space.seed(0)
    tracks = [Track() for _ in range(count)]
    starts: Sequence[bool] = [True] * count
    images = check_image_batch(env.reset(), count, space, "reset()")
    for step in range(1, steps + 1):
        raw = _masks_of(segmented, size)
        for index, track in enumerate(tracks):
            track.add(images[index], raw[index], bool(starts[index]))
        if step == steps // 2:
            images, starts = check_image_batch(env.reset(), count, space, "reset()"), [True] * count
        else:
            actions = np.array([env.action_space.sample() for _ in tracks])
            images, dones = check_vec_step(env.step(actions), count, space)
            starts = [bool(done) for done in dones]
        for index, track in enumerate(tracks):
            _check_not_shared(raw[index], track.masks[-1])
    return tracks


def _mask_of(info: dict[str, Any], size: tuple[int, int] | None, call: str) -> LabelMap:
    if KEY not in info:
        raise SegmentationError(
            f"{call}() returns no info[{KEY!r}]; put the label map of the observation that it returns there"
        )
    return check_label_map(info[KEY], size, f"info[{KEY!r}] of {call}()")


def _masks_of(env: SegmentedVecEnv, size: tuple[int, int] | None) -> LabelMap:
    masks = env.segmentation()
    if not isinstance(masks, np.ndarray) or masks.ndim != 3 or len(masks) != env.num_envs:
        shape = getattr(masks, "shape", None)
        raise SegmentationError(f"segmentation() must return uint8[{env.num_envs}, H, W], got shape {shape}")
    check_label_map(masks[0], size, "segmentation()[0]")
    return masks


def _check_not_shared(raw: LabelMap, copy: LabelMap) -> None:
    if not np.array_equal(raw, copy):
        raise ValueError(
            "a returned label map changed with the next step: the environment returns its own buffer; return a copy "
            "(.copy())"
        )


def _check_seeded_reset(env: gymnasium.Env[Any, Any]) -> None:
    size = image_size(env.observation_space)
    first, info = check_reset(env.reset(seed=0), env.observation_space)
    mask = np.array(_mask_of(info, size, "reset"))
    for _ in range(5):
        env.step(env.action_space.sample())
        again, info = env.reset(seed=0)
        if np.array_equal(first, again) and not np.array_equal(mask, _mask_of(info, size, "reset")):
            raise ValueError(
                "two resets with the same seed give the same observation but different label maps: the label map "
                "after a reset is not that of the new episode; compute it after the new level is in place"
            )


def _check_ids(tracks: Sequence[Track], spec: SegmentationSpec) -> None:
    seen = sorted({int(label) for track in tracks for mask in track.masks for label in np.unique(mask)})
    unnamed = [label for label in seen if label >= len(spec.names)]
    if unnamed:
        raise ValueError(
            f"label maps contain ids without a name: {unnamed}; spec.names has {len(spec.names)} names, "
            f"0 to {len(spec.names) - 1}: add names or correct the ids"
        )


def _check_moves(tracks: Sequence[Track]) -> None:
    masks = [mask for track in tracks for mask in track.masks]
    if any(not np.array_equal(masks[0], mask) for mask in masks):
        return
    images = [image for track in tracks for image in track.images]
    if any(not np.array_equal(images[0], image) for image in images):
        raise ValueError(
            f"the label map was the same in all {len(masks)} frames; compute it anew from the simulator's state in "
            "every reset() and step()"
        )


def _check_resets(tracks: Sequence[Track]) -> None:
    kept, total = 0, 0
    for track in tracks:
        for frame in range(1, len(track.masks)):
            before, after = track.images[frame - 1], track.images[frame]
            if track.starts[frame] and not np.array_equal(before, after):
                total += 1
                kept += not track.mask_changes(frame - 1).any()
    usual, usual_pixels = agreement(tracks, 0, after_reset=False)
    first, first_pixels = agreement(tracks, 0, after_reset=True)
    enough = min(usual_pixels, first_pixels) >= _ENOUGH_PIXELS
    if (total >= 2 and kept == total) or (enough and usual >= _SAME_FRAME and first < usual - 0.3):
        raise ValueError(
            "after a reset the label map is that of the old episode: return that of the new episode's first frame "
            "(SB3's vectorized environments put it in venv.reset_infos, not in infos; wrap_vec handles this)"
        )


def _check_lag(tracks: Sequence[Track]) -> None:
    now, pixels = agreement(tracks)
    if pixels < _ENOUGH_PIXELS or now >= _SAME_FRAME:
        return
    for shift, word in ((-1, "behind"), (1, "ahead of")):
        other, other_pixels = agreement(tracks, shift)
        if other_pixels >= _ENOUGH_PIXELS and other > now + 0.2:
            raise ValueError(
                f"the label map is one frame {word} the observation: {now:.0%} of its changing pixels change in the "
                f"image too, {other:.0%} if shifted by one frame; take both from the same simulator state"
            )


def _check_place(tracks: Sequence[Track]) -> None:
    """Warn if the label maps change in other places than the images."""
    measure = agreement if agreement(tracks)[1] >= _ENOUGH_PIXELS else agreement_across_resets
    now, pixels = measure(tracks)
    if pixels < _ENOUGH_PIXELS:
        return
    shape = tracks[0].masks[0].shape
    turned = {
        name: measure([track.turned(turn) for track in tracks])[0]
        for name, turn in ORIENTATIONS.items()
        if turn(tracks[0].masks[0]).shape == shape
    }
    name = max(turned, key=lambda each: turned[each])
    if turned[name] > now + _CLEARLY_BETTER or (now < _HARDLY_ANY and turned[name] > 2 * now + _NOT_BY_CHANCE):
        reason = f"they seem to be {name}: turned back, they agree in {turned[name]:.0%}"
    elif now < _HARDLY_ANY:
        reason = "the labels are in the wrong place, or label what the image does not show"
    else:
        return
    warnings.warn(
        f"where the label maps change, the image changes in only {now:.0%} of the pixels; {reason}", stacklevel=3
    )


def _check_brightness(tracks: Sequence[Track]) -> None:
    if max(int(image.max()) for track in tracks for image in track.images) <= _BLACK:
        warnings.warn(
            "no pixel of any image is brighter than 1 of 255: images in [0, 1] become black when they are cast to "
            "uint8; return np.round(255 * image).astype(np.uint8)",
            stacklevel=3,
        )


def _check_same_image(tracks: Sequence[Track]) -> None:
    seen: dict[bytes, LabelMap] = {}
    for track in tracks:
        for image, mask in zip(track.images, track.masks, strict=True):
            if not np.array_equal(seen.setdefault(image.tobytes(), mask), mask):
                warnings.warn(
                    "the same observation came with different label maps; unless invisible things are labeled on "
                    "purpose, the label map does not belong to the observation",
                    stacklevel=3,
                )
                return


def _check_relevant(tracks: Sequence[Track], spec: SegmentationSpec) -> None:
    seen = {int(label) for track in tracks for mask in track.masks for label in np.unique(mask)}
    missing = [name for name in spec.relevant if spec.names.index(name) not in seen]
    if not spec.relevant or len(missing) == len(spec.relevant):
        raise ValueError(
            f"no relevant class was ever visible; the relevant set is {list(spec.relevant)}, the visible classes were "
            f"{[spec.names[label] for label in sorted(seen)]}: correct the ids or choose another relevant set"
        )
    if missing:
        warnings.warn(
            f"relevant classes that were never visible: {', '.join(missing)}; they may be rare: check with more steps",
            stacklevel=3,
        )
