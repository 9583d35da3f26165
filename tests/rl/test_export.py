import importlib
import sys
from collections import Counter

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from torch import nn

from camal_rl.agents import CAMALPPO, CamalConfig
from camal_rl.agents.encoders import SHIPPED_ENCODERS
from camal_rl.rl.export import ExportMismatch, acting_program, export_policy
from camal_rl.rl.model_file import load_model
from camal_rl.rl.policy_file import read_policy
from camal_rl.runs import program_file
from tests.command_line import refusal, run_main

IMAGE = (64, 64, 3)


class Images(gymnasium.Env):
    def __init__(self, action_space=None):
        self.observation_space = spaces.Box(0, 255, IMAGE, np.uint8)
        self.action_space = action_space or spaces.Discrete(5)


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x):
        return x + self.second(torch.relu(self.first(torch.relu(x))))


class Textbook(BaseFeaturesExtractor):
    """The layers as the papers list them."""

    def __init__(self, observation_space, name):
        super().__init__(observation_space, 256)
        layers = []
        if name == "compact":
            layers += [nn.Conv2d(3, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()]
            layers += [nn.Conv2d(32, 32, 3, 1, 1)]
            flat = 32 * 16 * 16
        elif name == "patch":
            layers += [nn.Conv2d(3, 32, 4, 4), nn.ReLU(), nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU()]
            layers += [nn.Conv2d(32, 32, 3, 1, 1)]
            flat = 32 * 8 * 8
        else:
            for before, after in ((3, 16), (16, 32), (32, 32)):
                layers += [nn.Conv2d(before, after, 3, 1, 1), nn.MaxPool2d(3, 2, 1), Residual(after), Residual(after)]
            flat = 32 * 8 * 8
        self.network = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(flat, 256), nn.ReLU())

    def forward(self, observations):
        return self.network(observations)


def stock(encoder="nature", **policy_kwargs):
    policy_kwargs.setdefault("net_arch", [])
    if encoder != "nature":
        policy_kwargs.update(features_extractor_class=Textbook, features_extractor_kwargs={"name": encoder})
    return PPO("CnnPolicy", Images(), policy_kwargs=policy_kwargs, device="cpu", seed=0).policy


def camal(encoder="nature", action_space=None, **policy_kwargs):
    policy_kwargs["encoder"] = encoder
    none = CamalConfig(weight=0)
    env = Images(action_space)
    return CAMALPPO("CamPolicy", env, camal=none, policy_kwargs=policy_kwargs, device="cpu", seed=0).policy


def frames(count, seed=3):
    return np.random.default_rng(seed).integers(0, 256, (count, *IMAGE), np.uint8)


def operations(policy):
    graph = acting_program(policy).graph
    return Counter(str(node.target) for node in graph.nodes if node.op == "call_function")


def answers(program, images):
    return {name: tensor.numpy() for name, tensor in program.module()(torch.from_numpy(images)).items()}


@pytest.mark.parametrize(
    ("encoder", "layers", "precision"),
    [("nature", (3, 0), "float32"), ("compact", (3, 0), "bfloat16"), ("impala", (15, 3), "float32")],
)
def test_the_graph_of_camal_has_the_operations_of_stock_ppo_and_no_other(encoder, layers, precision):
    ours, theirs = operations(camal(encoder, precision=precision)), operations(stock(encoder))
    assert ours == theirs
    assert (theirs["aten.conv2d.default"], theirs["aten.max_pool2d.default"]) == layers
    assert theirs["aten.linear.default"] == 3


