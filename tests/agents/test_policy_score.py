import copy

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from camal_rl.agents import CAMALPPO, CamalConfig
from camal_rl.agents.attributions import explain, policy_scores, preferred_actions
from camal_rl.agents.policy_score import gaussian_score
from camal_rl.attention import CAM_METHODS, class_activation_map, normalize_cam

from .fakes import CountingEnv
from .policies import BOX, DISTRIBUTIONS, channels_first, frames, policy_of, squashed

CONTINUOUS = ["gaussian", "squashed", "sde", "squashed_sde"]


def test_the_gaussian_score_and_its_gradient_by_hand():
    mean = torch.tensor([[1.0, -2.0], [0.5, 0.0]], requires_grad=True)
    std = torch.tensor([[0.5, 2.0], [1.0, 1.0]], requires_grad=True)
    score = gaussian_score(mean, std)
    assert score.tolist() == [0.5 * (4 + 1), 0.5 * 0.25]
    score.sum().backward()
    assert mean.grad.tolist() == [[4.0, -0.5], [0.5, 0.0]]
    assert std.grad is None


def test_the_gaussian_score_is_the_divergence_from_no_action():
    mean, std = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 2.0]])
    policy, none = (torch.distributions.Normal(at, std) for at in (mean, torch.zeros(1, 2)))
    expected = torch.distributions.kl_divergence(policy, none).sum(dim=1)
    torch.testing.assert_close(gaussian_score(mean, std), expected)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("layer", ["last", "cnn.0"])
def test_no_policy_map_is_zero_whatever_the_actions_are(name, layer):
    policy = DISTRIBUTIONS[name]()
    assert bool((policy.attention(frames())["policy"].amax(dim=(1, 2)) == 1).all())
    assert bool((explain(policy, frames(), "gradcam", "policy", layer=layer).amax(dim=(1, 2)) == 1).all())


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("method", CAM_METHODS)
def test_maps_are_float32_whatever_the_encoder_computes_in(name, method):
    exact = DISTRIBUTIONS[name]()
    policy = DISTRIBUTIONS[name](precision="bfloat16")
    policy.load_state_dict(exact.state_dict())
    for target, cam in policy.attention(frames(), method=method, rectification="absolute").items():
        expected = exact.attention(frames(), method=method, rectification="absolute")[target]
        assert cam.dtype == expected.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(cam.flatten(1), expected.flatten(1)).min() > 0.9


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("method", ["occlusion", "integrated_gradients", "guided_backprop"])
def test_no_map_of_pixels_is_zero_whatever_the_actions_are(name, method):
    if method != "guided_backprop":
        pytest.importorskip("captum")
    assert float(explain(DISTRIBUTIONS[name](), frames(1), method, "policy").max()) == 1


@pytest.mark.parametrize("name", CONTINUOUS)
def test_the_map_of_continuous_actions_is_that_of_the_gradient_by_hand(name):
    policy = DISTRIBUTIONS[name]()
    with torch.no_grad():
        policy.log_std.uniform_(-1, 0.5, generator=torch.Generator().manual_seed(2))
    found = policy.attention(frames(), method="hirescam", rectification="absolute")["policy"]

    extractor = policy.features_extractor
    features = extractor.cam_features(channels_first(frames()))
    hidden = extractor.hidden(features)
    mean = policy.action_net(hidden.relu())
    std = policy.log_std.exp()
    if "sde" in name:  # Raffin et al. 2021: the variance is what the exploration noise has at these features
        std = (hidden.relu().square() @ std.square() + 1e-6).sqrt()
    # d score / d features = 1[hidden > 0] * ((mean / std^2) W_action) W_hidden
    upstream = (mean / std.square()) @ policy.action_net.weight
    weight = extractor.linear[0].weight
    gradient = ((upstream * (hidden > 0)) @ weight).view_as(features)
    expected = (gradient * features).sum(dim=1).abs()
    torch.testing.assert_close(found, normalize_cam(expected.detach()), rtol=1e-3, atol=1e-5)


