"""Explains a trained run: a contact sheet of its attention, a video of episodes, and an episode viewer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.vec_env import VecEnvWrapper

from camal_rl.agents import CamalConfig
from camal_rl.attention import CamMethod
from camal_rl.envs import LabelMap, SegmentedVecEnv
from camal_rl.overlays import RGBImage
from camal_rl.rl.action_names import action_names
from camal_rl.rl.algorithms import TrainedAgent, attentive_policy
from camal_rl.rl.config import ExperimentConfig, agent_run_config
from camal_rl.rl.environments import level_set_options, make_level_set_env
from camal_rl.rl.evaluate.returns import Actor
from camal_rl.rl.explain.contact_sheet import SheetText, write_contact_sheet
from camal_rl.rl.explain.episode import record_episode
from camal_rl.rl.explain.episode_page import Labels, PageText, write_episode_page
from camal_rl.rl.explain.episode_video import VideoText, episode_pictures
from camal_rl.rl.explain.video_file import check_video_support, write_mp4
from camal_rl.rl.explain.what_if import Witness
from camal_rl.rl.frames import sample_frames
from camal_rl.rl.model_file import load_model
from camal_rl.rl.policy_outputs import policy_outputs
from camal_rl.runs.folders import unique_name
from camal_rl.runs.run_folder import RunFolder

OnProgress = Callable[[str, int, int | None], None]
"""Called with the activity, how much of it is done, and the total (``None`` if unknown)."""

_HOLD_SECONDS = 1
PAGE_STEPS = 300
"""Maximum number of steps on an episode's page, which contains every frame and its redrawn versions."""


