import subprocess
import sys
import warnings
from collections import defaultdict

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from camal_rl.agents import CAMALPPO, CamalConfig, CamPolicy
from camal_rl.agents.encoders import SHIPPED_ENCODERS
from camal_rl.agents.rollout_buffer import TARGET_MASKS
from camal_rl.agents.sample_evaluation import evaluate_samples
from camal_rl.envs import make_vec

from .fakes import CountingEnv, WrongShapeEnv, unsegmented_env

SETTINGS = {"n_steps": 16, "batch_size": 32, "n_epochs": 2, "seed": 3, "learning_rate": 1e-3}


def trained(algorithm, policy, encoder="compact", steps=3 * 8 * 16, **kwargs):
    env = make_vec("toy_grid/default", num_envs=8, seed=0)
    policy_kwargs = {} if policy == "CnnPolicy" else {"encoder": encoder}
    model = algorithm(policy, env, policy_kwargs=policy_kwargs, **SETTINGS, **kwargs)
    return model.learn(steps)


def same_parameters(one, other):
    ours, theirs = one.policy.state_dict(), other.policy.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("encoder", SHIPPED_ENCODERS)
@pytest.mark.parametrize("extra", [{}, {"clip_range_vf": 0.2, "target_kl": 0.01, "normalize_advantage": False}])
def test_weight_zero_is_stock_ppo_bit_for_bit(encoder, extra):
    stock = trained(PPO, CamPolicy, encoder, **extra)
    ours = trained(CAMALPPO, "CamPolicy", encoder, camal=CamalConfig(weight=0), **extra)
    assert same_parameters(stock, ours)
    for key in ("train/loss", "train/approx_kl", "train/value_loss", "train/entropy_loss", "train/explained_variance"):
        assert ours.logger.name_to_value[key] == pytest.approx(stock.logger.name_to_value[key], rel=1e-5), key


def test_nature_at_weight_zero_is_stock_cnn_policy_bit_for_bit():
    assert same_parameters(
        trained(PPO, "CnnPolicy"), trained(CAMALPPO, "CamPolicy", "nature", camal=CamalConfig(weight=0))
    )


def test_a_weight_changes_the_parameters():
    assert not same_parameters(trained(PPO, CamPolicy), trained(CAMALPPO, "CamPolicy", camal=CamalConfig(weight=0.1)))


def test_training_moves_attention_onto_the_relevant_objects():
    def logged(weight):
        model = trained(CAMALPPO, "CamPolicy", steps=8 * 8 * 16, camal=CamalConfig(weight=weight))
        return model.logger.name_to_value

    plain, supervised = logged(0), logged(1.0)
    for target in ("value", "policy"):
        assert supervised[f"camal/{target}/epg"] > plain[f"camal/{target}/epg"] + 0.1


def test_what_is_logged():
    log = trained(CAMALPPO, "CamPolicy", camal=CamalConfig(weight=0.1)).logger.name_to_value
    for key in ("loss", "inside", "outside", "valid_fraction", "weight", "value/epg", "policy/iou", "policy/zero_maps"):
        assert np.isfinite(log[f"camal/{key}"])
    assert log["camal/loss"] == pytest.approx(log["camal/inside"] + log["camal/outside"], rel=1e-5)


def test_the_inside_weight_scales_the_part_inside_alone():
    camal = CamalConfig(weight=0.1, inside_weight=0.25)
    log = trained(CAMALPPO, "CamPolicy", steps=128, camal=camal).logger.name_to_value
    assert log["camal/loss"] == pytest.approx(0.25 * log["camal/inside"] + log["camal/outside"], rel=1e-5)


@pytest.mark.parametrize("loss", ["energy", "l1", "ppce", "rrr", "mse"])
def test_the_peers_losses_train(loss):
    model = trained(CAMALPPO, "CamPolicy", steps=128, camal=CamalConfig(weight=0.1, loss=loss, targets=("value",)))
    assert np.isfinite(model.logger.name_to_value["camal/loss"])
    assert "camal/policy/inside" not in model.logger.name_to_value


