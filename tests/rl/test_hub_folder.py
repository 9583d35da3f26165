"""A run as a folder for the Hugging Face Hub: a card that it reads, a model that loads, and nothing private."""

import getpass
import json
import re
import shutil
import socket

import numpy as np
import pytest
import torch

from camal_rl.comparison.groups import read_run
from camal_rl.comparison.report.hub_folder import prepare_hub_folder
from camal_rl.rl.config import agent_config
from camal_rl.rl.evaluate.evaluation import evaluate_run
from camal_rl.rl.model_file import load_model
from camal_rl.rl.policy_file import load_policy
from camal_rl.rl.training import prepare, run
from camal_rl.runs.json_files import read_json, write_record
from camal_rl.runs.loading import load_config
from camal_rl.runs.metrics_file import read_metrics
from camal_rl.runs.public_text import LEFT_OUT
from camal_rl.runs.run_folder import RunFolder
from camal_rl.runs.task import task_of
from camal_rl.runs.yaml_text import read_yaml
from tests.command_line import refusal, run_main
from tests.conftest import TINY
from tests.supervised.test_fit_cli import NAME
from tests.supervised.test_fit_cli import TINY as TINY_IMAGES

USER, MACHINE = "aliceliddell", "wonderbox7"
ALL = ["README.md", "config.yaml", "metrics.json", "model.json", "model.safetensors", "provenance.json", "train.json"]
DQN = "algorithm={_replace_: true, name: dqn, learning_starts: 16, buffer_size: 256, batch_size: 8}"


def make_run(folder, *settings):
    small = [each for each in TINY if not (settings and each.startswith("algorithm"))]
    config = agent_config(load_config("toy_grid", [*small, "total_timesteps=64", *settings]))
    run(prepare(config, RunFolder(folder)), ["camal-rl", "train", f"/home/{USER}/toy.yaml", "--key", "hunter2hunter2"])
    return RunFolder(folder)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("hub") / "run", *(each for each in TINY if "algorithm" in each))
    config = folder.config()
    evaluate_run(folder, load_model(folder), config.evaluation)
    return folder


@pytest.fixture
def mine(evaluated, tmp_path):
    """Return a copy of an evaluated run that a test may change."""
    return RunFolder(shutil.copytree(evaluated.path, tmp_path / "mine"))


def shared(folder, tmp_path, trust=False):
    return prepare_hub_folder(folder.path, tmp_path / "shared" / "model", trust)()