@dataclass(frozen=True)
class ExplanationSettings:
    """Settings of an explanation.

    Attributes:
        level_set: level set of the environment to play.
        camal: defines the maps (method, rectification).
        frames: number of rows of the contact sheet.
        episodes: number of episodes in the video; 0 writes none.
        deterministic: preferred instead of sampled actions, on the sheet and in the video.
        seed: seed of the levels and actions.
        fps: frames per second of the video.
        page: whether to write the page of the first episode.
    """

    level_set: str
    camal: CamalConfig
    frames: int = 6
    episodes: int = 1
    deterministic: bool = False
    seed: int = 10_000
    fps: int = 10
    page: bool = True

    def __post_init__(self) -> None:
        """Check ranges."""
        for name, low in (("frames", 1), ("episodes", 0), ("seed", 0), ("fps", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, got {getattr(self, name)}")


def explanation_settings(
    config: ExperimentConfig,
    level_set: str | None = None,
    method: str | None = None,
    seed: int | None = None,
    **given: Any,
) -> ExplanationSettings:
    """Return the settings of an explanation, with the run's own settings as defaults.

    Args:
        config: the run's configuration.
        level_set: by default the last of ``evaluation.attention_sets``.
        method: CAM method; by default ``camal.method``.
        seed: by default ``evaluation.seed``.
        **given: further attributes of :class:`ExplanationSettings`.

    Raises:
        ValueError: an unknown level set (the message names the nearest) or method, or a number out of range.
    """
    name = config.evaluation.attention_sets[-1] if level_set is None else level_set
    level_set_options(config.env, name)
    # CamalConfig checks the name.
    camal = config.camal if method is None else replace(config.camal, method=cast(CamMethod, method))
    return ExplanationSettings(name, camal, seed=config.evaluation.seed if seed is None else seed, **given)


@dataclass(frozen=True)
class Explanation:
    """An explanation that is ready to be drawn: model and environments exist, nothing is on disk yet.

    Attributes:
        config: the run's configuration.
        settings: the settings of the explanation.
        model: the run's model.
        sheet_venv: environment of the contact sheet.
        video_venv: environment of the video, ``None`` without one.
        page_venv: environment of the page, ``None`` without one.
        no_segmentation: the reason for missing segmentation, ``None`` if it is available.
    """

    config: ExperimentConfig
    settings: ExplanationSettings
    model: TrainedAgent
    sheet_venv: SegmentedVecEnv
    video_venv: SegmentedVecEnv | None
    page_venv: SegmentedVecEnv | None
    no_segmentation: str | None

    def close(self) -> None:
        """Close the environments."""
        for venv in (self.sheet_venv, self.video_venv, self.page_venv):
            if venv is not None:
                venv.close()


def prepare_explanation(folder: RunFolder, settings: ExplanationSettings) -> Explanation:
    """Load a run's model and create the environments, so that mistakes are found before anything is written.

    Masks are requested even if the run was trained without them. If the simulator has none, sheet and page omit them.

    Raises:
        FileNotFoundError: the folder is not that of a trained run. ValueError, TypeError: the environment refuses an
            option.
        ImportError: the simulator, or PyAV for the video, is not installed.
    """
    config = agent_run_config(folder)
    if settings.episodes:
        check_video_support()
    model = load_model(folder)
    attentive_policy(model)
    if config.threads:
        torch.set_num_threads(config.threads)
    num_envs = min(settings.frames, config.evaluation.num_envs)
    sheet_venv, no_segmentation = _masked_env(config, settings, num_envs)
    page_venv = _masked_env(config, settings, 1)[0] if settings.page else None
    video_venv = None
    if settings.episodes:
        video_venv = make_level_set_env(config, settings.level_set, 1, settings.seed, masks=False)
    return Explanation(config, settings, model, sheet_venv, video_venv, page_venv, no_segmentation)


def _masked_env(
    config: ExperimentConfig, settings: ExplanationSettings, num_envs: int
) -> tuple[SegmentedVecEnv, str | None]:
    """Return an environment of the level set, and the reason if it has no masks."""
    try:
        return make_level_set_env(config, settings.level_set, num_envs, settings.seed, masks=True), None
    except ValueError as error:
        bare = make_level_set_env(config, settings.level_set, num_envs, settings.seed, masks=False)
        return _WithoutSegmentation(bare), str(error)


def explain(explanation: Explanation, out: Path, on_progress: OnProgress = lambda *_: None) -> list[Path]:
    """Write ``attention-<level set>.png``, ``episode-<level set>.html``, ``episodes-<level set>.mp4``; return paths.

    Each file is written atomically and replaces an earlier one; a missing folder is created.
    """
    settings, written = explanation.settings, []
    sheet = out / f"attention-{unique_name(settings.level_set)}.png"
    on_progress("contact sheet", 0, 1)
    _write_sheet(explanation, sheet)
    on_progress("contact sheet", 1, 1)
    written.append(sheet)
    if explanation.page_venv is not None:
        page = out / f"episode-{unique_name(settings.level_set)}.html"
        _write_page(explanation, explanation.page_venv, page, on_progress)
        written.append(page)
    if explanation.video_venv is not None:
        video = out / f"episodes-{unique_name(settings.level_set)}.mp4"
        write_mp4(video, _video_pictures(explanation, explanation.video_venv, on_progress), settings.fps)
        written.append(video)
    return written


def _write_sheet(explanation: Explanation, path: Path) -> None:
    config, settings, venv = explanation.config, explanation.settings, explanation.sheet_venv
    actor = _Acting(explanation.model, settings.deterministic)
    frames = sample_frames(actor, venv, settings.frames, config.evaluation.frame_every, settings.seed)
    outputs = policy_outputs(attentive_policy(explanation.model), frames.images, settings.camal)
    text = SheetText(
        _title(explanation),
        _maps(settings.camal),
        action_names(venv),
        venv.spec.names if explanation.no_segmentation is None else None,
    )
    write_contact_sheet(path, frames, outputs, text)


def _write_page(explanation: Explanation, venv: SegmentedVecEnv, path: Path, on_progress: OnProgress) -> None:
    """Play the first episode, query the simulator at each step, and write its page."""
    settings, policy = explanation.settings, attentive_policy(explanation.model)
    witness = Witness(venv, with_labels=explanation.no_segmentation is None)
    recording = record_episode(
        explanation.model,
        venv,
        settings.deterministic,
        settings.seed,
        PAGE_STEPS,
        _reporter(on_progress, "page: playing", None),
        witness,
    )
    on_progress("page: drawing", 0, 1)
    outputs = policy_outputs(policy, recording.frames, settings.camal, recording.actions)
    redrawn = witness.redrawn(policy, recording.actions, settings.camal)
    notes = []
    if not recording.ended:
        notes.append(f"The first {len(recording)} steps of a longer episode.")
    if explanation.no_segmentation is not None:
        notes.append(f"No segmentation: {explanation.no_segmentation}.")
    labels = Labels(np.stack(witness.labels), venv.spec.names, venv.spec.relevant_lookup()) if witness.labels else None
    text = PageText(
        _title(explanation), _maps(settings.camal), action_names(venv), notes, _value_name(explanation.config)
    )
    write_episode_page(path, recording, outputs, labels, redrawn, text)
    on_progress("page: drawing", 1, 1)


def _value_name(config: ExperimentConfig) -> str:
    return "value (of normalized rewards)" if config.env.normalize_reward else "value"


def _video_pictures(explanation: Explanation, venv: SegmentedVecEnv, on_progress: OnProgress) -> Iterator[RGBImage]:
    """Play and draw the episodes in sequence; the last picture of each is held for a moment."""
    settings, names, value = explanation.settings, action_names(venv), _value_name(explanation.config)
    for episode in range(settings.episodes):
        label = f"episode {episode + 1} of {settings.episodes}"
        playing = _reporter(on_progress, f"{label}: playing", None)
        recording = record_episode(
            explanation.model, venv, settings.deterministic, settings.seed + episode, on_step=playing
        )
        outputs = policy_outputs(
            attentive_policy(explanation.model), recording.frames, settings.camal, recording.actions
        )
        text = VideoText(f"{_title(explanation)}, {label}", _maps(settings.camal), names, value)
        drawing = _reporter(on_progress, f"{label}: drawing", len(recording))
        for step, picture in enumerate(episode_pictures(recording, outputs, text)):
            yield picture
            drawing(step + 1)
        for _ in range(_HOLD_SECONDS * settings.fps):
            yield picture


def _reporter(on_progress: OnProgress, activity: str, total: int | None) -> Callable[[int], None]:
    return lambda done: on_progress(activity, done, total)


def _title(explanation: Explanation) -> str:
    config, settings = explanation.config, explanation.settings
    actions = "preferred" if settings.deterministic else "sampled"
    note = f" ({config.acting_note})" if config.acting_note else ""
    return (
        f"{config.experiment_name}, {config.method_name}{note} seed {config.seed}, "
        f"level set {settings.level_set}, {actions} actions"
    )


def _maps(camal: CamalConfig) -> str:
    by_target = camal.rectification
    same = len(set(by_target.values())) == 1
    signs = (
        next(iter(by_target.values())) if same else ", ".join(f"{sign} ({name})" for name, sign in by_target.items())
    )
    return f"maps: {camal.method}, {signs}; each is divided by its maximum; yellow is largest"


@dataclass(frozen=True)
class _Acting:
    """An actor that always samples, or always takes preferred actions, whatever the caller requests."""

    model: Actor
    deterministic: bool

    def predict(self, observation: npt.NDArray[Any], *, deterministic: bool = False) -> tuple[Any, Any]:
        return self.model.predict(observation, deterministic=self.deterministic)


class _WithoutSegmentation(VecEnvWrapper, SegmentedVecEnv):
    """Adds empty masks to an environment without masks: every pixel is background."""

    def __init__(self, venv: SegmentedVecEnv) -> None:
        super().__init__(venv)
        self.spec = venv.spec

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        return self.venv.step_wait()

    def segmentation(self) -> LabelMap:
        shape = self.observation_space.shape
        assert shape is not None
        return np.zeros((self.num_envs, *shape[:2]), dtype=np.uint8)
