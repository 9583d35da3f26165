"""What ``evaluate --suite full`` needs of a policy: its decisions, neutral maps, and the stability of its own maps."""

from __future__ import annotations

from torch import Tensor, nn

from camal_rl.agents import AttentivePolicy, CamalConfig
from camal_rl.agents.attributions import explain, preferred_actions
from camal_rl.agents.config import AttentionTarget
from camal_rl.agents.heads import AnswerKind, heads
from camal_rl.metrics import Change, gaussian_divergence, policy_divergence, q_sarfa, sarfa
from camal_rl.rl.policy_outputs import CHUNK_SIZE, head_output
from camal_rl.runs.faithfulness_suite import NEUTRAL_MAPS, STABILITY_FRAMES, Decision, stability
from camal_rl.runs.results import Result

_OTHER_CHANGES: dict[AnswerKind, dict[str, Change]] = {
    "probabilities": {"kl": policy_divergence, "sarfa": sarfa},
    "gaussian": {"kl": gaussian_divergence},
    "q": {"sarfa": q_sarfa},
}
"""Further measures of change by kind of output.

A Q-network has no distribution, so there is no divergence; SARFA compares one action with the others.
"""


def head_decision(policy: AttentivePolicy, head: AttentionTarget, change: Change) -> Decision:
    """Return the decision of a head, whose change is measured by ``change`` and the others of its kind."""
    others = _OTHER_CHANGES.get(heads(policy)[head].kind, {})
    return Decision(head, head_output(policy, head), change, policy.cam_grid, CHUNK_SIZE, others)


def neutral_maps(policy: AttentivePolicy, head: AttentionTarget, images: Tensor) -> dict[str, Tensor]:
    """Return the neutral maps ``(N, H, W)`` of images ``(N, C, H, W)``, on the CPU."""
    return {method: explain(policy, images, method, head).cpu() for method in NEUTRAL_MAPS}


def head_stability(
    policy: AttentivePolicy,
    head: AttentionTarget,
    images: Tensor,
    camal: CamalConfig,
    seed: int,
    level_set: str | None = None,
) -> list[Result]:
    """Return the stability of a head's map (:func:`camal_rl.runs.faithfulness_suite.stability`) on the first images.

    A map of an action always explains the action that is preferred on the unchanged image.
    """
    few = images[:STABILITY_FRAMES]
    actions = preferred_actions(policy, few.to(policy.device))

    def maps(network: nn.Module, batch: Tensor) -> Tensor:
        assert isinstance(network, AttentivePolicy)
        return network.attention(batch, actions, camal.method, camal.rectification, (head,))[head].float().cpu()

    return stability(policy, maps, few, head, seed, level_set)
