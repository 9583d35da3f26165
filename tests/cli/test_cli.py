import importlib.util
import json
import re
import signal
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from camal_rl.cli.main import main
from camal_rl.envs.procgen.libraries import MODULE
from camal_rl.runs.json_files import read_json
from camal_rl.runs.metrics_file import read_metrics
from tests.command_line import refusal, run_main
from tests.conftest import TINY


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "toy_gird"], "did you mean 'toy_grid'"),
        (["train", "toy_grid", "camal.wieght=1"], "unknown key 'camal.wieght'; did you mean 'camal.weight'?"),
        (["train", "toy_grid", "camal.weight=-1"], "camal.weight must be a finite number of at least 0, got -1"),
        (["train", "toy_grid", "camal.weight=nan"], "camal.weight must be a finite number of at least 0, got nan"),
        (["train", "toy_grid", "env.id=toy_grid/defualt"], "did you mean 'toy_grid/default'"),
        (["train", "toy_grid", "env.id=toy_grid/defualt"], "env.id: unknown environment 'toy_grid/defualt'"),
        (["train", "toy_grid", "env.segmentation=null"], "camal.weight above 0 needs masks"),
        (["train"], "Missing argument"),
        (["trian"], "No such command 'trian'"),
        (["evaluate", "nowhere"], "nowhere is not a run folder"),
        (["explain", "nowhere"], "nowhere is not a run folder"),
        (["report", "nowhere"], "nowhere is not a run folder"),
        (["compare", "toy_grid", "--methods", "ppo,camel"], "did you mean 'camal'"),
        (["compare", "toy_grid", "--seeds", "0"], "Invalid value for '--seeds'"),
        (["train", "procgen", "env.id=minigrid/Empty-5x5"], "env.options.distribution_mode is inherited from"),
        (["train", "toy_grid", "env.relevant=agent"], "env.relevant must be a list, such as [agent]"),
        (
            ["masks", "toy_grid/default", "relevant=agent"],
            "relevant must be a list of class names, got 'agent'; write [agent]",
        ),
        (["train", "toy_grid", "--run-dir", "a" * 300], "a folder's name may have at most 255 bytes"),
        (["masks", "toy_grid/nope"], "unknown environment 'toy_grid/nope'"),
        (["masks", "toy_grid/default", "--level-set", "heldout"], "did you mean 'held_out'"),
        (["masks", "toy_grid/default", "segmentation=null"], "nothing to draw"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(in_tmp, capsys, arguments, message):
    assert run_main(*arguments) == 2
    assert message in refusal(capsys)
    assert list(in_tmp.iterdir()) == []


def test_an_unknown_option_is_one_line_and_exit_code_2(in_tmp, capsys):
    assert run_main("train", "toy_grid", "--run-dirr", "x") == 2
    # With a colon, or in quotes, as the version of the library has it.
    assert re.search(r"No such option(: --run-dirr| '--run-dirr')", refusal(capsys))
    assert list(in_tmp.iterdir()) == []


def test_a_run_folder_in_use_is_left_as_it_was(in_tmp, capsys):
    (in_tmp / "run").mkdir()
    (in_tmp / "run" / "precious").write_text("mine")
    assert run_main("train", "toy_grid", "--run-dir", "run") == 2
    assert capsys.readouterr().err == "camal-rl: run exists and is not empty; give another --run-dir or remove it\n"
    assert [path.name for path in (in_tmp / "run").iterdir()] == ["precious"]


def test_a_bug_keeps_its_traceback(monkeypatch, in_tmp):
    from camal_rl.rl import training

    def broken(*_args, **_kwargs):
        raise ValueError("a bug, not bad input")

    monkeypatch.setattr(training, "run", broken)
    with pytest.raises(ValueError, match="a bug"):
        main(["train", "toy_grid", *TINY])


def test_a_missing_extra_names_the_install_line(monkeypatch, in_tmp, capsys):
    from camal_rl.envs import registry

    def missing(*_args, **_kwargs):
        raise registry.MissingExtraError("MiniGrid", "minigrid")

    without = replace(registry.FAMILIES["procgen"], make_vec=missing)
    monkeypatch.setattr(registry.FAMILIES, "_entries", {**registry.FAMILIES._entries, "procgen": without})
    assert run_main("train", "procgen") == 2
    err = capsys.readouterr().err
    assert err == "camal-rl: MiniGrid is not installed; install it with: pip install 'minigrid>=3.1'\n"


def test_envs_lists_classes_and_what_installs_a_missing_simulator(capsys, monkeypatch):
    from camal_rl.envs import env_info

    assert run_main("envs", "TOY_grid") == 0
    out = capsys.readouterr().out
    for text in ("toy_grid/default", "hazard*", "held_out_cue"):
        assert text in out
    assert "procgen" not in out
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == MODULE else find_spec(name))
    assert env_info("toy_grid/default").installed
    assert not env_info("procgen/coinrun").installed
    assert run_main("envs") == 0
    assert "no: pip install procgen" in " ".join(capsys.readouterr().out.split())


