"""Gymnasium wrappers that change the image and ``info["segmentation"]`` together, so that both stay aligned.

Each wrapper takes and returns image observations ``uint8[H, W, C]``; label maps are ``uint8[H, W]``. If ``info``
contains no label map, only the image changes. The wrappers compose in any order. For a time limit use Gymnasium's
``TimeLimit``, which does not change ``info``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from functools import lru_cache, reduce
from typing import Any, Literal, SupportsFloat

import cv2
import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from camal_rl.envs.copies import Copyable
from camal_rl.envs.gym_adapter import KEY
from camal_rl.envs.saved_values import AttributeState
from camal_rl.envs.segmentation import ImageStack, LabelMap

Image = npt.NDArray[np.uint8]
StackLabels = Literal["newest", "union"]

# The number of channels that cv2.resize accepts with INTER_AREA.
_CV2_CHANNELS = 4
_NEIGHBORS = np.ones((3, 3), dtype=np.uint8)


def union_labels(newest_first: Iterable[LabelMap]) -> LabelMap:
    """Combine label maps into one, ``uint8[H, W]``: a pixel gets the label of the newest map with an object there."""
    return reduce(lambda newer, older: np.where(newer, newer, older), newest_first).copy()


def pool_frames(frames: Sequence[Image]) -> Image:
    """Return the pixelwise maximum of frames ``uint8[H, W, C]``, which shows objects that flicker between frames."""
    return np.asarray(reduce(np.maximum, frames)).copy()


def resize_image(image: Image, height: int, width: int) -> Image:
    """Return ``image (H, W, C)`` as ``uint8[height, width, C]``; each pixel is the mean of the area that it covers.

    If the image is enlarged, OpenCV interpolates between pixels.
    """
    parts = [image[..., first : first + _CV2_CHANNELS] for first in range(0, image.shape[-1], _CV2_CHANNELS)]
    resized = [
        cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width, -1) for part in parts
    ]
    return np.asarray(resized[0] if len(resized) == 1 else np.concatenate(resized, axis=-1), dtype=np.uint8)


def resize_labels(labels: LabelMap, height: int, width: int, min_coverage: float = 0.25) -> LabelMap:
    """Return a label map ``uint8[height, width]`` in which no object vanishes.

    A pixel gets the class, other than the background, that covers most of it, if that class covers at least
    ``min_coverage`` of the pixel; with one half, the usual value, thin objects would vanish. An object that covers no
    pixel enough still labels the pixel that it covers most, over any other class, unless its class covers a neighboring
    pixel enough.

    Args:
        labels: ``uint8[H, W]``.
        height: new height.
        width: new width.
        min_coverage: in (0, 1].
    """
    if labels.shape == (height, width):
        return labels.copy()
    classes, covered = _covered_area(labels, height, width)
    if not len(classes):
        return np.zeros((height, width), dtype=np.uint8)
    kept = covered >= np.float32(min_coverage * labels.size)
    peak = (covered > 0) & (covered == _dilate(covered))
    lost = peak & (_dilate(kept.view(np.uint8)) == 0)
    # A pixel that keeps a small object ranks above every area.
    rank = np.where(kept, covered, 0)
    rank[lost] = covered[lost] + labels.size
    winner = classes[rank.argmax(axis=-1)]
    # einsum is faster than sum over such a short axis.
    return winner * (np.einsum("hwk->hw", rank) > 0)


def _covered_area(labels: LabelMap, height: int, width: int) -> tuple[LabelMap, npt.NDArray[np.float32]]:
    """Return the ``K`` classes except the background, and the area of each new pixel that each covers, ``[h, w, K]``.

    Areas are whole numbers: the unit is chosen so that a new pixel's area is the number of old pixels.
    """
    flat = labels.ravel()
    positions = np.flatnonzero(flat)
    rows, columns = np.divmod(positions, labels.shape[1])
    found = flat[positions]
    classes = np.flatnonzero(np.bincount(found, minlength=1))
    of_class = np.searchsorted(classes, found)
    covered = np.zeros(height * width * len(classes))
    new_rows, tall = _overlaps(labels.shape[0], height)
    new_columns, wide = _overlaps(labels.shape[1], width)
    for row, row_overlap in zip(new_rows, tall, strict=True):
        for column, column_overlap in zip(new_columns, wide, strict=True):
            index = (row[rows] * width + column[columns]) * len(classes) + of_class
            area = row_overlap[rows] * column_overlap[columns]
            covered += np.bincount(index, weights=area, minlength=len(covered))
    return classes.astype(np.uint8), covered.astype(np.float32).reshape(height, width, len(classes))


@lru_cache(maxsize=64)
def _overlaps(old: int, new: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return which new pixels each old pixel of a line overlaps, and by how much, both ``[N, old]``.

    The unit of length is chosen so that a new pixel is ``old`` long and an old pixel ``new``. If an old pixel overlaps
    fewer than ``N`` new pixels, the remaining overlaps are 0.
    """
    start = np.arange(old) * new
    cells = start // old + np.arange(2 + new // old)[:, None]
    overlap = np.minimum(start + new, (cells + 1) * old) - np.maximum(start, cells * old)
    used = (overlap > 0).any(axis=1)
    return np.minimum(cells, new - 1)[used], np.maximum(overlap, 0)[used]


