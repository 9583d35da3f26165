"""An agent prepared for sharing: the files of its policy, and the texts of its model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from camal_rl.agents import AttentivePolicy
from camal_rl.envs.registry import env_info
from camal_rl.foreign_code import no_code_from
from camal_rl.rl.config import ExperimentConfig
from camal_rl.rl.environments import level_set_options
from camal_rl.rl.export import export_agent
from camal_rl.rl.model_file import load_model
from camal_rl.runs.folders import sha256_of
from camal_rl.runs.hub_model import HubModel
from camal_rl.runs.json_files import POLICY_SUM
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.yaml_text import write_yaml

_LOADING = """\
import numpy as np

from camal_rl.rl import load_policy

policy = load_policy(".", device="cpu")  # the folder with model.json and model.safetensors
images = np.zeros((5, {shape}), dtype=np.uint8)  # as the environment gives them
actions, _ = policy.predict(images, deterministic=True)
maps = policy.attention(images)  # {{name: (5, h, w)}} in [0, 1]: where each output comes from
"""
_MASKED = """\

from camal_rl.envs import MaskedVecEnv, make_vec

venv = MaskedVecEnv(make_vec({env!r}, 1, seed=0), {masking!r})  # shows the policy what it was trained on
"""
_PLAIN = "It needs only images to act: no masks, no attention, and no simulator that provides them."


def agent_hub_model(folder: RunFolder, config: ExperimentConfig) -> HubModel:
    """Load a trained agent and return it in the form for sharing.

    Raises:
        ValueError: its policy cannot be written as safetensors and JSON.
        FileNotFoundError: the run has no model.
    """
    model = load_model(folder)
    policy = model.policy.cpu()
    if not isinstance(policy, AttentivePolicy):
        raise ValueError(
            f"a folder for the Hub requires a camal_rl.agents.CamPolicy, but {folder.path} has a "
            f"{type(policy).__name__} (that of DQN is a CamQPolicy); give --format pt2 or onnx"
        )

    def write(out: Path) -> Mapping[str, str]:
        export_agent(model, out / folder.weights_file.name)
        return {POLICY_SUM: sha256_of(out / folder.policy_file.name)}

    channels, height, width = policy.observation_space.shape or ()
    masking = config.env.masking
    further = "" if masking is None else _MASKED.format(env=config.env.id, masking=masking)
    algorithm = config.algorithm_name
    return HubModel(
        write,
        "reinforcement-learning",
        ("deep-reinforcement-learning", "stable-baselines3", algorithm, *config.method_name.split("+"), config.env.id),
        f"An agent for the environment `{config.env.id}`, trained with `{algorithm}`.",
        f"It takes images `uint8 (B, {height}, {width}, {channels})` and returns an action of {policy.action_space}; "
        f"it has attention maps of: {', '.join(policy.map_settings.targets)}.",
        _training_words(config),
        "" if masking is None else f"It expects images masked by `{masking}`, so it needs masks to act.",
        _LOADING.format(shape=f"{height}, {width}, {channels}") + further,
        _license(folder, config.env.id),
        _level_sets(folder, config),
    )


def _training_words(config: ExperimentConfig) -> str:
    if config.method_name == config.baseline:
        return f"Nothing was added to {config.baseline.upper()}'s loss: its attention was not supervised. {_PLAIN}"
    parts = []
    if config.camal.weight > 0:
        parts.append(
            f"a loss on its attention maps (`{config.camal.loss}`, weight {config.camal.weight:g}) that compares them "
            "with segmentation masks"
        )
    parts += [f"`{name}`" for name in config.method_name.split("+") if name in config.terms]
    added = f"Training added to the algorithm's loss: {' and '.join(parts)}." if parts else ""
    return f"{added} {_PLAIN if config.env.masking is None else ''}".strip()


def _license(folder: RunFolder, env_id: str) -> str:
    try:
        with no_code_from(None if folder.trust else folder.path):
            told = env_info(env_id).license
    except (ValueError, ImportError):
        told = "unknown"
    return f"The simulator has its own license: {told}."


def _level_sets(folder: RunFolder, config: ExperimentConfig) -> dict[str, str]:
    """Return the simulator options of each level set; empty if the environment is not installed."""
    asked = dict.fromkeys((*config.evaluation.sets, *config.evaluation.attention_sets))
    try:
        with no_code_from(None if folder.trust else folder.path):
            return {name: _options(level_set_options(config.env, name)) for name in asked}
    except (ValueError, ImportError):
        return {}


def _options(options: Mapping[str, object]) -> str:
    told = [f"{key}={write_yaml(value).strip().removesuffix('...').strip()}" for key, value in options.items()]
    return ", ".join(" ".join(each.split()) for each in told) or "the environment without changes"