def test_masks_writes_a_clip_whose_pictures_are_of_one_size(in_tmp, capsys):
    av = pytest.importorskip("av")
    command = ("masks", "toy_grid/default", "--frames", "1", "--out", "sheet.png", "--video", "--video-steps", "5")
    assert run_main(*command) == 0
    assert capsys.readouterr().out.splitlines()[1] == "5 steps of random play: sheet.mp4"
    with av.open(str(in_tmp / "sheet.mp4")) as container:
        clip = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(clip) == 5
    # The first picture is that of the sheet, reached without an action.
    assert run_main(*command[:6], "--steps", "0", "--force") == 0
    sheet = cv2.imread(str(in_tmp / "sheet.png"))[..., ::-1]
    rows = min(len(sheet), len(clip[0])) - 40
    assert np.abs(clip[0][:rows].astype(int) - sheet[:rows]).mean() < 8
    (in_tmp / "sheet.png").unlink()
    assert run_main(*command) == 2
    assert "sheet.mp4 exists" in capsys.readouterr().err
    assert not (in_tmp / "sheet.png").exists()


def test_masks_writes_a_sheet_and_keeps_existing_files(in_tmp, capsys):
    assert run_main("masks", "toy_grid/default", "--frames", "2", "--level-set", "held_out", "num_walls=4") == 0
    path = in_tmp / "masks-toy_grid-default.png"
    picture = cv2.imread(str(path))
    # Two rows of 192 pixels, a gap, a title; three columns and two gaps.
    assert picture.shape[1] == 3 * 192 + 2 * 6
    assert picture.shape[0] > 22 + 2 * 192 + 6
    before = path.read_bytes()
    assert run_main("masks", "toy_grid/default", "--frames", "1") == 2
    assert "--force" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert run_main("masks", "toy_grid/default", "--frames", "1", "--force") == 0
    assert path.read_bytes() != before


