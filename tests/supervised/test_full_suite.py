"""``camal-rl evaluate --suite full`` of image classifiers: every figure, and maps on which no method trains."""

import copy
import json

import pytest
import torch
from torch import nn
from torch.nn import functional

from camal_rl.metrics import FAITHFULNESS_METRICS
from camal_rl.runs import faithfulness_suite
from camal_rl.runs.loading import load_config
from camal_rl.runs.metrics_file import read_metrics
from camal_rl.runs.results import ResultKey, Results
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.task import task_of
from camal_rl.supervised.attention_report import attention_report
from camal_rl.supervised.cam_classifier import CamClassifier
from camal_rl.supervised.config import CamalConfig, EvaluationConfig
from camal_rl.supervised.data.samples import collate
from camal_rl.supervised.full_suite import neutral_maps
from tests.command_line import refusal, run_main
from tests.supervised.fakes import PooledNet, Squares
from tests.supervised.test_evaluation import Sees
from tests.supervised.test_fit_cli import NAME, TINY

CAMAL = CamalConfig(method="hirescam", rectification="absolute")
MAPS = ["own", "random", "mask", "perturbation", "integrated_gradients"]


class Brightest(nn.Module):
    """Class 1, the more so the brighter the brightest mean of ``size x size`` pixels is; reads nothing else."""

    def __init__(self, size=1):
        super().__init__()
        self.size, self.scale = size, nn.Parameter(torch.ones(1))

    def forward(self, images):
        means = functional.avg_pool2d(images.mean(dim=1, keepdim=True), self.size, 1)
        peak = self.scale * means.amax(dim=(1, 2, 3))
        return torch.stack([-peak, peak], dim=1)


def report(model, suite, camal=CAMAL):
    """Return the report of a model on six images."""
    cams = CamClassifier(model, torch.rand(1, 3, 16, 16))
    settings = EvaluationConfig(images=6, grid=4, seed=0, suite=suite)
    return attention_report(model, cams, Squares(6), camal, settings, "test")


@pytest.mark.parametrize("target", ["true", "predicted"])
def test_the_full_suite_holds_the_quick_one_and_every_figure_of_every_map(target):
    camal = CamalConfig(method="hirescam", rectification="absolute", target=target)
    model = PooledNet()
    with torch.no_grad():
        model.head.weight *= 50
    quick, full = (report(model, suite, camal) for suite in ("quick", "full"))
    assert quick.maps == full.maps
    own = {"target": "class", "map": "own"}
    assert full.results.select(**own, figure="epg") == quick.results.select(**own, figure="epg")
    for map_ in ("own", "random"):
        for figure in ("deletion_effect", "deletion_change_auc", "insertion_change_auc"):
            key = ResultKey(figure, "test", "class", map_, "mean")
            # Pixels at the corners of the enlarged map are equally salient, and their order is drawn.
            assert full.results.find(key).value == pytest.approx(quick.results.find(key).value, rel=0.02, abs=3e-5)
    names = [metric.name for metric in FAITHFULNESS_METRICS]
    assert full.results.names("map", figure="deletion_effect", control="mean") == MAPS
    for map_ in MAPS:
        assert full.results.names("figure", map=map_, control="mean") == names
        assert full.results.names("figure", map=map_, control="0.5") == [
            "deletion_curve", "insertion_curve", "deletion_lerf_curve",
        ]  # fmt: skip
    for fill in ("blur", "zero", "road"):
        assert full.results.names("map", control=fill) == ["own", "random", "mask"]


def probabilities_of(model):
    """Return the function from uint8 images to class probabilities."""

    def probabilities(images):
        with torch.no_grad():
            return model(images.float() / 255).softmax(dim=1)

    return probabilities


def test_neutral_maps_lie_where_the_model_looks():
    batch, model = collate([Squares(8)[index] for index in range(8)]), Brightest()
    classes = torch.ones(8, dtype=torch.int64)
    maps = neutral_maps(model, probabilities_of(model), batch.images, classes, 3)
    assert list(maps) == list(faithfulness_suite.NEUTRAL_MAPS)
    for found in maps.values():
        assert found.shape == (8, 16, 16)
    gradients, covered = maps["integrated_gradients"], maps["perturbation"]
    inside = (gradients * batch.masks).sum(dim=(1, 2))
    torch.testing.assert_close(inside, gradients.sum(dim=(1, 2)))
    assert bool((inside > 0).all())
    # No window of 2x2 hides a square of 4x4, whose pixels are all equally bright.
    assert float(covered.abs().max()) == 0
    wide = Brightest(4)
    covered = neutral_maps(wide, probabilities_of(wide), batch.images, classes, 3)["perturbation"]
    assert bool(((covered * batch.masks).sum(dim=(1, 2)) > 0.5 * covered.sum(dim=(1, 2))).all())
    assert model.scale.grad is None


