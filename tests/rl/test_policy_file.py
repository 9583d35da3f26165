"""A policy in safetensors and JSON: bit for bit the trained one, and never another one."""

import json
import random
import shutil
import struct

import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors.torch import load_file, save_file
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from camal_rl.agents import CamPolicy
from camal_rl.agents.encoders import SHIPPED_ENCODERS
from camal_rl.rl import load_policy, save_policy
from camal_rl.rl.policy_file import checksum, read_policy
from camal_rl.rl.space_json import space_from_json, space_to_json
from camal_rl.runs.folders import sha256_of

IMAGES = spaces.Box(0, 255, (3, 40, 40), np.uint8)
SIDES = (36, 36)
ACTIONS = {
    "discrete": spaces.Discrete(5),
    "multi-discrete": spaces.MultiDiscrete([3, 2]),
    "multi-binary": spaces.MultiBinary(3),
    "box": spaces.Box(-2.0, np.array([1.0, np.inf], np.float32)),
}
MAPS = {"targets": ["policy", "value"], "method": "hirescam", "value_rectification": "absolute"}


class Tiny(BaseFeaturesExtractor):
    """An encoder of a user's own."""

    def __init__(self, observation_space, features_dim=6, sizes=(3, 3)):
        super().__init__(observation_space, features_dim)
        self.sizes = sizes
        first = nn.Conv2d(observation_space.shape[0], 8, sizes[0], stride=4)
        self.layers = nn.Sequential(first, nn.ReLU(), nn.Conv2d(8, features_dim, sizes[1]))

    def forward(self, observations):
        return torch.relu(self.layers(observations)).mean(dim=(-2, -1))


class Shifted(CamPolicy):
    """A policy of a user's own with an argument of its own."""

    def __init__(self, *arguments, shift=0.0, **kwargs):
        self.shift = shift
        super().__init__(*arguments, **kwargs)

    def _get_constructor_parameters(self):
        return {**super()._get_constructor_parameters(), "shift": self.shift}


def make(action_space=ACTIONS["discrete"], kind=CamPolicy, seed=0, **kwargs):
    torch.manual_seed(seed)
    policy = kind(IMAGES, action_space, lambda _: 1.0, **kwargs)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    policy.set_training_mode(False)
    return policy


def frames(count=6):
    return np.random.default_rng(0).integers(0, 256, (count, 40, 40, 3), np.uint8)


def check_same(ours, theirs):
    images = frames()
    state = theirs.state_dict()
    assert state.keys() == ours.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())
    assert not theirs.training
    tensors = torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        for first, second in zip(ours(tensors, True), theirs(tensors, True), strict=True):
            assert torch.equal(first, second)
    assert np.array_equal(ours.predict(images, deterministic=True)[0], theirs.predict(images, deterministic=True)[0])
    maps = theirs.attention(images)
    for target, cam in ours.attention(images).items():
        assert torch.equal(cam, maps[target])
    assert theirs.map_settings == ours.map_settings
    assert (theirs.observation_space, theirs.action_space) == (ours.observation_space, ours.action_space)


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("encoder", [*SHIPPED_ENCODERS, Tiny])
def test_a_loaded_policy_is_the_saved_one_bit_for_bit(tmp_path, encoder, actions):
    policy = make(ACTIONS[actions], encoder=encoder, maps=MAPS)
    assert save_policy(policy, tmp_path) == tmp_path / "model.json"
    check_same(policy, load_policy(tmp_path, "cpu"))


@pytest.mark.parametrize(
    "kwargs",
    [
        {"share_features_extractor": False, "net_arch": {"pi": [8, 4], "vf": [5]}, "activation_fn": nn.ReLU},
        {"encoder": "compact", "precision": "bfloat16", "ortho_init": False},
        {"encoder": "impala", "features_extractor_kwargs": {"depths": (8, 16), "features_dim": 32}},
        {"encoder": Tiny, "features_extractor_kwargs": {"sizes": (2, 4)}, "cam_layer": "layers.1"},
        {"kind": Shifted, "shift": 0.5, "net_arch": [7]},
    ],
)
def test_every_argument_of_a_policy_is_kept(tmp_path, kwargs):
    policy = make(maps=MAPS, **kwargs)
    save_policy(policy, tmp_path)
    loaded = load_policy(tmp_path / "model.safetensors", "cpu")
    assert type(loaded) is type(policy)
    check_same(policy, loaded)
    ours, theirs = policy._get_constructor_parameters(), loaded._get_constructor_parameters()
    for name in ours.keys() - {"lr_schedule", "optimizer_kwargs", "encoder"}:
        assert ours[name] == theirs[name], name