def test_a_fixed_network_with_continuous_actions_has_the_map_worked_out_by_hand():
    policy = policy_of(actions=BOX)
    extractor = policy.features_extractor
    extractor.cnn = nn.Sequential(nn.Conv2d(3, 2, 8, stride=8, bias=False), nn.ReLU())
    extractor.linear = nn.Sequential(nn.Linear(8, 256, bias=False), nn.ReLU())
    with torch.no_grad():
        extractor.cnn[0].weight.zero_()
        extractor.cnn[0].weight[0, 0, 0, 0] = 255.0  # channel 0: the corner pixel's red level
        extractor.cnn[0].weight[1, 1, 0, 0] = 255.0  # channel 1: its green level
        extractor.linear[0].weight.zero_()
        extractor.linear[0].weight[0, :4] = 1.0  # hidden 0: the sum of channel 0
        extractor.linear[0].weight[1, 4:] = 1.0  # hidden 1: the sum of channel 1
        policy.action_net.weight.zero_()
        policy.action_net.weight[0, 0], policy.action_net.weight[1, 1] = 1.0, -1.0
        policy.action_net.bias.zero_()
        policy.log_std.copy_(torch.tensor([1.0, 2.0]).log())
    image = np.zeros((1, 16, 16, 3), np.uint8)
    image[0, ::8, ::8, 0] = [[1, 0], [2, 0]]
    image[0, ::8, ::8, 1] = [[0, 4], [0, 0]]
    # The means are (3, -4), so d score / d A = (3 / 1, (-4 / 4) * -1) = (3, 1) at every position.
    expected = torch.tensor([[[3.0, 4.0], [6.0, 0.0]]]) / 6
    torch.testing.assert_close(policy.attention(image)["policy"], expected)


@pytest.mark.parametrize("name", ["multi_categorical", "bernoulli"])
def test_with_several_factors_the_score_is_the_sum_of_their_log_probabilities(name):
    policy, images = DISTRIBUTIONS[name](), channels_first(frames())
    actions = preferred_actions(policy, images)
    logits = policy.action_net(policy.extract_features(images))
    if name == "bernoulli":
        expected = -nn.functional.binary_cross_entropy_with_logits(logits, actions, reduction="none").sum(dim=1)
    else:
        parts = zip(logits.split([3, 2], dim=1), actions.unbind(1), strict=True)
        expected = sum(part.log_softmax(1).gather(1, chosen[:, None])[:, 0] for part, chosen in parts)
    torch.testing.assert_close(policy_scores(policy)["policy"](images, actions), expected)
    evaluation = policy.evaluate_for_attention(images)
    by_hand = class_activation_map(evaluation.cam_features("policy"), evaluation.log_prob, rectify="absolute")
    torch.testing.assert_close(policy.attention(frames())["policy"], normalize_cam(by_hand))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_training_supervises_policy_maps_of_all_kinds_of_actions(name):
    made = DISTRIBUTIONS[name]()

    class Actions(CountingEnv):
        def __init__(self):
            super().__init__()
            self.action_space = made.action_space

    sde = "sde" in name
    arguments = {"use_sde": True} if sde else {}
    kwargs = {"encoder": "compact", **({"squash_output": True} if name == "squashed_sde" else {})}
    model = CAMALPPO("CamPolicy", Actions(), n_steps=8, batch_size=16, n_epochs=2, seed=0, policy_kwargs=kwargs,
                     camal=CamalConfig(weight=1.0, targets=("policy",)), **arguments)  # fmt: skip
    if name == "squashed":
        squashed(model.policy)
    before = copy.deepcopy(model.policy.features_extractor.state_dict())
    model.learn(16)
    # The first frame is black and says nothing before there are biases.
    assert model.logger.name_to_value["camal/policy/zero_maps"] <= 1 / 8
    assert np.isfinite(model.logger.name_to_value["camal/loss"])
    after = model.policy.features_extractor.state_dict()
    assert any(not torch.equal(after[key], before[key]) for key in after)


def test_a_map_that_says_nothing_is_no_secret():
    policy = policy_of(actions=BOX)
    with torch.no_grad():
        policy.action_net.weight.zero_()
    with pytest.warns(UserWarning, match="the policy map of each of 3 images is zero everywhere"):
        policy.attention(frames())


def test_an_evaluation_keeps_its_distribution_when_the_policy_goes_on():
    policy = policy_of(actions=BOX)
    evaluation = policy.evaluate_for_attention(channels_first(frames()))
    expected = evaluation.score("policy").clone()
    policy.evaluate_for_attention(channels_first(frames(5)))
    assert torch.equal(evaluation.score("policy"), expected)


def test_what_shows_single_decisions_says_which_actions_it_is_for():
    from camal_rl.agents.attributions import policy_probabilities
    from camal_rl.rl.policy_outputs import policy_outputs

    with pytest.raises(ValueError, match="decisions are shown only for discrete and continuous actions, got MultiB"):
        policy_outputs(policy_of(actions=spaces.MultiBinary(2)), frames())
    policy = policy_of(actions=spaces.Box(-1, 1, (2,)))
    with pytest.raises(ValueError, match="action probabilities need a Discrete action space, got Box"):
        policy_probabilities(policy, channels_first(frames()))
