"""A task of the DeepMind Control Suite as a single Gymnasium environment with images and their label maps."""

from __future__ import annotations

import copy
import weakref
from collections import deque
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from camal_rl.envs.copies import FROM_OUTSIDE, Copyable
from camal_rl.envs.counterfactual import Intervention, require_known
from camal_rl.envs.dm_control.camera import pose_of_level
from camal_rl.envs.dm_control.counterfactual import dm_control_interventions, edited
from camal_rl.envs.dm_control.looks import ORIGINAL, Look, look_of_level, painted
from camal_rl.envs.dm_control.options import DmControlOptions, parse_options
from camal_rl.envs.dm_control.renderer import Classes, Visuals
from camal_rl.envs.dm_control.shared import SharedRenderer
from camal_rl.envs.dm_control.simulation import Simulation
from camal_rl.envs.dm_control.tasks import EPISODE_STEPS
from camal_rl.envs.episodes import EpisodeOrder
from camal_rl.envs.levels import EVERY_LEVEL, SeededLevels
from camal_rl.envs.option_checks import check_render_mode
from camal_rl.envs.saved_values import AttributeState
from camal_rl.envs.segmentation import ImageStack, LabelMap
from camal_rl.envs.wrappers import Image, union_labels

Action = npt.NDArray[np.float32]
_LARGE_SIDE = 320


class Moment(NamedTuple):
    """The state that a frame of the stack shows: positions of the model, and the step of the simulator."""

    positions: npt.NDArray[np.float64]
    step: int