def test_warmup_starts_at_weight_zero_bit_for_bit():
    camal = CamalConfig(weight=1.0, schedule="warmup", schedule_fraction=1.0)
    model = trained(CAMALPPO, "CamPolicy", steps=256, camal=camal)
    assert model.camal.weight_at(0.0) == 0
    assert 0 < model.logger.name_to_value["camal/weight"] <= 1


def test_bfloat16_learns_the_same_problem():
    model = CAMALPPO(
        "CamPolicy",
        make_vec("toy_grid/default", num_envs=8, seed=0),
        policy_kwargs={"encoder": "compact", "precision": "bfloat16"},
        **SETTINGS,
    )
    model.learn(256)
    assert all(parameter.dtype == torch.float32 for parameter in model.policy.parameters())
    assert all(torch.isfinite(parameter).all() for parameter in model.policy.parameters())


def test_an_environment_without_segmentation_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="needs an environment with segmentation; make it with"):
        CAMALPPO("CamPolicy", unsegmented_env(), policy_kwargs={"encoder": "compact"})


def test_masks_switched_off_are_refused_with_the_remedy():
    env = make_vec("toy_grid/default", num_envs=2, seed=0, segmentation=None)
    with pytest.raises(ValueError, match="segmentation"):
        CAMALPPO("CamPolicy", env, camal=CamalConfig(weight=0.1))


def test_weight_zero_needs_no_segmentation():
    off = CamalConfig(weight=0)
    model = CAMALPPO(
        "CamPolicy", unsegmented_env(), camal=off, n_steps=4, batch_size=4, policy_kwargs={"encoder": "compact"}
    )
    model.learn(8)
    assert "camal/value/epg" not in model.logger.name_to_value


def test_a_mask_of_the_wrong_shape_is_refused():
    model = CAMALPPO("CamPolicy", WrongShapeEnv(), n_steps=4, batch_size=4, policy_kwargs={"encoder": "compact"})
    with pytest.raises(ValueError, match=r"label maps of shape \(2, 16, 16\).*got uint8 of shape \(2, 8, 16\)"):
        model.learn(8)


def test_a_policy_without_attention_is_refused():
    with pytest.raises(ValueError, match="needs a policy with attention maps, got ActorCriticCnnPolicy"):
        CAMALPPO("CnnPolicy", make_vec("toy_grid/default", 2, 0), camal=CamalConfig(weight=0.1))


def test_a_coarse_cam_grid_says_so():
    with pytest.warns(UserWarning, match="4x4 on 64x64 images"):
        CAMALPPO("CamPolicy", make_vec("toy_grid/default", 2, 0), policy_kwargs={"encoder": "nature"})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        CAMALPPO("CamPolicy", make_vec("toy_grid/default", 2, 0), policy_kwargs={"encoder": "compact"})


def test_a_saved_model_goes_on_training_where_it_stopped(tmp_path):
    model = trained(CAMALPPO, "CamPolicy", steps=128, camal=CamalConfig(weight=0.3, targets=("policy",)))
    model.save(tmp_path / "model")
    loaded = CAMALPPO.load(tmp_path / "model", env=make_vec("toy_grid/default", num_envs=8, seed=0))
    assert loaded.camal == CamalConfig(weight=0.3, targets=("policy",))
    assert same_parameters(model, loaded)
    loaded.learn(128, reset_num_timesteps=False)
    assert loaded.num_timesteps == 256


