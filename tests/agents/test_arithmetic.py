"""What ``precision: auto`` comes to is settled when a model is made, and its file keeps it."""

from pathlib import Path

import pytest
import torch
from stable_baselines3 import PPO

from camal_rl.agents import CAMALPPO
from camal_rl.agents.arithmetic import computing
from camal_rl.agents.cam_encoder import resolve_precision
from camal_rl.envs import make_vec
from camal_rl.runs.loading import load_config, shipped_configs
from tests.agents.test_policy import OwnEncoder


@pytest.fixture
def env():
    made = make_vec("toy_grid/default", num_envs=2, seed=0)
    yield made
    made.close()


def here(monkeypatch, fast):
    """Be on a machine that computes in bfloat16, or on one that does not."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)


def agent(env, encoder="compact", precision="auto"):
    kwargs = {"encoder": encoder, "precision": precision}
    return CAMALPPO("CamPolicy", env, camal={"weight": 0}, n_steps=4, batch_size=8, policy_kwargs=kwargs, device="cpu")


@pytest.mark.parametrize("trained_fast", [True, False])
@pytest.mark.parametrize("loads", [CAMALPPO, PPO])
def test_a_model_is_evaluated_elsewhere_in_the_arithmetic_it_was_trained_in(
    env, monkeypatch, tmp_path, trained_fast, loads
):
    here(monkeypatch, trained_fast)
    model, images = agent(env), env.reset()
    expected = {"device": "cpu", "precision": "bfloat16" if trained_fast else "float32"}
    assert computing(model.policy) == expected
    maps = model.policy.attention(images)
    model.save(tmp_path / "model")
    here(monkeypatch, not trained_fast)
    loaded = loads.load(tmp_path / "model", device="cpu")
    assert computing(loaded.policy) == expected
    for target, cam in loaded.policy.attention(images).items():
        assert torch.equal(cam, maps[target])


def test_auto_suits_an_encoder_of_any_kind_on_any_machine(env, monkeypatch):
    for fast in (True, False):
        here(monkeypatch, fast)
        assert computing(agent(env, OwnEncoder).policy) == {"device": "cpu", "precision": "float32"}


def test_a_named_precision_is_what_is_recorded(env):
    for precision in ("bfloat16", "float32"):
        assert computing(agent(env, precision=precision).policy)["precision"] == precision
    stock = PPO("CnnPolicy", env, n_steps=4, batch_size=8, device="cpu")
    assert computing(stock.policy) == {"device": "cpu", "precision": "float32"}


def test_auto_is_bfloat16_on_this_cpu_only_if_its_flags_say_so():
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    if not flags:
        pytest.skip("the flags of this processor are not known")
    fast = resolve_precision("auto", torch.device("cpu")) == "bfloat16"
    assert fast <= bool({"avx512_bf16", "amx_bf16", "amx_tile"} & set(flags))


def test_shipped_configurations_are_in_bfloat16_only_where_it_is_fast():
    configs = [load_config(name) for name in shipped_configs()]
    assert {config.policy.precision for config in configs if hasattr(config, "policy")} == {"auto"}
