"""An exported classifier answers as the classifier does, without this package."""

import numpy as np
import pytest
import torch

from camal_rl.runs.program_file import ExportMismatch
from camal_rl.runs.run_folder import RunFolder
from camal_rl.supervised.evaluation import load_trained
from camal_rl.supervised.export import export_classifier
from camal_rl.supervised.models import build_model
from tests.command_line import refusal, run_main
from tests.supervised.test_fit_cli import NAME, TINY


def images(size, count=7):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


@pytest.mark.parametrize("name", ["compact", "resnet"])
def test_the_program_gives_the_logits_of_the_classifier_for_any_number_of_images(tmp_path, name):
    torch.manual_seed(0)
    model = build_model(name, 3, 32).eval()
    exported = export_classifier(model, 32, tmp_path / "a.pt2", "pt2")
    assert (exported.image_shape, exported.outputs) == ((32, 32, 3), ("logits",))
    assert exported.difference <= 1e-5
    network = torch.export.load(tmp_path / "a.pt2").module()
    for count in (1, 7):
        frames = torch.from_numpy(images(32, count))
        with torch.no_grad():
            expected = model(frames.permute(0, 3, 1, 2) / 255)
        torch.testing.assert_close(network(frames)["logits"], expected)


def test_onnx_gives_them_too(tmp_path):
    pytest.importorskip("onnxscript")
    reference = pytest.importorskip("onnx.reference")
    model = build_model("compact", 3, 32).eval()
    export_classifier(model, 32, tmp_path / "a.onnx", "onnx")
    (logits,) = reference.ReferenceEvaluator(str(tmp_path / "a.onnx")).run(["logits"], {"images": images(32)})
    with torch.no_grad():
        expected = model(torch.from_numpy(images(32)).permute(0, 3, 1, 2) / 255)
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_a_model_that_is_no_graph_is_refused_in_one_line(tmp_path):
    with pytest.raises(ExportMismatch, match=r"^torch\.export cannot write this model as a graph: ") as caught:
        export_classifier(build_model("ifam", 3, 32).eval(), 32, tmp_path / "a.pt2", "pt2")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_verb_exports_the_run_of_a_classifier(tmp_path, capsys):
    run = tmp_path / "run"
    assert run_main("fit", NAME, *TINY, "camal.weight=0", "--run-dir", str(run)) == 0
    capsys.readouterr()
    assert run_main("export", str(run)) == 0
    assert "-> logits; differs from the model by" in capsys.readouterr().out
    folder = RunFolder(run)
    config = folder.config()
    model = load_trained(folder, config).model.cpu()
    frames = torch.from_numpy(images(config.data.image_size))
    with torch.no_grad():
        expected = model(frames.permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close(torch.export.load(run / "model.pt2").module()(frames)["logits"], expected)
    assert run_main("export", str(run), "--out", str(tmp_path / "a.safetensors"), "--format", "safetensors") == 2
    assert "already contains the weights in safetensors" in refusal(capsys)