def test_neutral_maps_do_not_depend_on_the_number_of_images_at_once():
    batch, model = collate([Squares(7)[index] for index in range(7)]), PooledNet()
    one, two = (neutral_maps(model, probabilities_of(model), batch.images, batch.labels, size) for size in (2, 7))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-7)


def test_the_stability_of_the_own_map_is_measured_on_copies():
    model = PooledNet()
    before = copy.deepcopy(model.state_dict())
    results = report(model, "full").results
    randomized = results.select(figure="randomized_spearman", target="class")
    assert randomized.names("control") == ["head", "features.2", "features.0"]
    assert randomized.names("map") == ["own"]
    assert abs(randomized[-1].value) < 0.9
    for change in ("noise", "shift"):
        found = [each.figure for each in results.select(target="class", control=change)]
        assert any("consistency" in name for name in found), found
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_attention_of_the_models_own_is_randomized_through_the_model():
    results = report(Sees(), "full").results
    stages = results.select(figure="randomized_spearman", target="built_in")
    # This attention is a constant: no parameter changes it.
    assert {each.value for each in stages} == {1.0}
    assert results.select(figure="deletion_effect", target="built_in", control="mean").names("map") == MAPS


class OneCell(PooledNet):
    """Its map has one cell, so it is the same everywhere, for every image and every parameter."""

    cam_layer = "pool"

    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images):
        return self.head(self.pool(self.features(images)).flatten(1))


@pytest.mark.parametrize("grid", [1, 4])
def test_a_map_of_one_cell_can_be_measured(grid):
    model = OneCell()
    cams = CamClassifier(model, torch.rand(1, 3, 16, 16))
    settings = EvaluationConfig(images=6, grid=grid, seed=0, suite="full")
    results = attention_report(model, cams, Squares(6), CAMAL, settings, "test").results
    assert results.names("map", figure="deletion_effect", control="mean") == MAPS
    assert Results.from_json(json.loads(json.dumps(results.to_json(), allow_nan=False))) == results


def test_a_map_of_a_copy_is_that_of_the_copys_parameters():
    model, images, labels = PooledNet(), torch.rand(2, 3, 16, 16), torch.tensor([0, 1])
    cams = CamClassifier(model, images)
    other = PooledNet(seed=1)
    expected = CamClassifier(other, images).maps(images, labels, CAMAL)[0]
    assert torch.equal(cams.of(other).maps(images, labels, CAMAL)[0], expected)
    assert not torch.equal(cams.maps(images, labels, CAMAL)[0], expected)
    assert cams.model is model


def test_a_run_is_evaluated_with_the_full_suite(tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    assert run_main("fit", NAME, *TINY, "evaluation.sets=[test]", "evaluation.suite=full", "--run-dir", str(run)) == 0
    assert run_main("evaluate", str(run), "--suite", "quick", "--no-progress") == 0
    assert read_metrics(run / "metrics.json").suite == "quick"
    assert run_main("evaluate", str(run), "--no-progress") == 0
    metrics = read_metrics(run / "metrics.json")
    assert metrics.suite == "full"
    assert "suite" not in metrics.settings
    assert metrics.results.names("map", figure="deletion_effect", level_set="test", control="mean") == MAPS
    capsys.readouterr()
    assert run_main("evaluate", str(run), "--suite", "fast") == 2
    assert refusal(capsys) == "camal-rl: suite must be one of quick, full, got 'fast'\n"
    monkeypatch.setattr(faithfulness_suite, "find_spec", lambda name: None)
    assert run_main("evaluate", str(run)) == 2
    assert "pip install 'captum>=0.8'" in refusal(capsys)
    # A comparison learns it before it trains.
    config = load_config(NAME, [*TINY, "evaluation.suite=full"])
    with pytest.raises(ImportError, match="captum"):
        task_of(config).prepare(config, RunFolder(tmp_path / "other"))


def test_an_unknown_suite_of_a_configuration_is_named(capsys, tmp_path):
    assert run_main("fit", NAME, *TINY, "evaluation.suite=fast", "--run-dir", str(tmp_path / "run")) == 2
    assert "evaluation.suite: input should be 'quick' or 'full', got 'fast'" in refusal(capsys)
