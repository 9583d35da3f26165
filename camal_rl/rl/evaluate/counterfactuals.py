"""Effects of the simulator's interventions on an agent's decision, and its attention on the changed pixels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from camal_rl.agents import CamalConfig
from camal_rl.agents.heads import heads
from camal_rl.envs import CounterfactualEnv, SegmentedVecEnv, find_counterfactual
from camal_rl.metrics.counterfactual import (
    CounterfactualSummary,
    attention_mass,
    changed_area,
    summarize_counterfactuals,
)
from camal_rl.metrics.decision_change import (
    DecisionChange,
    decision_change,
    gaussian_decision_change,
    q_decision_change,
)
from camal_rl.rl.algorithms import TrainedAgent, attentive_policy
from camal_rl.rl.frames import visit_frames
from camal_rl.rl.policy_outputs import attention_maps, head_output
from camal_rl.runs.attention_results import agreement_results, intervention_name, undefined_maps
from camal_rl.runs.results import Result, ResultKey, Results


def counterfactual_report(
    model: TrainedAgent,
    venv: SegmentedVecEnv,
    frames: int,
    every: int,
    camal: CamalConfig,
    seed: int,
    level_set: str | None = None,
) -> Results:
    """Redraw an agent's frames under every intervention of the simulator and measure the changes of the decision.

    The frames are those of :func:`camal_rl.rl.frames.sample_frames` with the same arguments. Redrawn frames are not
    stored, so memory does not grow with the number of interventions.

    Args:
        model: the agent.
        venv: environment with masks; it is reset first.
        frames: number of frames.
        every: steps between frames.
        camal: defines the maps.
        seed: seed of the sampled actions and of the random control map.
        level_set: name of the levels of ``venv`` in the results.

    Returns:
        For each intervention, the change of the decision and the attention on the changed pixels, averaged over the
        frames in which it changes anything. By head and map, ``rank_correlation``: Spearman's correlation between
        attention mass and change of the decision over the interventions, averaged over frames. It is computed over
        interventions that remove something (control ``remove``) and over all of them (``all``), among which background
        changes have the most attention due to their area. The other rank correlations of
        :func:`camal_rl.runs.attention_results.agreement_results` are included. The results are empty if the simulator
        cannot redraw its states.
    """
    env = find_counterfactual(venv)
    if env is None or not env.interventions():
        return Results()
    collector = _Collector(model, env, camal, seed)
    visit_frames(model, venv, frames, every, seed, collector.visit)
    return _results(env, collector.summary(frames), collector.policy.attention_targets, level_set)


class _Collector:
    """Outputs of the policy for frames and their counterfactuals: interventions by frames."""

    def __init__(self, model: TrainedAgent, env: CounterfactualEnv, camal: CamalConfig, seed: int) -> None:
        self.policy, self.env, self.camal = attentive_policy(model), env, camal
        self.generator = torch.Generator().manual_seed(seed)
        self.parts: dict[str, list[Tensor]] = {}

    def visit(self, observations: npt.NDArray[np.uint8]) -> None:
        """Process the current frames of the simulator."""
        redrawn = [self.env.counterfactual(each) for each in self.env.interventions()]
        maps: dict[str, Tensor] = {}
        maps.update(attention_maps(self.policy, observations, self.camal).items())
        maps["random"] = torch.rand(next(iter(maps.values())).shape, generator=self.generator)
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
            return {name: head_output(self.policy, name)(batch) for name in self.policy.attention_targets}

    def summary(self, frames: int) -> CounterfactualSummary:
        """Return the summary of the first ``frames`` frames."""
        found = {}
        for key, parts in self.parts.items():
            axis = 0 if key in self.policy.attention_targets else 1
            found[key] = torch.cat(parts, dim=axis).narrow(axis, 0, frames)
        names = [each.name for each in self.env.interventions()]
        kinds = [each.kind for each in self.env.interventions()]
        gaussian = any(head.kind == "gaussian" for head in heads(self.policy).values())
        change = _change(found, gaussian)
        masses = {key.removeprefix("mass_"): each for key, each in found.items() if key.startswith("mass_")}
        return summarize_counterfactuals(names, kinds, change, found["area"], masses)


def _change(found: Mapping[str, Tensor], gaussian: bool) -> DecisionChange:
    """Return the change of a policy's outputs by the interventions, for any kind of policy."""
    if "q" in found:
        return q_decision_change(found["q"], found["q_after"], found["applies"])
    change = gaussian_decision_change if gaussian else decision_change
    return change(
        found["value"][:, 0], found["value_after"][:, :, 0], found["policy"], found["policy_after"], found["applies"]
    )


_CHANGES: dict[tuple[str, ...], dict[ResultKey, str]] = {
    ("value", "policy"): {
        ResultKey("value_change", target="value"): "value",
        ResultKey("policy_drop", target="policy"): "drop",
        ResultKey("policy_kl", target="policy"): "divergence",
        ResultKey("flips", target="policy"): "flip",
    },
    ("q",): {ResultKey("value_change", target="q"): "value", ResultKey("flips", target="q"): "flip"},
}
"""Reported effects of an intervention, by the attention targets of the policy."""


def _results(
    env: CounterfactualEnv, summary: CounterfactualSummary, targets: tuple[str, ...], level_set: str | None
) -> Results:
    changes = _CHANGES[targets]
    found = [undefined_maps(name, count, summary.frames, level_set) for name, count in summary.undefined_maps.items()]
    for intervention, effect in zip(env.interventions(), summary.effects, strict=True):
        name = intervention_name(effect.name, effect.kind, intervention.class_name)
        figures: dict[ResultKey, float] = {
            ResultKey("changed_area"): effect.area,
            **{key: getattr(effect, field) for key, field in changes.items()},
            **{ResultKey("attention_mass", target=head, map="own"): effect.mass[head] for head in targets},
        }
        for key, value in figures.items():
            place = key._replace(level_set=level_set, control=name)._asdict()
            found.append(Result(**place, value=value, count=effect.frames))
    heads = {"value": "q"} if targets == ("q",) else {"value": "value", "divergence": "policy"}
    return Results([*found, *agreement_results(summary.agreements, level_set, heads)])
