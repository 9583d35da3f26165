import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticCnnPolicy

from camal_rl.agents import CAMALPPO, CamalConfig, CamPolicy
from camal_rl.agents.attributions import explain
from camal_rl.agents.map_settings import MapSettings
from camal_rl.attention import normalize_cam, upsample_cam
from camal_rl.rl.policy_outputs import attention_maps, policy_outputs

from .fakes import CountingEnv
from .policies import frames, policy_of

OWN = CamalConfig(
    weight=0.1, method="hirescam", value_rectification="absolute", policy_rectification="relu", targets=("value",)
)
BOTH = ("value", "policy")


def model_of(camal, **kwargs):
    return CAMALPPO(
        "CamPolicy", CountingEnv(), n_steps=8, batch_size=8, seed=0, camal=camal,
        policy_kwargs={"encoder": "compact"}, **kwargs,
    )  # fmt: skip


def asked_for(policy, targets=BOTH):
    rectification = {"value": "absolute", "policy": "relu"}
    return policy.attention(frames(), method="hirescam", rectification=rectification, targets=targets)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[target], other[target]) for target in one)


def test_maps_are_by_default_those_that_the_model_is_trained_with():
    policy = model_of(OWN).policy
    assert same(policy.attention(frames()), asked_for(policy, ("value",)))
    assert same(policy.attention(frames(), targets=BOTH), asked_for(policy))
    assert not torch.equal(policy.attention(frames(), method="gradcam")["value"], asked_for(policy)["value"])
    # A rectification of one target leaves that of the other.
    relu = policy.attention(frames(), rectification={"value": "relu"}, targets=BOTH)
    assert torch.equal(relu["policy"], asked_for(policy)["policy"])
    assert not torch.equal(relu["value"], asked_for(policy)["value"])


@pytest.mark.parametrize("algorithm", [CAMALPPO, PPO])
def test_a_loaded_model_knows_its_maps(tmp_path, algorithm):
    model = model_of(OWN)
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", device="cpu")
    assert loaded.policy.map_settings == MapSettings.of(OWN)
    assert same(loaded.policy.attention(frames()), model.policy.attention(frames()))
    loaded.save(tmp_path / "again")
    assert PPO.load(tmp_path / "again", device="cpu").policy.map_settings == MapSettings.of(OWN)


def test_a_policy_that_is_saved_by_itself_knows_its_maps(tmp_path):
    policy = model_of(OWN).policy
    policy.save(tmp_path / "policy")
    loaded = CamPolicy.load(tmp_path / "policy")
    assert loaded.map_settings == MapSettings.of(OWN)
    assert same(loaded.attention(frames()), policy.attention(frames()))


def test_a_model_that_is_loaded_with_other_settings_has_the_maps_of_those(tmp_path):
    model_of(OWN).save(tmp_path / "model")
    loaded = CAMALPPO.load(tmp_path / "model", device="cpu", camal=CamalConfig(weight=0, method="normgrad"))
    assert loaded.policy.map_settings == MapSettings(method="normgrad")


def test_the_callers_policy_arguments_stay_and_stock_policies_get_none():
    given = {"encoder": "compact"}
    CAMALPPO("CamPolicy", CountingEnv(), n_steps=8, batch_size=8, policy_kwargs=given)
    assert given == {"encoder": "compact"}
    stock = CAMALPPO("MlpPolicy", CountingEnv(), n_steps=8, batch_size=8, camal=CamalConfig(weight=0))
    assert "maps" not in (stock.policy_kwargs or {})


def test_every_way_to_maps_takes_the_models_own():
    policy = model_of(OWN).policy
    expected = asked_for(policy)
    assert same(attention_maps(policy, frames()), expected)
    for target, cam in policy_outputs(policy, frames()).maps.items():
        torch.testing.assert_close(torch.from_numpy(cam), expected[target])
    for target in BOTH:
        whole = normalize_cam(upsample_cam(expected[target], (16, 16)))
        torch.testing.assert_close(explain(policy, frames(), target=target), whole)
    # What is asked for goes before.
    asked = attention_maps(policy, frames(), CamalConfig())
    assert same(asked, policy.attention(frames(), None, "gradcam", CamalConfig().rectification, BOTH))


def test_a_policy_of_another_class_has_the_defaults():
    stock = policy_of(None, shape=(3, 40, 40), policy_class=_stock)
    for target, rectify in {"value": "relu", "policy": "absolute"}.items():
        images = frames(2, 40, 40)
        assert torch.equal(
            explain(stock, images, target=target), explain(stock, images, "gradcam", target, "last", rectify)
        )


def _stock(*args, encoder, **kwargs):
    return ActorCriticCnnPolicy(*args, **kwargs)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ({"methods": "gradcam"}, "unknown map setting 'methods'; choose from targets, method, value_rectification"),
        ({"method": "gradcamm"}, "camal.method must be one of gradcam, hirescam"),
        ({"targets": ["q"]}, "camal.targets must be one of value, policy, got 'q'"),
    ],
)
def test_wrong_settings_are_one_line(maps, message):
    with pytest.raises(ValueError, match=message):
        policy_of(maps=maps)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"targets": ["q"]}, "unknown target 'q'; choose one of value, policy"),
        ({"rectification": {"q": "relu"}}, "unknown target 'q'; choose one of value, policy"),
        ({"rectification": "square"}, "unknown rectification 'square'; choose one of relu, absolute"),
        ({"method": "cam"}, "unknown CAM method 'cam'; choose one of gradcam"),
    ],
)
def test_wrong_wishes_are_one_line(asked, message):
    with pytest.raises(ValueError, match=message):
        policy_of().attention(frames(), **asked)