def test_a_fresh_process_loads_the_model_with_sb3_and_acts_without_masks(tmp_path):
    trained(CAMALPPO, "CamPolicy", steps=128, camal=CamalConfig(weight=0.1)).save(tmp_path / "model")
    program = (
        "import numpy as np\n"
        "from stable_baselines3 import PPO\n"
        f"model = PPO.load({str(tmp_path / 'model')!r}, device='cpu')\n"
        "frames = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)\n"
        "print(type(model).__name__, type(model.rollout_buffer).__name__, model.predict(frames)[0].shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split("\n")[0] == "PPO RolloutBuffer (5,)"


def test_the_masks_do_not_depend_on_wrappers_above_the_environment():
    from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize

    env = VecNormalize(VecFrameStack(CountingEnv(size=16), 2), norm_obs=False)
    model = CAMALPPO("CamPolicy", env, n_steps=8, batch_size=8, policy_kwargs={"encoder": "compact"})
    model.learn(16)
    samples = next(model.rollout_buffer.get(16))
    newest = samples.observations[:, -1, 0, 0].long()
    assert torch.equal(samples.targets[:, 0].argmax(dim=1), newest // 4)


@pytest.mark.gpu
def test_training_on_cuda():
    env = make_vec("toy_grid/default", num_envs=8, seed=0)
    model = CAMALPPO("CamPolicy", env, policy_kwargs={"encoder": "compact"}, device="cuda", **SETTINGS)
    model.learn(256)
    assert model.policy.attention(env.reset())["value"].device.type == "cuda"


def test_continuous_actions_use_autograd_for_the_policy_map():
    class Continuous(CountingEnv):
        def __init__(self):
            super().__init__()
            self.action_space = gym.spaces.Box(-1, 1, (2,))

    model = CAMALPPO("CamPolicy", Continuous(), n_steps=8, batch_size=8, policy_kwargs={"encoder": "compact"})
    assert model.policy.has_closed_form("value")
    assert not model.policy.has_closed_form("policy")
    model.learn(16)
    assert np.isfinite(model.logger.name_to_value["camal/loss"])


@pytest.mark.parametrize("continuous", [False, True], ids=["closed form", "autograd"])
def test_a_share_of_the_frames_makes_up_the_term(continuous):
    class Actions(CountingEnv):
        def __init__(self):
            super().__init__()
            if continuous:
                self.action_space = gym.spaces.Box(-1, 1, (2,))

    camal = CamalConfig(weight=1.0, frame_fraction=0.25)
    model = CAMALPPO(
        "CamPolicy", Actions(), camal=camal, n_steps=8, batch_size=16, policy_kwargs={"encoder": "compact"}
    )
    model.learn(16)
    (batch,) = model.rollout_buffer.get(16)

    def term(targets):
        records = defaultdict(list)
        model._loss(batch._replace(columns={TARGET_MASKS: targets}), 0.2, None, 1.0, records)
        return records["camal/loss"][0].item()

    with_others, of_the_first, whole = (batch.targets.clone() for _ in range(3))
    with_others[4:] = 255 - with_others[4:]
    of_the_first[:4] = 255 - of_the_first[:4]
    assert term(with_others) == term(whole)
    assert term(of_the_first) != term(whole)
    maps = model.camal_term.attention_maps(evaluate_samples(model.policy, batch), create_graph=False)
    expected = model.camal_term.map_loss({name: cam[:4] for name, cam in maps.items()}, batch.targets[:4], 1.0)
    assert term(whole) == pytest.approx(expected.total.item(), rel=1e-5)


@pytest.mark.parametrize("fraction", [0, 1.5])
def test_a_share_of_frames_is_in_0_to_1(fraction):
    with pytest.raises(ValueError, match=rf"camal.frame_fraction must be in \(0, 1\], got {fraction}"):
        CamalConfig(frame_fraction=fraction)


def masks_of_the_first_frames(**settings):
    env = make_vec("toy_grid/default", num_envs=64, seed=0)
    model = CAMALPPO("CamPolicy", env, policy_kwargs={"encoder": "compact"}, camal=settings, **SETTINGS)
    env.reset()
    return model.camal_term.rollout_columns(env)[TARGET_MASKS]


def test_masks_of_training_can_be_made_worse():
    exact = masks_of_the_first_frames()
    grown = masks_of_the_first_frames(mask_change="dilated", mask_amount=0.5)
    assert (grown[exact > 0] == 255).all()
    assert grown.mean() > exact.mean()
    assert np.array_equal(exact, masks_of_the_first_frames(mask_change="dilated", mask_amount=0.0))


def test_a_share_of_the_frames_can_go_without_a_mask():
    exact, some = masks_of_the_first_frames(), masks_of_the_first_frames(mask_fraction=0.5)
    kept = some.any(axis=(1, 2))
    assert 16 < kept.sum() < 48
    assert np.array_equal(some[kept], exact[kept])


def test_a_share_of_frames_is_never_none():
    assert [CamalConfig(frame_fraction=0.25).num_attention_frames(size) for size in (2048, 10, 1)] == [512, 2, 1]