@pytest.mark.parametrize("encoder", SHIPPED_ENCODERS)
def test_with_the_same_weights_both_programs_give_the_same_numbers(encoder):
    ours, theirs = camal(encoder), stock(encoder)
    weights = [value for name, value in theirs.state_dict().items() if "pi_" not in name and "vf_" not in name]
    names = [name for name in ours.state_dict() if "pi_" not in name and "vf_" not in name]
    ours.load_state_dict(dict(zip(names, weights, strict=True)), strict=False)
    programs = [acting_program(policy) for policy in (ours, theirs)]
    for batch in (1, 7):
        got, expected = (answers(program, frames(batch)) for program in programs)
        assert got["logits"].shape == (batch, 5)
        assert got["value"].shape == (batch, 1)
        for name in ("logits", "value"):
            np.testing.assert_allclose(got[name], expected[name], rtol=1e-5, atol=1e-6)
        # Written out: SB3's heads on SB3's features of channels-first floats.
        with torch.no_grad():
            images = torch.from_numpy(frames(batch).transpose(0, 3, 1, 2) / np.float32(255))
            hidden = theirs.features_extractor(images.contiguous())
            np.testing.assert_allclose(got["logits"], theirs.action_net(hidden).numpy(), rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(got["value"], theirs.value_net(hidden).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("action_space", "outputs"),
    [
        (spaces.MultiDiscrete([2, 3]), {"logits": (4, 5), "value": (4, 1)}),
        (spaces.MultiBinary(3), {"logits": (4, 3), "value": (4, 1)}),
        (spaces.Box(-1, 1, (2,)), {"log_std": (2,), "mean": (4, 2), "value": (4, 1)}),
    ],
)
def test_every_kind_of_action_is_exported(tmp_path, action_space, outputs):
    policy = camal(action_space=action_space, log_std_init=-0.7)
    exported = export_policy(policy, tmp_path / "a.pt2")
    got = answers(torch.export.load(tmp_path / "a.pt2"), frames(4))
    assert {name: array.shape for name, array in got.items()} == outputs
    assert exported.outputs == tuple(outputs)
    if "mean" in outputs:
        np.testing.assert_allclose(got["log_std"], [-0.7, -0.7], atol=1e-6)
        raw = policy.predict(frames(4), deterministic=True)[0]
        np.testing.assert_allclose(np.clip(got["mean"], -1, 1), raw, atol=1e-5)


def test_separate_encoders_hidden_layers_and_images_that_are_not_scaled():
    common = {"share_features_extractor": False, "net_arch": {"pi": [8], "vf": [6]}, "normalize_images": False}
    for policy in (camal(**common), stock(**common)):
        before = {name: value.clone() for name, value in policy.state_dict().items()}
        got = answers(acting_program(policy.train()), frames(3))
        images = policy.obs_to_tensor(frames(3))[0]
        with torch.no_grad():
            np.testing.assert_allclose(got["value"], policy.predict_values(images), atol=1e-3)
        np.testing.assert_array_equal(got["logits"].argmax(1), policy.predict(frames(3), deterministic=True)[0])
        assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())


def test_the_policy_stays_as_it_was(tmp_path):
    policy = camal("compact", precision="bfloat16")
    policy.train()
    export_policy(policy, tmp_path / "a.pt2")
    assert policy.training
    assert policy.features_extractor.precision == "bfloat16"
    assert policy.features_extractor.cnn[2].weight.is_contiguous()


def test_a_program_that_computes_something_else_is_not_written(tmp_path):
    class Hotter(ActorCriticPolicy):
        def _get_action_dist_from_latent(self, latent_pi):
            return self.action_dist.proba_distribution(action_logits=2 * self.action_net(latent_pi))

    env = Images()
    policy = Hotter(
        spaces.Box(0, 255, (3, 64, 64), np.uint8), env.action_space, lambda _: 1.0, features_extractor_class=NatureCNN
    )
    with pytest.raises(ExportMismatch, match="differs from the model by"):
        export_policy(policy, tmp_path / "a.pt2")
    assert list(tmp_path.iterdir()) == []