def _dilate(planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the maximum of each pixel's 3 x 3 neighborhood in every plane of ``[H, W, K]``."""
    return np.asarray(cv2.dilate(planes, _NEIGHBORS)).reshape(planes.shape)


class _ImageWrapper(AttributeState, Copyable, gymnasium.Wrapper[Any, Any, Any, Any], ABC):
    """Base of the wrappers that change each observation and its label map on their own, without other frames."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        shape = image_shape(env.observation_space)
        self.observation_space = spaces.Box(0, 255, self.new_shape(*shape), np.uint8)

    @abstractmethod
    def new_shape(self, height: int, width: int, channels: int) -> tuple[int, int, int]:
        """Return the shape of the new observations; called once, in ``__init__``."""

    @abstractmethod
    def change_image(self, image: Image) -> Image:
        """Return the new image."""

    def change_labels(self, labels: LabelMap) -> LabelMap:
        """Return the new label map; the same one unless overridden."""
        return labels

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Image, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self.change_image(observation), self._change_info(info)

    def step(self, action: Any) -> tuple[Image, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take an action."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self.change_image(observation), reward, terminated, truncated, self._change_info(info)

    def _change_info(self, info: dict[str, Any]) -> dict[str, Any]:
        return {**info, KEY: self.change_labels(info[KEY])} if KEY in info else info


def image_shape(space: spaces.Space[Any]) -> tuple[int, int, int]:
    """Return (H, W, C) of a space of images.

    Raises:
        ValueError: the observations are not ``uint8[H, W, C]``.
    """
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) != 3:
        raise ValueError(f"the wrapper needs image observations uint8[H, W, C], got {space}")
    height, width, channels = space.shape
    return height, width, channels


class SegmentedResize(_ImageWrapper):
    """Resizes the image by area, and the label map by :func:`resize_labels`, which keeps small objects.

    Args:
        env: gives images ``uint8[H, W, C]``.
        height: new height in pixels.
        width: new width in pixels; ``None`` means the same as ``height``.
        min_coverage: the share of a pixel, in (0, 1], that a class must cover to label it.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], height: int, width: int | None = None, min_coverage: float = 0.25
    ) -> None:
        self._height, self._width = height, height if width is None else width
        if min(self._height, self._width) < 1:
            raise ValueError(f"the new size must be at least 1 x 1, got {self._height} x {self._width}")
        if not 0 < min_coverage <= 1:
            raise ValueError(f"min_coverage must be in (0, 1], got {min_coverage}")
        self._min_coverage = min_coverage
        super().__init__(env)

    def new_shape(self, height: int, width: int, channels: int) -> tuple[int, int, int]:
        """Return the new size with the same number of channels."""
        return self._height, self._width, channels

    def change_image(self, image: Image) -> Image:
        """Return the resized image."""
        return resize_image(image, self._height, self._width)

    def change_labels(self, labels: LabelMap) -> LabelMap:
        """Return the resized label map."""
        return resize_labels(labels, self._height, self._width, self._min_coverage)


class SegmentedGrayscale(_ImageWrapper):
    """Converts RGB to one channel of luminance; the label map stays the same."""

    def new_shape(self, height: int, width: int, channels: int) -> tuple[int, int, int]:
        """Return the same size with one channel."""
        if channels != 3:
            raise ValueError(f"grayscale needs RGB images uint8[H, W, 3], got {channels} channels")
        return height, width, 1

    def change_image(self, image: Image) -> Image:
        """Return the image in gray."""
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)[..., None]


