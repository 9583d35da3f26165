import numpy as np
import pytest
import torch
from gymnasium import spaces

from camal_rl.agents.attributions import explain

from .policies import BOX, DISTRIBUTIONS, CamPolicy, Convolutions, channels_first, frames, policy_of, state_of


@pytest.mark.parametrize(
    "given",
    [
        lambda images: images[0],
        lambda images: channels_first(images)[0],
        lambda images: [images[0]],
        lambda images: images[:1].tolist(),
        lambda images: (channels_first(images)[0],),
        lambda images: images[:1].astype(np.int64),
        lambda images: images[:1].astype(np.float32),
        lambda images: images[::-1][-1:],
        lambda images: np.asfortranarray(images[:1]),
    ],
)
def test_one_image_a_list_and_other_types_are_the_same_images(given):
    policy, images = policy_of(), frames()
    expected = policy.attention(images[:1])["value"]
    torch.testing.assert_close(policy.attention(given(images))["value"], expected, rtol=1e-4, atol=1e-5)
    shown = explain(policy, given(images), "hirescam", "value")
    torch.testing.assert_close(shown, explain(policy, images[:1], "hirescam", "value"), rtol=1e-4, atol=1e-5)


def test_a_list_of_images_is_a_batch():
    policy, images = policy_of(), frames()
    assert torch.equal(policy.attention(list(images))["policy"], policy.attention(images)["policy"])


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (frames()[:0], ValueError, r"expected one or more images of shape \(3, 16, 16\), got an empty batch of shape"),
        ([], ValueError, "expected one or more images"),
        (frames()[:, :8], ValueError, r"expected images of shape \(B, 3, 16, 16\), got \(3, 8, 16, 3\)"),
        (frames()[None], ValueError, r"expected images of shape \(B, 3, 16, 16\), got \(1, 3, 16, 16, 3\)"),
        (frames()[0, 0], ValueError, "expected images of shape"),
        (
            frames() / 255,
            ValueError,
            r"uint8 images in 0 .. 255, got torch.float64 in 0 .. 1; .* multiply them by",
        ),
        (frames() * np.nan, ValueError, "images must be finite"),
        (frames().astype(np.int64) - 256, ValueError, r"images must be in 0 .. 255, got torch.int64 in -256"),
        (frames() > 9, TypeError, "images must be numbers, got torch.bool"),
        ("frame.png", TypeError, "images must be numbers in an array of one shape, got str"),
        (None, TypeError, "images must be numbers in an array of one shape, got NoneType"),
        ([frames()[0], frames()[0, :8]], TypeError, "images must be numbers in an array of one shape, got list"),
        ([torch.zeros(3, 16, 16), torch.zeros(3, 8, 16)], ValueError, "images must have one shape, got"),
    ],
)
@pytest.mark.parametrize("maps", [lambda policy, images: policy.attention(images), explain])
def test_other_images_are_one_line(images, error, message, maps):
    policy = policy_of()
    before = state_of(policy)
    with pytest.raises(error, match=message) as caught:
        maps(policy, images)
    assert "\n" not in str(caught.value)
    assert state_of(policy) == before


def test_images_of_floats_keep_their_scale():
    space = spaces.Box(0, 1, (3, 16, 16), np.float32)
    policy = CamPolicy(space, spaces.Discrete(3), lambda _: 1e-3, encoder=Convolutions, normalize_images=False)
    images = channels_first(frames()).float() / 255
    assert policy.attention(images)["value"].shape == (3, 4, 4)
    with pytest.raises(TypeError, match=r"the observation space has float32 images, got torch.uint8"):
        policy.attention(frames())


@pytest.mark.parametrize(
    "actions",
    [[3, 0, 4], np.array([3, 0, 4]), torch.tensor([[3], [0], [4]]), torch.tensor([3.0, 0.0, 4.0])],
)
def test_actions_come_in_any_form(actions):
    policy = policy_of()
    expected = policy.attention(frames(), torch.tensor([3, 0, 4]))["policy"]
    assert torch.equal(policy.attention(frames(), actions)["policy"], expected)
    assert torch.equal(policy.attention(frames()[0], 3)["policy"], policy.attention(frames()[:1], [3])["policy"])


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_actions_that_predict_gives_are_those_that_maps_explain_by_default(name):
    policy = DISTRIBUTIONS[name]()
    actions = policy.predict(frames(), deterministic=True)[0]
    torch.testing.assert_close(policy.attention(frames(), actions)["policy"], policy.attention(frames())["policy"])


@pytest.mark.parametrize(
    ("space", "actions", "error", "message"),
    [
        (spaces.Discrete(5), [1, 2], ValueError, r"one action for each of 3 images, shape \(3\), got \(2,\)"),
        (spaces.Discrete(5), 1, ValueError, "one action for each of 3 images"),
        (
            spaces.Discrete(5),
            [0, 1, 5],
            ValueError,
            r"whole numbers of the action space Discrete\(5\), got \[0, 1",
        ),
        (spaces.Discrete(5), [0, -1, 2], ValueError, "whole numbers of the action space"),
        (spaces.Discrete(5), [0.5, 1, 2], ValueError, "whole numbers of the action space"),
        (spaces.Discrete(5), ["up", "up", "up"], TypeError, "actions must be numbers"),
        (spaces.MultiDiscrete([3, 2]), [[0, 2]] * 3, ValueError, "whole numbers of the action space"),
        (spaces.MultiDiscrete([3, 2]), [0, 1, 2], ValueError, r"shape \(3, 2\), got \(3,\)"),
        (spaces.MultiBinary(4), [[0, 1, 2, 0]] * 3, ValueError, "whole numbers of the action space"),
        (BOX, [[0.1, 0.2]] * 2, ValueError, r"shape \(3, 2\), got \(2, 2\)"),
        (BOX, [[0.1, np.nan]] * 3, ValueError, "actions must be finite"),
    ],
)
def test_other_actions_are_one_line(space, actions, error, message):
    policy = policy_of(actions=space)
    before = state_of(policy)
    with pytest.raises(error, match=message) as caught:
        policy.attention(frames(), actions)
    assert "\n" not in str(caught.value)
    assert state_of(policy) == before


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_maps_do_not_depend_on_what_the_caller_has_switched_off(mode):
    policy = policy_of()
    expected = policy.attention(frames())["policy"], explain(policy, frames(), "hirescam", "value", layer="cnn.0")
    with mode():
        images = channels_first(frames()).clone()
        found = policy.attention(images)["policy"], explain(policy, images, "hirescam", "value", layer="cnn.0")
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