def test_train_then_evaluate(in_tmp, capsys):
    assert run_main("train", "toy_grid", *TINY, "camal.weight=0", "log.overlay_every=0") == 0
    run = in_tmp / "runs" / "toy_grid-default" / "ppo-seed0"
    out = capsys.readouterr().out
    assert "runs/toy_grid-default/ppo-seed0" in out
    assert "256 steps" in out
    assert run_main("evaluate", str(run), "--episodes", "5", "--frames", "4") == 0
    out = capsys.readouterr().out
    for text in ("Return, 5 episodes each", "held_out", "Alignment", "Deletion effect"):
        assert text in out
    assert run_main("evaluate", str(run), "--episodes", "3", "--frames", "0", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == read_json(run / "metrics.json")
    assert [each["figure"] for each in printed["results"] if each["target"]] == []
    assert {each["count"] for each in printed["results"] if each["figure"] == "return"} == {3}


def test_evaluate_refuses_a_run_without_a_model(in_tmp, capsys, trained):
    (in_tmp / "run").mkdir()
    (in_tmp / "run" / "config.yaml").write_bytes(trained.config_file.read_bytes())
    assert run_main("evaluate", "run") == 2
    assert "contains no model.zip" in capsys.readouterr().err
    assert run_main("evaluate", str(trained.path), "--episodes", "0") == 2
    assert "evaluation.episodes must be at least 1" in capsys.readouterr().err


def test_compare_writes_everything_and_uses_finished_runs_again(in_tmp, capsys):
    arguments = ["compare", "toy_grid", *TINY, "--seeds", "1", "--jobs", "1", "--out", "cmp"]
    assert run_main(*arguments) == 0
    out = capsys.readouterr().out
    shown = ("return on held_out", "no test is possible", "cmp/figures/attention.png", "tensorboard --logdir cmp")
    for text in shown:
        assert text in out
    folder = in_tmp / "cmp"
    comparison = read_json(folder / "comparison.json")
    results = read_metrics(folder / "camal-seed0" / "metrics.json").results
    mean = results.value("return", level_set="held_out", control="stochastic")
    assert comparison["figures"]["return/held_out"]["camal"]["seeds"] == {"0": mean}
    assert [run["provenance"] for run in comparison["runs"]] == [0, 0]
    assert comparison["provenance"][0]["computing"]["device"] == "cpu"
    steps, values = comparison["curves"]["rollout/ep_rew_mean"]["methods"]["camal"]["0"]
    assert len(steps) == len(values) >= 1
    kept = read_metrics(folder / "camal-seed0" / "metrics.json").run["provenance"]
    assert kept == comparison["provenance"][0]
    assert "| return on held_out |" in (folder / "comparison.md").read_text()
    # Image, relevant, and value and policy maps of two methods, for five frames.
    picture = cv2.imread(str(folder / "figures" / "attention.png"))
    assert picture.shape == (22 + 5 * 128 + 4 * 6, 6 * 128 + 5 * 6, 3)
    for name in ("learning_curves.png", "seeds.png"):
        assert cv2.imread(str(folder / "figures" / name)).std() > 5
    models = {path: path.stat().st_mtime_ns for path in folder.glob("*/model.zip")}
    assert len(models) == 2
    assert run_main(*arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/model.zip")} == models


def test_a_process_ends_with_the_code_and_without_a_traceback(tmp_path):
    command = [sys.executable, "-m", "camal_rl.cli.main", "train", "toy_grid", "camal.weight=-1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "camal-rl: camal.weight must be a finite number of at least 0, got -1.0\n"


def test_help_shows_examples_and_starts_without_torch(tmp_path):
    code = "import camal_rl.cli.main as m, sys; print('torch' in sys.modules, 'stable_baselines3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize(
    "verb", ["envs", "masks", "train", "evaluate", "explain", "compare", "sweep", "report", "glossary"]
)
def test_every_verb_has_help_with_an_example(capsys, verb):
    assert run_main(verb, "--help") == 0
    assert f"camal-rl {verb}" in capsys.readouterr().out.split("For example:")[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_comparison_that_is_interrupted_says_what_is_left(in_tmp, capsys, monkeypatch, number, code):
    from camal_rl.comparison import local
    from camal_rl.comparison.outcomes import Outcome

    monkeypatch.setattr(local._Workers, "execute", lambda *_: Outcome({}, number))
    assert run_main("compare", "toy_grid", *TINY, "--seeds", "2") == code
    assert "interrupted with 4 of 4 runs unfinished; run the same command to resume" in capsys.readouterr().err


def test_resuming_a_comparison_that_is_not_there_is_one_line(in_tmp, capsys):
    assert run_main("compare", "toy_grid", *TINY, "--out", "nowhere", "--resume") == 2
    assert "nowhere contains no run of this comparison to resume; omit --resume" in refusal(capsys)
    assert list(in_tmp.iterdir()) == []
