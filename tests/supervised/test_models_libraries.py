import importlib
import json
import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from camal_rl.supervised.models import build, build_model, hugging_face, vision_libraries

from .seen_layer import run

pytestmark = pytest.mark.usefixtures("own_random_numbers")


def saved_vit(folder, num_classes=3):
    import transformers

    config = transformers.ViTConfig(
        image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        num_labels=num_classes,
    )  # fmt: skip
    network = transformers.ViTForImageClassification(config)
    network.save_pretrained(folder)
    return network.eval()


def test_a_local_folder_keeps_its_head_and_its_normalization(tmp_path):
    network = saved_vit(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1] * 3, "image_std": [0.2] * 3}))
    model = build_model(f"transformers:{tmp_path}", 3, 32).eval()
    assert model.cam_layer == "network.vit.layers.1.layernorm_before"
    assert (model.token_grid, model.prefix_tokens) == ((4, 4), 1)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model(images), network((images - 0.1) / 0.2).logits)
    (tmp_path / "preprocessor_config.json").unlink()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    plain = build_model(f"transformers:{tmp_path}", 3, 32).eval()
    normalized = (images - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(plain(images), network(normalized).logits)


class Planted:
    """What makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


def test_a_local_folder_runs_neither_pickles_nor_its_own_code(tmp_path):
    folder, marker = tmp_path / "folder", tmp_path / "code-was-executed"
    saved_vit(folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForImageClassification": "planted.Net", "AutoConfig": "planted.Config"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "planted.py").write_text(f"open({str(marker)!r}, 'w')\n")
    build_model(f"transformers:{folder}", 3, 32)
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "planted"}))
    with pytest.raises(ValueError, match="cannot read an image classifier from"):
        build_model(f"transformers:{folder}", 3, 32)
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {}}))
    (folder / "model.safetensors").unlink()
    torch.save(Planted(marker), folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"cannot read an image classifier from .*safetensors"):
        build_model(f"transformers:{folder}", 3, 32)
    assert not marker.exists()


def test_a_local_folder_gets_a_new_head_and_another_size(tmp_path):
    network = saved_vit(tmp_path)
    model = build_model(f"transformers:{tmp_path}", 5, 64)
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, 5)
    assert model.token_grid == (8, 8)
    torch.testing.assert_close(model.network.vit.layers[0].mlp.fc1.weight, network.vit.layers[0].mlp.fc1.weight)


@pytest.mark.parametrize(
    ("kind", "sizes", "expected"),
    [
        ("ConvNext", {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}, ((4, 4), None, None)),
        ("Dinov2WithRegisters", {"image_size": 32, "patch_size": 8, "num_register_tokens": 4}, (None, (4, 4), 5)),
    ],
)
def test_other_architectures_from_a_folder(tmp_path, kind, sizes, expected):
    import transformers

    if "Dino" in kind:
        sizes = {**sizes, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = getattr(transformers, f"{kind}Config")(num_labels=3, **sizes)
    getattr(transformers, f"{kind}ForImageClassification")(config).save_pretrained(tmp_path)
    model = build_model(f"transformers:{tmp_path}", 3, 32)
    logits, features = run(model, torch.rand(2, 3, 32, 32))
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), features, create_graph=True)
    gradient.square().sum().backward()
    grid = tuple(features.shape[2:]) if features.dim() == 4 else None
    assert (grid, getattr(model, "token_grid", None), getattr(model, "prefix_tokens", None)) == expected


def test_a_folder_without_a_model_is_one_clear_line(tmp_path):
    with pytest.raises(ValueError, match=r"no transformers model in '.*': expected a folder with config.json"):
        build_model(f"transformers:{tmp_path}", 3, 32)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(ValueError, match="cannot read an image classifier from") as caught:
        build_model(f"transformers:{tmp_path}", 3, 32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("vit", "transformers", "'transformers>=5.12' 'accelerate>=1.2'"),
        ("torchvision:resnet18", "torchvision.models", "torchvision"),
        ("timm:resnet18", "timm", "timm"),
    ],
)
def test_a_missing_library_is_one_clear_line(monkeypatch, name, module, package):
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"is not installed; install it with: pip install {package}$"):
        build_model(name, 3, 32)


class Attentive(nn.Module):
    """A small network with the fused attention of those libraries, and a head that starts at zero."""

    def __init__(self, num_classes):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, stride=8)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, num_classes)
        nn.init.zeros_(self.head.weight)

    def forward(self, images):
        tokens = self.norm(self.patches(images).flatten(2).transpose(1, 2))
        mixed = nn.functional.scaled_dot_product_attention(tokens[:, None], tokens[:, None], tokens[:, None])
        return self.head(mixed[:, 0].mean(dim=1))


@pytest.fixture
def calls(monkeypatch):
    """Stand-ins for torchvision.models and timm that note what they are asked for."""
    noted = []

    def create(name, **arguments):
        noted.append((name, arguments))
        if name == "resnet18" and "img_size" in arguments:
            raise TypeError("ResNet.__init__() got an unexpected keyword argument 'img_size'")
        return Attentive(arguments.get("num_classes", 1000))

    for library, function in (("torchvision.models", "get_model"), ("timm", "create_model")):
        module = ModuleType(library)
        setattr(module, function, create)
        module.list_models = lambda: ["resnet18", "resnet50", "vit_b_16"]
        monkeypatch.setitem(sys.modules, library.partition(".")[0], module)
        monkeypatch.setitem(sys.modules, library, module)
    return noted


def test_torchvision(calls):
    model = build_model("torchvision:resnet18", 3, 32)
    assert calls == [("resnet18", {"weights": None, "num_classes": 3})]
    assert (model.cam_layer, model.token_grid, model.prefix_tokens) == ("network.norm", (4, 4), 0)
    build_model("torchvision:vit_b_16", 3, 32)
    assert calls[-1] == ("vit_b_16", {"weights": None, "num_classes": 3, "image_size": 32})
    pretrained = build_model("torchvision:resnet18", 3, 32, pretrained=True)
    assert calls[-1] == ("resnet18", {"weights": "DEFAULT"})
    assert pretrained(torch.rand(2, 3, 32, 32)).shape == (2, 3)


def test_timm(calls):
    build_model("timm:vit_b_16.some_weights", 3, 32, pretrained=True)
    assert calls == [("vit_b_16.some_weights", {"pretrained": True, "num_classes": 3, "img_size": (32, 32)})]
    calls.clear()
    build_model("timm:resnet18", 3, 32)
    assert calls[-1] == ("resnet18", {"pretrained": False, "num_classes": 3})


def test_fused_attention_of_other_libraries_can_be_differentiated_twice(calls):
    model = build_model("timm:vit_b_16", 3, 32)
    nn.init.normal_(model.network.head.weight)
    logits, tokens = run(model, torch.rand(2, 3, 32, 32))
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), tokens, create_graph=True)
    gradient.square().sum().backward()
    assert model.network.norm.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_an_unknown_name_in_a_library(calls, library):
    with pytest.raises(ValueError, match=f"{library} has no model 'resnet19'; the nearest are resnet18"):
        build_model(f"{library}:resnet19", 3, 32)


def test_importing_the_models_imports_no_optional_library(monkeypatch):
    for library in ("transformers", "torchvision", "timm"):
        monkeypatch.setitem(sys.modules, library, None)  # an import of it fails
    for module in (hugging_face, vision_libraries, build):
        importlib.reload(module)