class DmControlEnv(AttributeState, Copyable, gymnasium.Env[Image, Action]):
    """One task, with the label map of each observation as ``info["segmentation"]``.

    The seed of ``reset`` is the level. Observations are ``uint8[84, 84, 9]`` by default: three frames in color, the
    newest last. Actions are ``float32[A]`` in [-1, 1], scaled to the range of each actuator. An episode is truncated
    after 1000 steps of the simulator and never terminates.

    Args:
        options: see :class:`~camal_rl.envs.dm_control.options.DmControlOptions`; the level range is not used here.
        render_mode: ``rgb_array`` for large images of the same view, or ``None``.

    Attributes:
        action_names: the actuator that each number of an action drives.

    Raises:
        MissingExtraError: the suite is not installed.
        NoRendererError: OpenGL cannot draw on this machine.
    """

    fixed_attributes = ("options",)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012, Gymnasium's own declaration

    def __init__(self, options: DmControlOptions, render_mode: str | None = None) -> None:
        check_render_mode(render_mode)
        self.render_mode, self.options = render_mode, options
        self.segmentation_spec = options.spec()
        self._simulation = Simulation(options.task)
        self._classes = Classes(self._simulation.model, options.task)
        self._interventions = dm_control_interventions(options.task)
        self._renderers = {side: self._shared_renderer(side) for side in (options.size, _LARGE_SIDE)}
        count, shape = options.frame_stack, (options.size, options.size)
        self.observation_space = spaces.Box(0, 255, (*shape, 3 * count), np.uint8)
        self.action_space = spaces.Box(-1, 1, (self._simulation.num_actuators,), np.float32)
        self.action_names = self._simulation.actuator_names
        self._level, self._episode = 0, EpisodeOrder()
        self._look, self._visuals = ORIGINAL, Visuals(self._simulation.model, self._classes, ORIGINAL)
        self._frames: deque[Image] = deque(maxlen=count)
        self._labels: deque[LabelMap] = deque(maxlen=count)
        self._moments: deque[Moment] = deque(maxlen=count)

    def _shared_renderer(self, side: int) -> SharedRenderer:
        renderer = SharedRenderer(self.options.name, self._simulation.model, self._classes, side)
        weakref.finalize(self, renderer.release)
        return renderer

    @property
    def image_stack(self) -> ImageStack:
        """Number of frames in an observation, and which of them its label map describes."""
        return ImageStack(self.options.frame_stack, self.options.stack_labels)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Image, dict[str, Any]]:
        """Start the level of a seed; without a seed, draw a level from the environment's generator."""
        super().reset(seed=seed)
        self._level = int(self.np_random.integers(EVERY_LEVEL)) if seed is None else seed
        self._simulation.start(self._level)
        self._dress()
        self._episode.start()
        self._look_at()
        for _ in range(self.options.frame_stack - 1):
            self._frames.append(self._frames[-1])
            self._labels.append(self._labels[-1])
            self._moments.append(self._moments[-1])
        return self._observation(), self._info()

    def step(self, action: Action) -> tuple[Image, float, bool, bool, dict[str, Any]]:
        """Apply an action for ``action_repeat`` steps of the simulator, or fewer at the end of an episode.

        Raises:
            NoEpisodeError: before a reset, or after the end of an episode.
            ValueError: the action is not in the action space.
        """
        self._episode.require()
        given = np.asarray(action, dtype=np.float32)
        if not self.action_space.contains(given):
            raise ValueError(f"the action must be {self._simulation.num_actuators} numbers in [-1, 1], got {action!r}")
        reward = 0.0
        for _ in range(min(self.options.action_repeat, EPISODE_STEPS - self._simulation.steps)):
            reward += self._simulation.step(given)
        truncated = self._simulation.steps >= EPISODE_STEPS
        self._episode.end(truncated)
        self._look_at()
        return self._observation(), reward, False, truncated, self._info()

    def get_state(self) -> dict[str, Any]:
        """Return the state of the simulation, the level, and the frames of the stack."""
        return {
            "simulation": self._simulation.state(),
            "level": self._level,
            "running": self._episode.running,
            "frames": [each.copy() for each in self._frames],
            "labels": [each.copy() for each in self._labels],
            "moments": [{"positions": each.positions.copy(), "step": each.step} for each in self._moments],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`get_state`."""
        self._simulation.set_state(state["simulation"])
        self._level = state["level"]
        self._dress()
        self._episode.running = state["running"]
        for name in ("frames", "labels"):
            own = getattr(self, f"_{name}")
            own.clear()
            own.extend(each.copy() for each in state[name])
        self._moments.clear()
        self._moments.extend(Moment(each["positions"].copy(), each["step"]) for each in state["moments"])

    def __getstate__(self) -> dict[str, Any]:
        """Return what :meth:`__setstate__` needs: arguments, state, and attributes that were set from outside."""
        from_outside = {key: vars(self)[key] for key in FROM_OUTSIDE if key in vars(self)}
        return {
            "arguments": (self.options, self.render_mode),
            "state": self.get_state() if self._frames else None,
            "from_outside": copy.deepcopy(from_outside),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the environment."""
        self.__init__(*state["arguments"])  # type: ignore[misc]
        if state["state"] is not None:
            self.set_state(state["state"])
        vars(self).update(state["from_outside"])

    def interventions(self) -> tuple[Intervention, ...]:
        """Return the interventions under which the current observation can be redrawn."""
        return self._interventions

    def redraw(self, intervention: Intervention) -> tuple[Image, Image]:
        """Return the current observation, and its frames redrawn under an intervention (or the identity).

        Raises:
            ValueError: unknown intervention, or nothing to redraw before the first reset.
        """
        frames = [image for image, _ in self._redrawn(intervention, labeled=False)]
        return self._observation(), np.concatenate(frames, axis=-1)

    def redrawn_labels(self, intervention: Intervention) -> LabelMap:
        """Return the label map ``uint8[size, size]`` of the observation that :meth:`redraw` returns.

        Raises:
            ValueError: unknown intervention, nothing to redraw before the first reset, or masks are switched off.
        """
        if self.options.segmentation is None:
            raise ValueError("masks are switched off; make the environment with segmentation='silhouette'")
        return self._chosen_labels([labels for _, labels in self._redrawn(intervention, labeled=True)])

    def _redrawn(self, intervention: Intervention, labeled: bool) -> list[tuple[Image, LabelMap]]:
        require_known(intervention, self._interventions)
        if not self._moments:
            raise ValueError("there is nothing to redraw yet; call reset first")
        look = edited(self._look, intervention)
        visuals = Visuals(self._simulation.model, self._classes, look)
        found: list[tuple[Image, LabelMap]] = []
        for index, moment in enumerate(self._moments):
            if index and moment is self._moments[index - 1]:
                found.append(found[-1])
                continue
            data = self._simulation.at(moment.positions)
            found.append(self._draw(data, look, visuals, moment.step, self.options.size, labeled))
        return found

    def render(self) -> Image | None:
        """Return the current view as ``uint8[320, 320, 3]``, or ``None`` without a render mode."""
        if self.render_mode is None:
            return None
        steps = self._simulation.steps
        return self._draw(self._simulation.data, self._look, self._visuals, steps, _LARGE_SIDE, labeled=False)[0]

    def close(self) -> None:
        """End the episode and release the renderers; calling it again changes nothing."""
        self._episode.end(True)
        for renderer in self._renderers.values():
            renderer.release()

    def _dress(self) -> None:
        """Set the level's look, and read the fields that the task has set in its model."""
        self._look = look_of_level(self.options.appearance, self._level)
        self._visuals = Visuals(self._simulation.model, self._classes, self._look)

    def _look_at(self) -> None:
        """Draw the current state as the newest frame of the stack."""
        simulation, labeled = self._simulation, self.options.segmentation is not None
        image, labels = self._draw(
            simulation.data, self._look, self._visuals, simulation.steps, self.options.size, labeled
        )
        self._frames.append(image)
        self._labels.append(labels)
        self._moments.append(Moment(simulation.positions(), simulation.steps))

    def _draw(
        self, data: Any, look: Look, visuals: Visuals, step: int, side: int, labeled: bool
    ) -> tuple[Image, LabelMap]:
        """Return an image and its label map, which is empty if it is not needed."""
        pose = pose_of_level(self._level, step) if self.options.camera == "moving" else None
        renderer = self._renderers[side].get()
        image, labels = renderer.draw(data, visuals, self.options.task.camera, pose, labeled or look.painted_over)
        if labels is None:
            return image, np.zeros((0, 0), dtype=np.uint8)
        return painted(image, labels, look, self._classes.names, self._level, step), labels

    def _observation(self) -> Image:
        return np.concatenate(self._frames, axis=-1)

    def _info(self) -> dict[str, Any]:
        if self.options.segmentation is None:
            return {}
        return {"segmentation": self._chosen_labels(list(self._labels))}

    def _chosen_labels(self, oldest_first: list[LabelMap]) -> LabelMap:
        if self.options.stack_labels == "newest":
            return oldest_first[-1].copy()
        return union_labels(reversed(oldest_first))


def make_env(name: str, render_mode: str | None = None, **options: Any) -> SeededLevels:
    """Make one environment that plays the levels of its range: ``make_env("cartpole-swingup", num_levels=200)``.

    Raises:
        TypeError: unknown option.
        ValueError: unknown task or a wrong value.
        MissingExtraError: the suite is not installed.
    """
    parsed = parse_options(name, options)
    return SeededLevels(DmControlEnv(parsed, render_mode), parsed.start_level, parsed.num_levels)


# Gymnasium reads the render modes from this attribute, and opens a window for render_mode="human" itself.
setattr(make_env, "metadata", DmControlEnv.metadata)  # noqa: B010