class SegmentedCrop(_ImageWrapper):
    """Keeps a rectangle of the image and of the label map.

    Args:
        env: gives images ``uint8[H, W, C]``.
        top: first row that is kept.
        left: first column that is kept.
        height: number of rows.
        width: number of columns.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], top: int, left: int, height: int, width: int) -> None:
        self._top, self._left, self._height, self._width = top, left, height, width
        super().__init__(env)

    def new_shape(self, height: int, width: int, channels: int) -> tuple[int, int, int]:
        """Return the rectangle's size with the same number of channels."""
        bottom, right = self._top + self._height, self._left + self._width
        if min(self._top, self._left) < 0 or min(self._height, self._width) < 1 or bottom > height or right > width:
            raise ValueError(
                f"the crop must lie in the image of {height} x {width}, "
                f"got rows {self._top} to {bottom - 1}, columns {self._left} to {right - 1}"
            )
        return self._height, self._width, channels

    def change_image(self, image: Image) -> Image:
        """Return the rectangle of the image."""
        return image[self._top : self._top + self._height, self._left : self._left + self._width].copy()

    def change_labels(self, labels: LabelMap) -> LabelMap:
        """Return the rectangle of the label map."""
        return self.change_image(labels)


class SegmentedFrameStack(AttributeState, Copyable, gymnasium.Wrapper[Any, Any, Any, Any]):
    """Stacks the last frames along the channels, the newest last: ``uint8[H, W, C * frames]``.

    An episode starts with copies of its first frame.

    Args:
        env: gives images ``uint8[H, W, C]``.
        frames: number of frames.
        labels: ``newest``: the label map of the newest frame; ``union``: of all frames, newer over older.
    """

    state_attributes = ("_stack", "_labels")

    def __init__(self, env: gymnasium.Env[Any, Any], frames: int, labels: StackLabels = "newest") -> None:
        super().__init__(env)
        if frames < 1:
            raise ValueError(f"a frame stack must have at least 1 frame, got {frames}")
        if labels not in ("newest", "union"):
            raise ValueError(f"labels must be 'newest' or 'union', got {labels!r}")
        height, width, self._channels = image_shape(env.observation_space)
        self.observation_space = spaces.Box(0, 255, (height, width, self._channels * frames), np.uint8)
        self._frames, self._stack_labels = frames, labels
        self._stack: Image = np.zeros(self.observation_space.shape, dtype=np.uint8)
        self._labels: deque[LabelMap] = deque(maxlen=1 if labels == "newest" else frames)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Image, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._stack = np.tile(observation, (1, 1, self._frames))
        self._labels.clear()
        return self._stack.copy(), self._change_info(info)

    def step(self, action: Any) -> tuple[Image, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take an action."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._stack = np.concatenate([self._stack[..., self._channels :], observation], axis=-1)
        return self._stack.copy(), reward, terminated, truncated, self._change_info(info)

    @property
    def image_stack(self) -> ImageStack:
        """The number of frames in an observation, and which of their label maps comes with it."""
        return ImageStack(self._frames, self._stack_labels)

    def _change_info(self, info: dict[str, Any]) -> dict[str, Any]:
        if KEY not in info:
            return info
        self._labels.appendleft(info[KEY].copy())
        return {**info, KEY: union_labels(self._labels)}


class SegmentedFrameSkip(AttributeState, Copyable, gymnasium.Wrapper[Any, Any, Any, Any]):
    """Repeats each action, sums the rewards and returns the pixelwise maximum of the last raw frames.

    The label map is the union over the same frames, newer over older. If an episode ends early, the maximum is over the
    raw frames of this step only, never of the step before. ``reset`` returns its single frame.

    Args:
        env: gives images ``uint8[H, W, C]``.
        skip: how often an action is repeated.
        pool: number of last raw frames in the maximum, at most ``skip``.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], skip: int = 4, pool: int = 2) -> None:
        super().__init__(env)
        image_shape(env.observation_space)
        if not 1 <= pool <= skip:
            raise ValueError(f"skip and pool must satisfy 1 <= pool <= skip, got skip={skip}, pool={pool}")
        self._skip, self._pool = skip, pool

    def step(self, action: Any) -> tuple[Image, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take an action ``skip`` times, or until the episode ends."""
        frames: deque[Image] = deque(maxlen=self._pool)
        labels: deque[LabelMap] = deque(maxlen=self._pool)
        total, terminated, truncated = 0.0, False, False
        info: dict[str, Any] = {}
        for _ in range(self._skip):
            observation, reward, terminated, truncated, info = self.env.step(action)
            frames.append(observation.copy())
            if KEY in info:
                labels.appendleft(info[KEY].copy())
            total += float(reward)
            if terminated or truncated:
                break
        if labels:
            info = {**info, KEY: union_labels(labels)}
        return pool_frames(frames), total, terminated, truncated, info
