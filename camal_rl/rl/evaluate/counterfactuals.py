"""What the simulator's own interventions do to an agent's decision, beside its attention on what they change."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from camal_rl.agents import CamalConfig
from camal_rl.envs import CounterfactualEnv, SegmentedVecEnv, find_counterfactual
from camal_rl.metrics.counterfactual import (
    CounterfactualSummary,
    attention_mass,
    changed_area,
    decision_change,
    summarize_counterfactuals,
)
from camal_rl.rl.algorithms import Agent, attentive_policy
from camal_rl.rl.frames import visit_frames
from camal_rl.rl.policy_outputs import attention_maps, probabilities, values

HEADS = {"value": "value", "policy": "divergence"}


def counterfactual_report(
    model: Agent, venv: SegmentedVecEnv, frames: int, every: int, camal: CamalConfig, seed: int
) -> dict[str, Any] | None:
    """Redraw an agent's frames under every intervention of their simulator and measure what changes.

    The frames are those of :func:`camal_rl.rl.frames.sample_frames` with the same arguments. Pictures are
    not kept: memory does not grow with the number of interventions.

    Args:
        model: the agent.
        venv: environment with masks; it is reset first.
        frames: number of frames.
        every: steps between frames.
        camal: says which maps are meant.
        seed: seed of the sampled actions and of the random control map.

    Returns:
        ``frames``; ``interventions``: for each the change of the decision and the attention on what it changes,
        averaged over the ``frames`` in which it changes anything; ``rank_correlation``: by head and map, Spearman's
        correlation between attention mass and change of the decision over the interventions that remove something,
        mean over frames; ``rank_correlation_all``: the same over all interventions, where those on the background
        come first by their area alone; ``agreements``: every rank correlation with its counts. ``None`` if the
        simulator cannot redraw its states.
    """
    env = find_counterfactual(venv)
    if env is None or not env.interventions():
        return None
    collector = _Collector(model, env, camal, seed)
    visit_frames(model, venv, frames, every, seed, collector.visit)
    return _as_json(env, collector.summary(frames))


class _Collector:
    """Answers of the policy to frames and their counterfactuals: interventions by frames."""

    def __init__(self, model: Agent, env: CounterfactualEnv, camal: CamalConfig, seed: int) -> None:
        self.policy, self.env, self.camal = attentive_policy(model), env, camal
        self.generator = torch.Generator().manual_seed(seed)
        self.parts: dict[str, list[Tensor]] = {}

    def visit(self, observations: npt.NDArray[np.uint8]) -> None:
        """Ask the simulator about the frames that it shows."""
        redrawn = [self.env.counterfactual(each) for each in self.env.interventions()]
        maps: dict[str, Tensor] = {}
        maps.update(attention_maps(self.policy, observations, self.camal).items())
        maps["random"] = torch.rand(maps["value"].shape, generator=self.generator)
        changed = torch.from_numpy(np.stack([each.changed for each in redrawn]))
        found = self._answers(observations)
        after = [self._answers(each.images) for each in redrawn]
        found.update({f"{key}_after": torch.stack([each[key] for each in after]) for key in found})
        found["applies"] = torch.from_numpy(np.stack([each.applies for each in redrawn]))
        found["area"] = changed_area(changed)
        found.update({f"mass_{name}": attention_mass(cam, changed) for name, cam in maps.items()})
        for key, each in found.items():
            self.parts.setdefault(key, []).append(each)

    def _answers(self, images: npt.NDArray[np.uint8]) -> dict[str, Tensor]:
        batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        with torch.no_grad():
            return {"values": values(self.policy, batch)[:, 0], "probabilities": probabilities(self.policy, batch)}

    def summary(self, frames: int) -> CounterfactualSummary:
        """Return the summary of the first ``frames`` frames."""
        found = {}
        for key, parts in self.parts.items():
            axis = 0 if key in ("values", "probabilities") else 1
            found[key] = torch.cat(parts, dim=axis).narrow(axis, 0, frames)
        names = [each.name for each in self.env.interventions()]
        kinds = [each.kind for each in self.env.interventions()]
        change = decision_change(
            found["values"],
            found["values_after"],
            found["probabilities"],
            found["probabilities_after"],
            found["applies"],
        )
        masses = {key.removeprefix("mass_"): each for key, each in found.items() if key.startswith("mass_")}
        return summarize_counterfactuals(names, kinds, change, found["area"], masses)


def _as_json(env: CounterfactualEnv, summary: CounterfactualSummary) -> dict[str, Any]:
    interventions = [
        {
            "name": each.name,
            "kind": each.kind,
            "class_name": intervention.class_name,
            "frames": each.frames,
            "area": each.area,
            "value_change": each.value,
            "policy_drop": each.drop,
            "policy_kl": each.divergence,
            "flips": each.flip,
            **{f"{head}_mass": each.mass[head] for head in HEADS},
        }
        for intervention, each in zip(env.interventions(), summary.effects, strict=True)
    ]
    return {
        "frames": summary.frames,
        "undefined_maps": dict(summary.undefined_maps),
        "interventions": interventions,
        "rank_correlation": _rank_correlations(summary, "remove"),
        "rank_correlation_all": _rank_correlations(summary, "all"),
        "agreements": summary.to_dict()["agreements"],
    }


def _rank_correlations(summary: CounterfactualSummary, group: str) -> dict[str, dict[str, float]]:
    """Return the mean per-frame correlation of a group by head and map, the head's own map as ``own``."""
    return {
        head: {
            "own" if each.map == head else each.map: each.per_frame
            for each in summary.agreements
            if (each.attention, each.decision, each.group) == ("mass", decision, group)
        }
        for head, decision in HEADS.items()
    }