def test_state_dependent_noise_is_kept(tmp_path):
    policy = make(spaces.Box(-1, 1, (2,)), use_sde=True, squash_output=True, full_std=False)
    save_policy(policy, tmp_path)
    check_same(policy, load_policy(tmp_path, "cpu"))


def test_auto_precision_is_settled_where_the_policy_was_made(tmp_path):
    policy = make(encoder="compact", precision="auto")
    save_policy(policy, tmp_path)
    assert json.loads((tmp_path / "model.json").read_text())["arguments"]["precision"] in ("float32", "bfloat16")


def test_loading_leaves_random_numbers_alone(tmp_path):
    save_policy(make(), tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_policy(tmp_path)
    assert torch.equal(torch.rand(2), expected)


def test_training_writes_the_policy_with_its_steps_and_settings(trained):
    found = read_policy(trained.path, "cpu")
    assert found.num_timesteps == 256
    assert found.training["algorithm"] == "CAMALPPO"
    assert found.training["camal"]["method"] == found.policy.map_settings.method == "hirescam"


@pytest.mark.parametrize(
    "space",
    [
        *ACTIONS.values(),
        IMAGES,
        spaces.Discrete(3, start=-1),
        spaces.MultiDiscrete([[2, 3], [4, 5]]),
        spaces.MultiBinary([2, 3]),
        spaces.Box(np.float32(-0.1), np.inf, (2, 2)),
        spaces.Box(np.arange(4, dtype=np.int16), np.int16(7), dtype=np.int16),
        spaces.Dict({"left": IMAGES, "right": spaces.Discrete(2)}),
    ],
    ids=str,
)
def test_spaces_come_back_from_json(space):
    assert space_from_json(json.loads(json.dumps(space_to_json(space))), "space") == space


@pytest.mark.parametrize(
    "data",
    [
        None, [], {}, {"type": "Text"}, {"type": "Box"}, {"type": []},
        {"type": "Box", "shape": [10**6, 10**6], "dtype": "uint8", "low": 0, "high": 255},
        {"type": "Box", "shape": [2], "dtype": "object", "low": 0, "high": 255},
        {"type": "Box", "shape": [2], "dtype": "uint8", "low": 0, "high": 256},
        {"type": "Box", "shape": [2], "dtype": "uint8", "low": 9, "high": 2},
        {"type": "Box", "shape": [2], "dtype": "uint8", "low": [0, 0, 0], "high": 2},
        {"type": "Box", "shape": [True], "dtype": "uint8", "low": 0, "high": 2},
        {"type": "Discrete", "n": 0, "start": 0}, {"type": "Discrete", "n": 1e3, "start": 0},
        {"type": "Discrete", "n": 2, "start": 0, "more": 1},
        {"type": "MultiDiscrete", "nvec": [[1], [2, 3]], "start": [0]},
        {"type": "MultiDiscrete", "nvec": [], "start": []},
        {"type": "MultiBinary", "n": -1}, {"type": "Dict", "spaces": {}}, {"type": "Dict", "spaces": {"a": 1}},
    ],
)  # fmt: skip
def test_what_is_no_space_is_refused_in_one_line(data):
    with pytest.raises(ValueError, match=r"^space") as caught:
        space_from_json(data, "space")
    assert "\n" not in str(caught.value)


def write_signed(file, data):
    """Write a description as somebody does who changes it on purpose."""
    file.write_text(json.dumps({**data, "checksum": checksum(data)}))


def damaged_json(data, generator):
    """Change one value anywhere in plain data, remove it, or add one."""
    values = (None, [], {}, 1, -1, 1e300, True, "x", "9" * 30, 10**12, [1], {"a": 1}, "os:system", "../../x", 2**40)
    places = [(data, key) for key in data]
    for holder, key in places:
        if isinstance(holder[key], dict):
            places += [(holder[key], each) for each in holder[key]]
    holder, key = generator.choice(places)
    kind = generator.choice(("change", "change", "remove", "add"))
    if kind == "remove":
        del holder[key]
    else:
        holder[key if kind == "change" else "added"] = generator.choice(values)


def damage(folder, other, generator):
    """Do to the files of a policy one of the things that can happen to them; return whether that must be refused."""
    weights, description = folder / "model.safetensors", folder / "model.json"
    content, data = weights.read_bytes(), json.loads(description.read_text())
    kind = generator.choice(
        ("truncated", "flipped", "letters", "json", "bytes", "swapped", "tensors", "header", "removed")
    )
    if kind == "truncated":
        file = generator.choice((weights, description))
        file.write_bytes(file.read_bytes()[: generator.randrange(file.stat().st_size)])
    elif kind == "flipped":
        changed = bytearray(content)
        changed[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        weights.write_bytes(changed)
    elif kind == "letters":
        text = bytearray(description.read_bytes())
        # Inside a word or number: spaces mean nothing.
        place = generator.choice([index for index, letter in enumerate(text) if chr(letter).isalnum()])
        text[place] ^= 1 << generator.randrange(8)
        description.write_bytes(text)
    elif kind == "bytes":
        description.write_bytes(generator.choice((b"", b"[]", b"null", b"[" * 100_000, b"\xff\xfe\x00", b"{}")))
    elif kind == "swapped":
        name = generator.choice(("model.safetensors", "model.json"))
        shutil.copy(other / name, folder / name)
    elif kind == "removed":
        generator.choice((weights, description)).unlink()
    elif kind == "json":
        before = json.dumps(data, sort_keys=True)
        damaged_json(data, generator)
        if generator.random() < 0.5:
            write_signed(description, data)
            return False
        description.write_text(json.dumps(data))
        return json.dumps(data, sort_keys=True) != before
    else:
        if kind == "header":
            size = generator.choice((2**60, 10**8 + 1, 0, len(content)))
            weights.write_bytes(struct.pack("<Q", size) + content[8:])
        else:
            tensors = load_file(weights)
            name = generator.choice(list(tensors))
            change = generator.choice(("nan", "shape", "dtype", "name", "more", "fewer"))
            value = tensors.pop(name)
            if change == "nan":
                value.view(-1)[0] = generator.choice((float("nan"), float("inf")))
            changed = {"shape": value.flatten()[:-1].clone(), "dtype": value.double()}.get(change, value)
            if change != "fewer":
                tensors["x" if change == "name" else name] = changed
            if change == "more":
                tensors["more"] = value.clone()
            save_file(tensors, weights)
        # Whoever changes weights on purpose gives them their checksum too.
        data["weights"] = {"bytes": weights.stat().st_size, "sha256": sha256_of(weights)}
        write_signed(description, data)
    return True


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return the folders of two policies of one architecture's kind, and the first policy."""
    first, second = (tmp_path_factory.mktemp(name) for name in ("first", "second"))
    policy = make(encoder="compact", net_arch=[4])
    save_policy(policy, first)
    save_policy(make(encoder="compact", net_arch=[5], seed=1), second)
    return first, second, policy


def test_a_damaged_policy_is_refused_in_one_line_and_never_another_one(saved, tmp_path):
    first, second, policy = saved
    generator, told = random.Random(0), []
    for attempt in range(250):
        folder = tmp_path / str(attempt)
        shutil.copytree(first, folder)
        must_refuse = damage(folder, second, generator)
        try:
            loaded = load_policy(folder, "cpu")
        except (ValueError, FileNotFoundError) as error:
            told.append(str(error))
        else:
            assert not must_refuse
            assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in policy.state_dict().items())
        shutil.rmtree(folder)
    assert len(told) > 200
    assert [line for line in told if "\n" in line or len(line) > 700 or "model." not in line] == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("observation_space", {"type": "Box", "shape": [2, 2048, 2048], "dtype": "uint8", "low": 0, "high": 255}),
        ("action_space", {"type": "Discrete", "n": 2**31 - 1, "start": 0}),
        ("net_arch", [10**9, 10**9]),
        ("features_extractor_kwargs", {"features_dim": 10**9, "precision": "float32"}),
        ("encoder", "impala"),
    ],
)
def test_memory_is_taken_only_for_weights_that_are_there(saved, tmp_path, key, value):
    shutil.copytree(saved[0], tmp_path / "run")
    file = tmp_path / "run" / "model.json"
    data = json.loads(file.read_text())
    (data if key in data else data["arguments"])[key] = value
    write_signed(file, data)
    with pytest.raises(ValueError, match=r"model\.(safetensors does not hold the weights|json does not describe)"):
        load_policy(tmp_path / "run", "cpu")


def test_a_policy_that_cannot_be_described_is_not_written(tmp_path):
    class Local(Tiny):
        """A class that no path leads to."""

    with pytest.raises(ValueError, match=r"Local cannot be imported as .*; define it at the top of a module"):
        save_policy(make(encoder=Local), tmp_path)
    with pytest.raises(TypeError, match=r"holds a camal_rl\.agents\.CamPolicy, got a Linear"):
        save_policy(nn.Linear(1, 1), tmp_path)
    broken = make()
    with torch.no_grad():
        broken.value_net.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"not finite, value_net\.bias"):
        save_policy(broken, tmp_path)
    assert list(tmp_path.iterdir()) == []
