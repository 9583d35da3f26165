"""Maps and changes of Q-values: the gradient of a linear head, and what counts as a change of the decision."""

import math

import pytest
import torch

from camal_rl.closed_form import q_score_gradient
from camal_rl.metrics import preferred_action_drop, q_sarfa, q_value_change, sarfa
from camal_rl.metrics.changes import confidence
from camal_rl.metrics.counterfactual import (
    summarize_counterfactuals,
)
from camal_rl.metrics.decision_change import q_decision_change

Q = torch.tensor([[1.0, 3.0], [4.0, 2.0], [0.0, 8.0]])
AFTER = torch.tensor([[[5.0, 1.0], [4.0, 9.0], [0.0, 8.0]]])
SPREAD = torch.tensor([3.0, 4.0, 8.0]).std(correction=0)


def test_the_gradient_of_a_linear_head_is_the_row_of_the_action():
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    hidden = torch.randn(2, 2, requires_grad=True)
    actions = torch.tensor([2, 0])
    score = (hidden @ weight.T).gather(1, actions[:, None]).sum()
    (expected,) = torch.autograd.grad(score, hidden)
    assert torch.equal(q_score_gradient(weight, actions), expected)
    assert q_score_gradient(weight, actions).tolist() == [[5, 6], [1, 2]]
    with pytest.raises(TypeError, match="actions must be integers"):
        q_score_gradient(weight, actions.float())
    with pytest.raises(ValueError, match=r"q_weight must be \(A, U\) and actions \(B,\)"):
        q_score_gradient(weight, actions[None])


def test_the_change_is_that_of_the_greedy_action_of_the_whole_frame_in_standard_deviations():
    found = q_value_change(Q, AFTER)
    torch.testing.assert_close(found, torch.tensor([[2.0, 0.0, 0.0]]) / SPREAD)
    assert q_value_change(Q[:1], AFTER[:, :1]).isnan().all()


def test_sarfa_is_that_of_the_softmax():
    torch.testing.assert_close(q_sarfa(Q, AFTER), sarfa(Q.softmax(1), AFTER.softmax(2)))


@pytest.mark.parametrize("change", [q_value_change, q_sarfa])
def test_a_q_value_is_no_probability(change):
    assert confidence(Q, Q, change).isnan().all()
    assert confidence(Q, Q, preferred_action_drop).tolist() == [3, 4, 8]


def test_an_intervention_changes_q_and_flips_the_greedy_action_and_has_no_divergence():
    applies = torch.tensor([[True, True, False]])
    change = q_decision_change(Q, AFTER, applies)
    torch.testing.assert_close(change.value[0, :2], torch.tensor([2.0, 0.0]) / SPREAD)
    assert change.flip[0, :2].tolist() == [1, 1]
    assert math.isnan(change.value[0, 2])
    assert change.drop.isnan().all()
    assert change.divergence.isnan().all()
    with pytest.raises(ValueError, match="applies must be"):
        q_decision_change(Q, AFTER, applies[:, :2])


def test_maps_of_q_and_their_controls_are_compared_with_the_change_of_q_alone():
    change = q_decision_change(
        Q, AFTER.expand(3, -1, -1) * torch.tensor([1.0, 2.0, 3.0])[:, None, None], torch.ones(3, 3).bool()
    )
    area = torch.tensor([[0.1], [0.2], [0.3]]).expand(3, 3)
    found = summarize_counterfactuals(list("abc"), ["remove"] * 3, change, area, {"q": area, "random": area})
    assert {(each.map, each.decision) for each in found.agreements} == {
        ("q", "value"),
        ("random", "value"),
        ("uniform", "value"),
    }