def text_of(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def front(folder):
    return read_yaml(text_of(folder).split("---\n")[1])


def snippet(folder):
    return re.search(r"```python\n(.*?)```", text_of(folder), re.DOTALL)[1]


def test_the_verb_writes_every_file_of_an_agent_and_uploads_nothing(evaluated, tmp_path, capsys):
    out = tmp_path / "new" / "model"
    assert run_main("export", str(evaluated.path), "--format", "hub", "--out", str(out)) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{out}: README.md, config.yaml, metrics.json, ")
    assert printed.err == ""
    assert sorted(path.name for path in out.iterdir()) == ALL
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_the_hub_reads_the_card_with_every_result_of_the_run(evaluated, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    out = shared(evaluated, tmp_path)
    card = hub.ModelCard.load(out / "README.md")
    assert (card.data.library_name, card.data.license) == ("camal-rl", "mit")
    assert card.data.pipeline_tag == "reinforcement-learning"
    assert {"reinforcement-learning", "camal", "ppo", "toy_grid/default"} <= set(card.data.tags)
    found = {(each.dataset_split, each.metric_type, each.metric_name): each for each in card.data.eval_results}
    results = read_metrics(evaluated.metrics_file).results
    for level_set in ("train", "held_out"):
        told = found[level_set, "mean_reward", f"return on {level_set}"]
        expected = results.select(figure="return", level_set=level_set, control="stochastic")[0]
        assert (told.metric_value, told.metric_args["count"]) == (expected.value, 12)
        assert told.metric_args["standard_error"] == expected.error
        assert told.dataset_name == "toy_grid/default"
    told = found["held_out", "epg", "EPG of the value map on held_out"]
    expected = results.select(figure="epg", level_set="held_out", target="value", map="own")[0]
    assert (told.metric_value, told.metric_args) == (expected.value, {"count": expected.count})
    assert len(found) == 6
    # What the Hub's own classes write of these results is what stands there.
    again = hub.ModelCardData(model_name=card.data.model_name, eval_results=card.data.eval_results).to_dict()
    assert again["model-index"] == front(out)["model-index"]


def test_every_file_is_one_that_a_commit_to_the_hub_takes(evaluated, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    out = shared(evaluated, tmp_path)
    files = sorted(path for path in out.rglob("*") if path.is_file() and not path.is_symlink())
    assert files == sorted(out.rglob("*"))
    names = [str(path.relative_to(out)) for path in files]
    # Making the operation checks name and file; nothing is sent.
    operations = [hub.CommitOperationAdd(name, out / name) for name in names]
    assert [each.upload_info.size for each in operations] == [path.stat().st_size for path in files]
    assert list(hub.utils.filter_repo_objects(names, ignore_patterns=hub.utils.DEFAULT_IGNORE_PATTERNS)) == ALL


def test_the_snippet_of_the_card_loads_the_trained_policy(evaluated, tmp_path, monkeypatch):
    out = shared(evaluated, tmp_path)
    monkeypatch.chdir(out)
    names = {}
    exec(snippet(out), names)
    assert names["actions"].shape == (5,)
    assert set(names["maps"]) == {"value", "policy"}
    own, found = load_policy(evaluated.path, "cpu").state_dict(), names["policy"].state_dict()
    assert own.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in own.items())


def test_the_folder_is_a_run_folder_with_the_same_settings_and_results(evaluated, tmp_path):
    out = shared(evaluated, tmp_path)
    found, own = read_run(out), read_run(evaluated.path)
    assert found.left_out == ()
    assert found.config == own.config
    assert found.metrics.results == own.metrics.results
    assert found.training["timesteps"] == own.training["timesteps"]
    assert found.provenance["git_revision"] == own.provenance["git_revision"]
    assert found.command is None
    images = np.zeros((2, 64, 64, 3), np.uint8)
    chosen = [load_model(folder).predict(images, deterministic=True)[0] for folder in (evaluated, found.folder)]
    np.testing.assert_array_equal(*chosen)


def test_the_card_tells_of_method_settings_machine_results_and_limits(evaluated, tmp_path):
    text = text_of(shared(evaluated, tmp_path))
    provenance = read_json(evaluated.provenance_file)
    for told in (
        "# camal on toy_grid/default, seed 0",
        "(`camal`, weight 0.1) that compares them with segmentation masks",
        "needs only images to act: no masks",
        "| trained for | 128 environment steps |",
        str(provenance["machine"]["cpu"]),
        provenance["versions"]["torch"],
        "| algorithm.n_steps | 16 |",
        "**Return, 12 episodes each (mean ± std of episodes)**",
        "start_level=1000000",
        "has its own license: MIT",
        "eprint = {2605.08325}",
    ):
        assert told in text


def test_a_run_that_was_not_evaluated_says_so_and_has_no_results(trained, tmp_path):
    assert not trained.metrics_file.exists()
    out = shared(trained, tmp_path)
    assert "**This run was not evaluated**" in text_of(out)
    assert "model-index" not in front(out)
    assert sorted(path.name for path in out.iterdir()) == [name for name in ALL if name != "metrics.json"]


def test_an_interrupted_training_is_told(mine, tmp_path):
    write_record(mine.train_file, {**read_json(mine.train_file), "interrupted": True})
    text = text_of(shared(mine, tmp_path))
    assert "(interrupted before its end)" in text
    assert "- Training was not completed." in text


def test_nothing_private_is_in_any_file(mine, tmp_path, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: USER)
    monkeypatch.setattr(socket, "gethostname", lambda: f"{MACHINE}.example.org")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    config = read_yaml(mine.config_file.read_text())
    config["name"] = f"{USER}-try3"
    config["tuning"] = {
        "search": "random", "objective": "return@train", "keys": ["C:\\Users\\me\\x", "0123456789abcdef"], "trials": 1,
        "runs": 1, "steps": 1, "seeds": [100],
    }  # fmt: skip
    mine.config_file.write_text(json.dumps(config))
    told = read_json(mine.provenance_file)
    part = {"step": 3, "command": f"camal-rl train /data/{USER}", "git_revision": "abc"}
    machine = {**told["machine"], "host": MACHINE, "cpu": f"CPU of {MACHINE}"}
    write_record(mine.provenance_file, {**told, "machine": machine, "environment": {}, "resumed": [part]})
    out = shared(mine, tmp_path)
    weights = out / "model.safetensors"
    for path in sorted(set(out.iterdir()) - {weights}):
        content = path.read_text(encoding="utf-8")
        for word in (
            USER, MACHINE, "hunter2", "0123456789abcdef", "C:\\", "/home", "/data", str(tmp_path), str(mine.path),
            "--run-dir", '"command"', "environment\"",
        ):  # fmt: skip
            assert word not in content, (path.name, word)
    assert "`name`, `tuning.keys.0` and `tuning.keys.1`" in text_of(out)
    assert "Training was resumed from a checkpoint: at step 3 (revision abc)." in text_of(out)
    found = read_run(out)
    assert (found.left_out, found.config.name) == ((), LEFT_OUT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--out", "new"], "nowhere is not a run folder"),
        (["RUN"], "--format hub writes a folder: give --out FOLDER"),
        (["RUN", "--out", "there"], "there exists; give another --out or remove it"),
        (["RUN", "--out", "there/file"], "there/file exists; give another --out or remove it"),
        (["RUN", "--out", "there/file/model"], "there/file is not a folder"),
        (["RUN", "--out", "RUN/hub"], "is inside the run itself"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(in_tmp, capsys, trained, arguments, message):
    (in_tmp / "there").mkdir()
    (in_tmp / "there" / "file").write_text("precious")
    before = sorted(trained.path.rglob("*"))
    words = [each.replace("RUN", str(trained.path)) for each in arguments]
    assert run_main("export", *words, "--format", "hub") == 2
    assert message in refusal(capsys)
    assert sorted(path.name for path in in_tmp.rglob("*")) == ["file", "there"]
    assert sorted(trained.path.rglob("*")) == before


@pytest.mark.parametrize("name", ["metrics.json", "train.json", "provenance.json", "config.yaml"])
def test_a_changed_file_is_refused_rather_than_told_of(mine, in_tmp, capsys, name):
    file = mine.path / name
    file.write_text(re.sub(r"1", "2", file.read_text()))
    assert run_main("export", str(mine.path), "--format", "hub", "--out", "out") == 2
    assert name in refusal(capsys)
    assert not (in_tmp / "out").exists()


def test_the_results_of_another_run_are_refused(mine, in_tmp, capsys):
    data = json.loads(mine.metrics_file.read_text())
    data.pop("content_sha256")
    write_record(mine.metrics_file, {**data, "run": {**data["run"], "seed": 5}})
    assert run_main("export", str(mine.path), "--format", "hub", "--out", "out") == 2
    assert "contains the results of another run: seed is 5" in refusal(capsys)


def test_a_zip_alone_needs_trust_and_becomes_files_without_code(mine, in_tmp, capsys):
    training = read_json(mine.train_file)
    training.pop("policy_sha256")
    write_record(mine.train_file, training)
    for file in (mine.policy_file, mine.weights_file):
        file.unlink()
    arguments = ["export", str(mine.path), "--format", "hub", "--out", "out"]
    assert run_main(*arguments) == 2
    assert "give --trust" in refusal(capsys)
    assert run_main(*arguments, "--trust") == 0
    assert sorted(path.name for path in (in_tmp / "out").iterdir()) == ALL
    load_model(RunFolder(in_tmp / "out"))


def test_names_of_a_foreign_run_stay_text_in_the_card(mine, tmp_path):
    data = json.loads(mine.metrics_file.read_text())
    data.pop("content_sha256")
    evil = "x](http://a.b) <script>1 ![p](q) | ```\n# big"
    data["maps"]["value"]["map"] = evil
    for each in data["results"]:
        each["level_set"] = evil if each["level_set"] == "held_out" else each["level_set"]
    write_record(mine.metrics_file, data)
    out = shared(mine, tmp_path)
    body = text_of(out).split("---\n", 2)[2]
    assert re.search(r"(?<!\\)<script>", body) is None
    assert "](http" not in body
    assert "\n# big" not in body
    assert front(out)["model-index"][0]["results"][1]["dataset"]["split"] == evil


def test_what_a_policy_cannot_be_made_without_is_not_left_out_but_refused(mine, in_tmp, capsys, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "hirescam")
    assert run_main("export", str(mine.path), "--format", "hub", "--out", "out") == 2
    assert "model.json would contain a path, a name or a secret of this machine in arguments.maps.method" in refusal(
        capsys
    )
    assert list(in_tmp.glob("*")) == [mine.path] or not (in_tmp / "out").exists()
    assert not list(in_tmp.glob(".partial*"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ((DQN, "env.num_envs=4"), "`q`"),
        (("camal.weight=0",), "Nothing was added to PPO's loss"),
        (("camal.weight=0", "env.masking=object_mask"), "it needs masks to act"),
    ],
)
def test_other_agents_get_a_card_of_their_own(tmp_path, monkeypatch, settings, told):
    kept = () if settings[0] == DQN else tuple(each for each in TINY if each.startswith("algorithm"))
    folder = make_run(tmp_path / "run", *kept, *settings)
    out = shared(folder, tmp_path)
    text = text_of(out).replace("of: q.", "`q`")
    assert told in text
    assert f"# {folder.config().method_name} on toy_grid/default, seed 0" in text
    monkeypatch.chdir(out)
    names = {}
    exec(snippet(out), names)
    assert names["actions"].shape == (5,)
    if folder.config().acting_note:
        names["venv"].close()


def test_a_classifier_gets_a_card_and_the_snippet_loads_it(tmp_path, monkeypatch):
    config = load_config(NAME, [*TINY_IMAGES, "optimization.epochs=1", "evaluation.images=2"])
    folder = RunFolder(tmp_path / "run")
    task = task_of(config)
    trial = task.prepare(config, folder)
    task.train(trial, ["camal-rl", "fit"], lambda *_: None)
    task.evaluation(folder, config).run(lambda _: None)
    out = shared(folder, tmp_path)
    assert sorted(path.name for path in out.iterdir()) == [name for name in ALL if name != "model.json"]
    assert front(out)["pipeline_tag"] == "image-classification"
    metrics = front(out)["model-index"][0]["results"][-1]["metrics"]
    assert {"accuracy", "epg"} <= {each["type"] for each in metrics}
    assert [each["args"]["count"] for each in metrics if each["name"] == "accuracy on test"] == [8]
    assert "segmentation masks" in text_of(out)
    assert read_run(out).left_out == ()
    monkeypatch.chdir(out)
    names = {}
    exec(snippet(out), names)
    own = trial.trainer.model.state_dict()
    assert all(torch.equal(value.cpu(), own[name].cpu()) for name, value in names["model"].state_dict().items())
    assert len(names["names"]) == 5
