"""Procgen as a native Stable-Baselines3 ``VecEnv`` with segmentation from simulator state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from camal_rl.envs.copies import Copyable
from camal_rl.envs.counterfactual import Counterfactual, CounterfactualEnv, Intervention
from camal_rl.envs.episodes import EpisodeStatistics
from camal_rl.envs.procgen.classes import GAMES
from camal_rl.envs.procgen.counterfactual import DrawnObject, Redrawer, drawn_objects, procgen_interventions
from camal_rl.envs.procgen.options import check_seed, parse_options
from camal_rl.envs.procgen.silhouette import mask_renderer
from camal_rl.envs.procgen.simulator import Simulator, StepResult
from camal_rl.envs.procgen.state import check_states, current_time
from camal_rl.envs.saved_values import NotSavableError, WholeStateVecEnv
from camal_rl.envs.segmentation import LabelMap, SegmentedVecEnv

NUM_ACTIONS = 15
FRAME_SHAPE = (64, 64, 3)
RENDER_FPS = 15
# Procgen's order of key combinations; what D, A, W, S, Q and E do differs from game to game.
ACTION_NAMES = (
    *("left down", "left", "left up", "down", "none", "up", "right down", "right", "right up"),
    *(f"key {letter}" for letter in "DAWSQE"),
)
_END_EPISODE = -1
SEGMENTATIONS = ("box", "silhouette", None)


class ProcgenVecEnv(Copyable, SegmentedVecEnv, CounterfactualEnv, WholeStateVecEnv):
    """``num_envs`` copies of a Procgen game, stepped together by the simulator's threads.

    Observations are ``uint8[num_envs, 64, 64, 3]``, actions ``Discrete(15)``. As Stable-Baselines3 expects, the
    observation of a step that ends an episode is the first frame of the next one. Procgen has two peculiarities:

    * The simulator replaces the last frame of an episode before it can be read, so there is no
      ``terminal_observation`` in ``infos``.
    * The simulator does not report whether an episode ended by itself or by its time limit (500 to 6,000 steps, by
      game), so every end counts as a termination, as in published Procgen results.

    Each of ``infos`` holds ``level_seed`` (of the observation), ``prev_level_seed`` and ``prev_level_complete`` (of the
    level played in this step), and ``episode`` (``r``, ``l``, ``t``, as SB3's Monitor has it) when an episode ended.

    A copy (``copy.deepcopy``, ``pickle``) has its own simulators in the same states, and continues identically.

    Args:
        game: one of the 16 games.
        num_envs: number of copies.
        seed: seed of the level sampling, in [0, 2^31).
        segmentation: ``"box"`` fills each object's box; ``"silhouette"`` follows its sprite, pixel by pixel;
            ``None`` switches masks off, at no cost.
        relevant: class names that replace the game's default relevant set.
        **options: see :class:`~camal_rl.envs.procgen.options.ProcgenOptions`.

    Raises:
        TypeError: unknown option, or one of the wrong type.
        ValueError: a value that the game does not have.
        MissingExtraError: Procgen is not installed.
    """

    labels_redrawn = True

    def __init__(
        self,
        game: str,
        num_envs: int,
        seed: int,
        *,
        segmentation: str | None = "box",
        relevant: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        if game not in GAMES:
            raise ValueError(f"unknown Procgen game {game!r}; the games are {', '.join(GAMES)}")
        parsed = parse_options(game, options)
        if segmentation not in SEGMENTATIONS:
            raise ValueError(f"segmentation must be 'box', 'silhouette' or None for Procgen, got {segmentation!r}")
        if segmentation is not None and parsed.use_generated_assets:
            raise ValueError("Procgen has no masks with use_generated_assets=True; add segmentation=None")
        self.game = game
        self.spec = GAMES[game].spec.with_relevant(relevant)
        self.options = parsed
        self.segmentation_mode = segmentation
        self._seed = check_seed(seed)
        self._redrawer: Redrawer | None = None
        super().__init__(num_envs, spaces.Box(0, 255, FRAME_SHAPE, np.uint8), spaces.Discrete(NUM_ACTIONS))
        self.render_mode = "rgb_array"
        self.metadata = {**self.metadata, "render_fps": RENDER_FPS}  # type: ignore[dict-item]
        self._statistics = EpisodeStatistics(num_envs)
        self._acting = False
        self._start_simulators()

    def _start_simulators(self) -> None:
        arguments = self.options.simulator_arguments()
        self._real = Simulator(self.game, self.num_envs, self._seed, arguments)
        self._mask_renderer = mask_renderer(self.game, self._real, self._seed, self.segmentation_mode, arguments)
        self._current = self._real.observe()
        self._started, self._needs_restart = False, False
        self._statistics.restart()

    def __getstate__(self) -> dict[str, Any]:
        """Return the states of the simulators, and all attributes except the simulators themselves.

        Raises:
            TypeError: the environment is closed, has generated assets, or a step is under way.
        """
        try:
            whole = self.whole_state()
        except (NotSavableError, ValueError) as error:
            raise TypeError(f"a Procgen environment cannot be copied or pickled here: {error}") from None
        simulators = ("_real", "_mask_renderer", "_redrawer", "_current")
        return {**{name: value for name, value in vars(self).items() if name not in simulators}, "_whole": whole}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start simulators in the states of the original, and continue its episode statistics."""
        kept = {**state}
        whole = kept.pop("_whole")
        vars(self).update(kept)
        self._redrawer = None
        self._start_simulators()
        self.set_whole_state(whole)

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the actions: Procgen's combinations of keys."""
        return ACTION_NAMES

    @property
    def has_segmentation(self) -> bool:
        """Whether masks are switched on."""
        return self._mask_renderer is not None

    @property
    def num_mask_resyncs(self) -> int:
        """How often a mask simulator's state differed from the real one's and was copied again; 0 is expected."""
        return 0 if self._mask_renderer is None else self._mask_renderer.num_resyncs

    def reset(self) -> npt.NDArray[np.uint8]:
        """Start a new episode in every environment and return the first frames.

        The first call returns the episodes that the simulator started with. Later calls end every episode and continue
        the level sampling. After :meth:`seed` the simulator is made again, so that the seed reproduces the levels.
        """
        if self._needs_restart:
            self._close_simulators()
            self._start_simulators()
        elif self._started:
            self._advance(np.full(self.num_envs, _END_EPISODE, dtype=np.int32))
        self._statistics.restart()
        self._started = True
        self.reset_infos = [{"level_seed": int(seed)} for seed in self._current.level_seeds]
        return self._current.frames

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Start a step with ``int[num_envs]`` actions in [0, 15).

        Raises:
            ValueError: wrong number of actions, or an action out of range (the simulator would take -1 as a reset).
        """
        chosen = np.asarray(actions)
        if chosen.size != self.num_envs or chosen.min() < 0 or chosen.max() >= NUM_ACTIONS:
            raise ValueError(f"expected {self.num_envs} actions in [0, {NUM_ACTIONS - 1}], got {chosen.tolist()}")
        self._act(chosen.astype(np.int32).reshape(self.num_envs))

    def step_wait(self) -> VecEnvStepReturn:
        """Return observations, rewards, episode ends and infos of the step."""
        result = self._observe()
        self._started = True
        self._statistics.step(result.rewards, result.first, result.infos)
        for index in np.flatnonzero(result.first):
            self.reset_infos[index] = {"level_seed": int(result.level_seeds[index])}
        return result.frames, result.rewards, result.first, result.infos

    def _advance(self, actions: npt.NDArray[np.int32]) -> None:
        self._act(actions)
        self._observe()

    def _act(self, actions: npt.NDArray[np.int32]) -> None:
        self._acting = True
        self._real.act(actions)
        if self._mask_renderer is not None:
            self._mask_renderer.act(actions)

    def _observe(self) -> StepResult:
        self._current = self._real.observe()
        self._acting = False
        if self._mask_renderer is not None:
            self._mask_renderer.check_step(self._current)
        return self._current

    def observations(self) -> npt.NDArray[np.uint8]:
        """Return the current observations again, ``uint8[num_envs, 64, 64, 3]``."""
        return self._current.frames

    def segmentation(self) -> LabelMap:
        """Return the label maps ``uint8[num_envs, 64, 64]`` of the current observations.

        Raises:
            ValueError: the environment was made with ``segmentation=None``.
        """
        if self._mask_renderer is None:
            raise ValueError("masks are switched off; make the environment with segmentation='box' or 'silhouette'")
        return self._mask_renderer.labels().copy()

    def get_state(self) -> list[bytes]:
        """Return the simulator states, one per environment."""
        return [self._real.get_state(index) for index in range(self.num_envs)]

    def set_state(self, states: Sequence[bytes]) -> npt.NDArray[np.uint8]:
        """Put every environment into a state of the same game and return the frames; masks then match them.

        A state contains its level set and drawing options. It contains no episode returns and lengths, which restart at
        0.

        Raises:
            ValueError: wrong number of states, states of another game, or, with silhouettes, states with another
                ``use_monochrome_assets``.
        """
        monochrome = self.options.use_monochrome_assets if self.segmentation_mode == "silhouette" else None
        check_states(states, self.num_envs, self.game, monochrome)
        for index, state in enumerate(states):
            self._real.set_state(index, state)
        self._current = self._real.observe()
        if self._mask_renderer is not None:
            self._mask_renderer.expect_new_states([current_time(state) for state in states])
        self._started = True
        self._statistics.restart()
        return self._current.frames

    def whole_state(self) -> dict[str, Any]:
        """Return the simulators' states, and the returns and lengths of the episodes under way.

        Raises:
            NotSavableError: generated assets, which have no states.
            ValueError: a step is under way, or the environment is closed.
        """
        if self.options.use_generated_assets:
            raise NotSavableError("Procgen cannot save states with use_generated_assets=True")
        if self._acting:
            raise ValueError("a step is under way: save or copy the environment after step_wait()")
        return {
            "states": self.get_state(),
            "statistics": self._statistics.state(),
            "started": self._started,
            "seed": self._seed if self._needs_restart else None,
            "masks": None if self._mask_renderer is None else self._mask_renderer.state(),
        }

    def set_whole_state(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`whole_state` returned."""
        self.set_state(state["states"])
        self._statistics.set_state(state["statistics"])
        self._started, self._needs_restart = state["started"], state["seed"] is not None
        self._seed = self._seed if state["seed"] is None else state["seed"]
        if self._mask_renderer is not None:
            self._mask_renderer.set_state(state["masks"])

    def whole_state_options(self) -> dict[str, str]:
        """Return the game, its options and the kind of masks."""
        return {"game": self.game, "segmentation": str(self.segmentation_mode), **self.options.of_a_state()}

    def interventions(self) -> tuple[Intervention, ...]:
        """Return the interventions: backgrounds, themes and removals, as far as the game and the options allow."""
        return procgen_interventions(self.game, self.options)

    def counterfactual(self, intervention: Intervention) -> Counterfactual:
        """Return the current observations redrawn under an intervention; the game itself does not change.

        The first call starts a second simulator for drawing.

        Raises:
            ValueError: not one of :meth:`interventions`, or generated assets, which have no states.
        """
        return self._redraw().counterfactual(self.get_state(), self._current.frames, intervention)

    def redrawn_labels(self, intervention: Intervention) -> LabelMap:
        """Return the label maps ``uint8[num_envs, 64, 64]`` of the images from :meth:`counterfactual`.

        Raises:
            ValueError: not one of :meth:`interventions`, or masks are switched off.
        """
        return self._redraw().labels(self.get_state(), self._current.frames, intervention)

    def objects(self) -> list[list[DrawnObject]]:
        """Return the objects in sight of every environment, including the agent, without terrain and displays."""
        return [drawn_objects(state, self.game) for state in self.get_state()]

    def counterfactual_without(self, objects: Sequence[DrawnObject | None]) -> Counterfactual:
        """Return the current observations, each without one object from :meth:`objects`; ``None`` removes nothing.

        Raises:
            ValueError: the number of objects is not the number of environments.
        """
        return self._redraw().without(self.get_state(), self._current.frames, objects)

    def _redraw(self) -> Redrawer:
        if self._redrawer is None:
            game, kind = self.game, self.segmentation_mode
            self._redrawer = Redrawer(game, self.num_envs, self.options, self.spec.relevant, kind)
        return self._redrawer

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Make the simulator again with this seed at the next :meth:`reset`; ``None`` changes nothing."""
        if seed is not None:
            self._seed = check_seed(seed)
            self._needs_restart = True
        return [seed] * self.num_envs

    def close(self) -> None:
        """End the simulators' threads; harmless when repeated."""
        self._close_simulators()
        if self._redrawer is not None:
            self._redrawer.close()
            self._redrawer = None

    def _close_simulators(self) -> None:
        self._real.close()
        if self._mask_renderer is not None:
            self._mask_renderer.close()

    def get_images(self) -> list[npt.NDArray[np.uint8]]:
        """Return the frames that ``render("rgb_array")`` tiles: observations, or 512 x 512 pixels if requested."""
        return list(self._current.pictures or self._current.frames)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of this object once per environment: the copies share everything."""
        value = "rgb_array" if attr_name == "render_mode" else getattr(self, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Raise an AttributeError: the copies live inside the simulator and have no attributes of their own."""
        raise AttributeError(f"Procgen environments have no attribute {attr_name!r} to set; give options to make_vec")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Raise an AttributeError: the copies live inside the simulator and have no methods of their own."""
        raise AttributeError(f"Procgen environments have no method {method_name!r}; call it on the vectorized one")

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """Return for each environment whether it acts like a wrapper: it reports episodes like ``Monitor``."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]
