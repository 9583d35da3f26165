"""Masks that are too small for the image size are counted and said; training without any is refused."""

import numpy as np
import pytest

from camal_rl.runs.json_files import read_json
from camal_rl.runs.metrics_file import read_metrics
from camal_rl.runs.results import ResultKey
from tests.command_line import refusal, run_main
from tests.supervised.test_data_folder import photograph, write

SETTINGS = (
    "data: {name: folder, root: photos, image_size: 16, augment: false}\n"
    "model: {name: compact, options: {width: 8}}\n"
    "evaluation: {sets: [test], images: 4}\nlog: {images: 0}\noptimization: {epochs: 2, batch_size: 4}\n"
)


def make_photos(root, tiny):
    """Write two classes of ten images, of which the first ``tiny`` have a mask of one pixel."""
    for name in ("cat", "dog"):
        for number in range(10):
            write(root / "photos" / "images" / name / f"{number}.png", photograph(160, 160))
            mask = np.zeros((160, 160), dtype=np.uint8)
            mask[: 1 if number < tiny else 80, :1] = 255
            mask[:, 1:80] = 0 if number < tiny else 255
            write(root / "photos" / "masks" / name / f"{number}.png", mask)
    (root / "mine.yaml").write_text(SETTINGS)


def test_training_without_any_mask_left_is_refused(in_tmp, capsys):
    make_photos(in_tmp, tiny=10)
    assert run_main("fit", "mine.yaml", "--run-dir", "run", "--no-progress") == 2
    err = refusal(capsys)
    assert "camal.weight above 0 needs masks, but of the training images" in err
    assert "masks are too small for the image size" in err
    assert "raise data.image_size" in err
    assert not (in_tmp / "run").exists()
    # Without the term nobody needs masks.
    assert run_main("fit", "mine.yaml", "camal.weight=0", "--run-dir", "run", "--no-progress") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("workers", [0, 1])
def test_lost_masks_are_counted_and_said_once(in_tmp, capsys, workers):
    make_photos(in_tmp, tiny=5)
    assert run_main("fit", "mine.yaml", f"optimization.workers={workers}", "--run-dir", "run", "--no-progress") == 0
    (line,) = capsys.readouterr().err.splitlines()
    lost = read_json(in_tmp / "run" / "train.json")["lost_masks"]
    assert 0 < lost <= 10
    assert line.startswith("camal-rl: warning: of the training images ")
    assert " of 14 masks are too small for the image size" in line
    assert run_main("evaluate", "run", "--no-progress") == 0
    found = read_metrics(in_tmp / "run" / "metrics.json").results
    masked = found.find(ResultKey("masked_images", "test"))
    assert masked.value == masked.count == 4
    empty = found.find(ResultKey("empty_targets", "test", "class", "own"))
    assert empty.count == 4
    assert empty.value == found.value("lost_masks", level_set="test")


@pytest.mark.parametrize(("asked", "measured"), [(3, 3), (64, 4)])
def test_evaluation_says_how_many_images_it_looked_at(in_tmp, asked, measured):
    make_photos(in_tmp, tiny=0)
    assert run_main("fit", "mine.yaml", "optimization.epochs=1", "--run-dir", "run", "--no-progress") == 0
    assert run_main("evaluate", "run", "--frames", str(asked), "--no-progress") == 0
    found = read_metrics(in_tmp / "run" / "metrics.json")
    assert found.settings["images"] == asked
    assert found.results.find(ResultKey("zero_maps", "test", "class", "own")).count == measured
