"""An environment whose agent sees only objects: every observation is drawn from an image and its label map."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from camal_rl.envs.copies import Copyable
from camal_rl.envs.counterfactual import Counterfactual, CounterfactualEnv, Intervention, find_counterfactual
from camal_rl.envs.gym_adapter import check_label_map
from camal_rl.envs.masking import Images, Masking, find_masking
from camal_rl.envs.saved_values import AttributeState
from camal_rl.envs.segmentation import TERMINAL_KEY, LabelMap, SegmentedVecEnv, find_segmented, find_wrapped
from camal_rl.envs.wrappers import image_shape
from camal_rl.state_tree import from_bytes, to_bytes


class MaskedVecEnv(AttributeState, Copyable, VecEnvWrapper, SegmentedVecEnv, CounterfactualEnv):
    """Applies a masking to every observation, in training and whenever the agent acts.

    Observations after an automatic reset, and ``terminal_observation``, are masked with their own label maps. If the
    environment stacks frames (:class:`camal_rl.envs.wrappers.SegmentedFrameStack`), each frame of the stack is masked
    with its own label map, as if frames were masked before stacking. A wrapper around this environment that stacks
    frames (SB3's ``VecFrameStack``) receives masked frames.

    Args:
        venv: an environment with segmentation and images ``uint8[num_envs, H, W, C]``.
        masking: a name of :data:`camal_rl.envs.masking.MASKINGS`, or the path of a masking of your own.

    Raises:
        ValueError: an unknown masking, an environment without masks or without images, or a frame stack whose label map
            is the union of several frames.
        TypeError: the object at the path is not a masking.
    """

    state_attributes = ("_images", "_labels")
    fixed_attributes = ("_masking",)

    def __init__(self, venv: VecEnv, masking: str) -> None:
        self._draw = find_masking(masking)
        segmented = find_segmented(venv)
        if segmented is None or not segmented.has_segmentation:
            raise ValueError(
                f"masking {masking!r} needs an environment with segmentation; make it with camal_rl.envs.make_vec and "
                "masks switched on, or with make_segmented_vec(MyEnv, num_envs) for your own Gymnasium environment"
            )
        self._segmented, self._masking = segmented, masking
        height, width, channels = image_shape(venv.observation_space)
        self._stack = segmented.image_stack
        if self._stack.labels != "newest":
            raise ValueError(
                f"masking {masking!r} needs the label map of each frame, but this environment's frame stack has their "
                f"{self._stack.labels}; make it with the labels of the newest frame (stack_labels: newest)"
            )
        drawn = self._stack.frames * self._draw.channels(channels // self._stack.frames)
        super().__init__(venv, spaces.Box(0, 255, (height, width, drawn), np.uint8))
        self.spec = segmented.spec
        self._images: Images | None = None
        self._labels: LabelMap = np.zeros((self.num_envs, self._stack.frames, height, width), dtype=np.uint8)

    def __getstate__(self) -> dict[str, Any]:
        """Return all attributes except ``class_attributes``, which cannot be pickled."""
        return {name: value for name, value in vars(self).items() if name != "class_attributes"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the attributes, and rebuild ``class_attributes`` as SB3 does."""
        vars(self).update(state, class_attributes=dict(inspect.getmembers(type(self))))

    @property
    def masking(self) -> str:
        """The name of the masking."""
        return self._masking

    @property
    def images(self) -> Images:
        """The current images without masking, ``uint8[num_envs, H, W, C]``.

        Raises:
            RuntimeError: read before the first :meth:`reset`.
        """
        if self._images is None:
            raise RuntimeError("there is no image before the first reset(); call reset() first")
        return self._images.copy()

    def reset(self) -> VecEnvObs:
        """Start a new episode in every environment and return the masked observations."""
        images = self._checked(self.venv.reset())
        self.reset_infos = self.venv.reset_infos
        self._labels[:] = self._segmented.segmentation()[:, None]
        return self._seen(images)

    def step_wait(self) -> VecEnvStepReturn:
        """Return the masked observations after a step, with rewards, dones and infos."""
        observations, rewards, dones, infos = self.venv.step_wait()
        images, labels = self._checked(observations), self._segmented.segmentation()
        found = [self._terminal(index, info) if dones[index] else info for index, info in enumerate(infos)]
        self.reset_infos = self.venv.reset_infos
        self._labels = np.concatenate([self._labels[:, 1:], labels[:, None]], axis=1)
        ended = np.flatnonzero(dones)
        self._labels[ended] = labels[ended][:, None]
        return self._seen(images), rewards, dones, found

    def segmentation(self) -> LabelMap:
        """Return the label maps ``uint8[num_envs, H, W]`` of the current observations."""
        return self._segmented.segmentation()

    def drawn_as(self, masking: str) -> Images:
        """Return the current observations with another masking.

        Raises:
            ValueError, TypeError: as for :func:`~camal_rl.envs.masking.find_masking`.
        """
        return self._masked(self.images, self._labels, find_masking(masking))

    def interventions(self) -> tuple[Intervention, ...]:
        """Return the simulator's interventions if it labels redrawn frames too; otherwise none."""
        inner = find_counterfactual(self.venv)
        return inner.interventions() if inner is not None and inner.labels_redrawn else ()

    def counterfactual(self, intervention: Intervention) -> Counterfactual:
        """Return the masked observations of the current state under an intervention.

        ``changed`` and ``applies`` describe the frames without masking: an intervention on the background applies even
        if it does not change what the agent sees.

        Raises:
            ValueError: not one of :meth:`interventions`.
        """
        inner = find_counterfactual(self.venv)
        if inner is None:
            raise ValueError(f"unknown intervention {intervention.name!r}; this environment has: none")
        drawn, labels = inner.counterfactual(intervention), inner.redrawn_labels(intervention)
        images = self._masked(drawn.images, labels[:, None], self._draw)
        return Counterfactual(images, drawn.changed, drawn.applies)

    def get_state(self) -> list[bytes]:
        """Return the state of every environment, with its current image and label maps."""
        own = zip(cast(Any, self.venv).get_state(), self.images, self._labels, strict=True)
        return [to_bytes({"env": env, "image": image, "labels": labels}) for env, image, labels in own]

    def set_state(self, states: Sequence[bytes]) -> npt.NDArray[np.uint8]:
        """Put every environment into a state from :meth:`get_state` and return the masked observations."""
        found = [from_bytes(each) for each in states]
        cast(Any, self.venv).set_state([each["env"] for each in found])
        self._labels = np.stack([each["labels"] for each in found])
        return self._seen(np.stack([each["image"] for each in found]))

    def _checked(self, observations: Any) -> Images:
        images = np.asarray(observations)
        shape = self._segmented.segmentation().shape
        if images.shape[:3] != shape:
            raise ValueError(
                f"masking {self.masking!r} needs a label for every pixel of images with channels last, got images "
                f"{images.shape[1:]} and label maps {shape[1:]}"
            )
        return images

    def _seen(self, images: Images) -> Images:
        self._images = images
        return self._masked(images, self._labels, self._draw)

    def _terminal(self, index: int, info: dict[str, Any]) -> dict[str, Any]:
        """Return the info of an environment whose episode ended, with a masked ``terminal_observation``."""
        if info.get("terminal_observation") is None:
            return info
        found = {key: value for key, value in info.items() if key != TERMINAL_KEY}
        if TERMINAL_KEY not in info:
            raise ValueError(
                f"environment {index} returned terminal_observation without its label map; put the label map into "
                f"infos[{index}][{TERMINAL_KEY!r}], or leave terminal_observation out"
            )
        image = info["terminal_observation"]
        last = check_label_map(info[TERMINAL_KEY], image.shape[:2], f"infos[{index}][{TERMINAL_KEY!r}]")
        labels = np.concatenate([self._labels[index, 1:], last[None]])
        found["terminal_observation"] = self._masked(image[None], labels[None], self._draw)[0]
        return found

    def _masked(self, images: Images, labels: LabelMap, masking: Masking) -> Images:
        """Mask frame stacks ``[N, H, W, K * C]`` with the label maps ``[N, K, H, W]`` of their frames."""
        count, height, width, _ = images.shape
        frames = labels.shape[1]
        single = np.moveaxis(images.reshape(count, height, width, frames, -1), 3, 1)
        drawn = masking.draw(
            single.reshape(count * frames, height, width, -1), labels.reshape(count * frames, height, width), self.spec
        )
        stacked = np.moveaxis(drawn.reshape(count, frames, height, width, -1), 1, 3)
        return np.ascontiguousarray(stacked.reshape(count, height, width, -1), dtype=np.uint8)


def images_seen(venv: VecEnv, observations: Images, masking: str | None) -> Images:
    """Return the current observations with a masking; ``None`` returns the images without masking.

    Args:
        venv: the environment; if it contains no :class:`MaskedVecEnv`, the result is ``observations``.
        observations: its current observations.
        masking: a name of :data:`camal_rl.envs.masking.MASKINGS`, or a path.
    """
    masked = find_wrapped(venv, MaskedVecEnv)
    if masked is None:
        return observations
    return masked.images if masking is None else masked.drawn_as(masking)