def test_the_verb_writes_a_file_that_acts_without_this_package(tmp_path, trained, capsys, monkeypatch):
    out = tmp_path / "new" / "model.pt2"
    assert run_main("export", str(trained.path), "--out", str(out)) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{out}: images uint8 (B, 64, 64, 3) -> logits, value; differs from the model by ")
    assert printed.err == ""
    assert [path.name for path in out.parent.iterdir()] == ["model.pt2"]
    assert b"site-packages" not in out.read_bytes()
    chosen = load_model(trained).policy.predict(frames(3), deterministic=True)[0]
    with monkeypatch.context() as patch:
        for name in [name for name in sys.modules if name.split(".")[0] in ("camal_rl", "stable_baselines3")]:
            patch.setitem(sys.modules, name, None)
        with pytest.raises(ImportError):
            importlib.import_module("camal_rl.agents")
        got = answers(torch.export.load(out), frames(3))
    np.testing.assert_array_equal(got["logits"].argmax(1), chosen)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere"),
        (["RUN", "--out", "mine.pt2"], "mine.pt2 exists; give another --out or remove it"),
        (["RUN", "--format", "tflite"], "the format must be one of pt2, onnx, safetensors, hub, got 'tflite'"),
        (
            ["RUN", "--out", "a.onnx"],
            "the name of a pt2 file must end in .pt2, got a.onnx; rename it or give another --format",
        ),
        (["RUN", "--out", "mine.pt2/a.pt2"], "mine.pt2"),
        (
            ["RUN", "--format", "onnx", "--out", "a.onnx"],
            "ONNX needs onnx and onnxscript; install with: pip install onnx onnxscript",
        ),
        ([], "Missing argument"),
    ],
)
def test_bad_input_is_one_line_and_leaves_everything_as_it_was(
    tmp_path, monkeypatch, capsys, trained, arguments, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program_file, "_ONNX_PACKAGES", ("onnx_is_not_here", "onnxscript_is_not_here"))
    message = message.replace("needs onnx and onnxscript", "needs onnx_is_not_here and onnxscript_is_not_here")
    (tmp_path / "mine.pt2").write_text("precious")
    before = sorted(trained.path.rglob("*"))
    assert run_main("export", *(str(trained.path) if part == "RUN" else part for part in arguments)) == 2
    assert message in refusal(capsys)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"mine.pt2": "precious"}
    assert sorted(trained.path.rglob("*")) == before


def test_safetensors_are_the_whole_policy_with_its_maps(tmp_path, capsys, trained):
    out = tmp_path / "agent.safetensors"
    assert run_main("export", str(trained.path), "--format", "safetensors", "--out", str(out)) == 0
    assert "-> logits, value; differs from the model by 0 on random frames" in capsys.readouterr().out
    found, own = read_policy(tmp_path / "agent.json"), load_model(trained)
    assert (found.num_timesteps, found.training) == (256, own.training)
    for target, cam in own.policy.attention(frames(3)).items():
        assert torch.equal(found.policy.attention(frames(3))[target], cam)
    out.unlink()
    assert run_main("export", str(trained.path), "--format", "safetensors", "--out", str(out)) == 2
    assert "agent.json exists" in refusal(capsys)


def test_policies_that_cannot_be_exported_are_refused(tmp_path):
    noisy = PPO("CnnPolicy", Images(spaces.Box(-1, 1, (2,))), use_sde=True, device="cpu").policy
    with pytest.raises(ValueError, match="StateDependentNoiseDistribution cannot be exported"):
        export_policy(noisy, tmp_path / "a.pt2")
    blind = PPO("MlpPolicy", "CartPole-v1", device="cpu").policy
    with pytest.raises(ValueError, match="only policies for uint8 images"):
        export_policy(blind, tmp_path / "a.pt2")
    assert list(tmp_path.iterdir()) == []


def test_onnx_has_the_operations_of_stock_ppo_and_the_numbers_of_the_policy(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    policy = camal("compact")
    export_policy(policy, tmp_path / "ours.onnx", "onnx")
    export_policy(stock("compact"), tmp_path / "theirs.onnx", "onnx")
    kinds = [
        Counter(node.op_type for node in onnx.load(tmp_path / name).graph.node) for name in ("ours.onnx", "theirs.onnx")
    ]
    assert kinds[0] == kinds[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours.onnx", "theirs.onnx"]
    session = pytest.importorskip("onnxruntime").InferenceSession(tmp_path / "ours.onnx")
    for batch in (1, 6):
        expected = answers(acting_program(policy), frames(batch))
        logits, value = session.run(["logits", "value"], {"images": frames(batch)})
        np.testing.assert_allclose(logits, expected["logits"], atol=1e-5)
        np.testing.assert_allclose(value, expected["value"], atol=1e-5)
