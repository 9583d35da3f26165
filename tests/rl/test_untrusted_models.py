"""A file that somebody sent does not run code, whichever verb reads it."""

import base64
import contextlib
import io
import json
import pickle
import shutil
import sys
import textwrap
import zipfile
from importlib import import_module

import cloudpickle
import pytest
import torch
import yaml

from camal_rl.agents import CAMALPPO
from camal_rl.failures import DivergedError, read_evidence
from camal_rl.rl import load_policy
from camal_rl.rl.config import agent_run_config
from camal_rl.rl.model_file import LoadedAgent, load_model
from camal_rl.rl.policy_file import checksum
from camal_rl.rl.training import replay_run
from camal_rl.runs.folders import sha256_of
from camal_rl.runs.json_files import read_json, write_json
from camal_rl.runs.run_folder import RunFolder
from tests.command_line import refusal, run_main

VERBS = ("evaluate", "explain", "export")
PARTS = ("policy.pth", "policy.optimizer.pth", "pytorch_variables.pth")


class Planted:
    """What makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


@pytest.fixture
def marker(tmp_path):
    """Return the file that code in a planted pickle makes."""
    return tmp_path / "code-was-executed"


@pytest.fixture
def sent(trained, tmp_path):
    """Return a run folder that somebody sent."""
    shutil.copytree(trained.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def planted_parts(marker):
    """Return what a planted object is in a file of torch's."""
    stream = io.BytesIO()
    torch.save(Planted(marker), stream)
    return stream.getvalue()


def plant_in_zip(folder, marker, key=None, part=None):
    """Put a pickle under a key of ``data`` in a model of Stable-Baselines3, or in the place of one of its parts."""
    with zipfile.ZipFile(folder.model_file) as archive:
        parts = {each.filename: archive.read(each) for each in archive.infolist()}
    if part is not None:
        parts[part] = planted_parts(marker)
    else:
        data = json.loads(parts["data"])
        data[key] = {":type:": "x", ":serialized:": base64.b64encode(cloudpickle.dumps(Planted(marker))).decode()}
        parts["data"] = json.dumps(data).encode()
    with zipfile.ZipFile(folder.model_file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    # Who sends a folder can write checksums too.
    write_json(folder.train_file, {**read_json(folder.train_file), "model_sha256": sha256_of(folder.model_file)})


def keys_of(folder):
    with zipfile.ZipFile(folder.model_file) as archive:
        return [*json.loads(archive.read("data")), "a key of the sender's own"]


def test_a_planted_pickle_does_run_where_it_is_unpickled(sent, marker):
    plant_in_zip(sent, marker, key="seed")
    with contextlib.suppress(Exception):
        CAMALPPO.load(sent.model_file, device="cpu")
    assert marker.exists()


def test_a_pickle_under_any_key_of_a_zip_is_not_read(sent, marker, trained, capsys):
    keys = keys_of(trained)
    assert len(keys) > 40
    for key in keys:
        shutil.copy(trained.model_file, sent.model_file)
        plant_in_zip(sent, marker, key=key)
        assert isinstance(load_model(sent), LoadedAgent)
    sent.policy_file.unlink()
    sent.weights_file.unlink()
    for key in keys:
        shutil.copy(trained.model_file, sent.model_file)
        plant_in_zip(sent, marker, key=key)
        with pytest.raises(ValueError, match=r"model\.zip may hold pickles, which run code when they are loaded"):
            load_model(sent)
    assert not marker.exists()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_refuses_a_zip_alone_and_says_why(sent, marker, capsys, verb, part):
    plant_in_zip(sent, marker, part=part)
    sent.policy_file.unlink()
    sent.weights_file.unlink()
    assert run_main(verb, str(sent.path)) == 2
    told = refusal(capsys)
    assert "model.zip may hold pickles, which run code when they are loaded" in told
    assert "give --trust (trust=True) if you made this file yourself" in told
    assert not marker.exists()


def test_a_report_goes_without_the_pictures_of_a_zip_alone(sent, marker, capsys):
    assert run_main("evaluate", str(sent.path)) == 0
    plant_in_zip(sent, marker, key="policy_class")
    sent.policy_file.unlink()
    sent.weights_file.unlink()
    assert run_main("report", str(sent.path), "--out", str(sent.path / "page")) == 0
    assert "may hold pickles, which run code when they are loaded" in (sent.path / "page" / "report.md").read_text()
    assert not marker.exists()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_loads_the_policy_file_and_leaves_the_zip_alone(sent, marker, capsys, verb):
    plant_in_zip(sent, marker, key="policy_class")
    options = {"evaluate": ["--episodes", "4", "--frames", "4"], "explain": ["--no-video", "--frames", "2"]}
    assert run_main(verb, str(sent.path), *options.get(verb, [])) == 0
    assert not marker.exists()


def test_a_trusted_zip_is_loaded_as_a_whole_model(sent):
    sent.policy_file.unlink()
    sent.weights_file.unlink()
    assert isinstance(load_model(sent, trust=True), CAMALPPO)
    assert isinstance(load_model(RunFolder(sent.path, trust=True)), CAMALPPO)
    assert run_main("export", str(sent.path), "--trust") == 0


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_pickle_in_the_place_of_a_policy_file_is_not_read(sent, marker, name):
    for content in (pickle.dumps(Planted(marker)), planted_parts(marker)):
        (sent.path / name).write_bytes(content)
        if name == "model.safetensors":
            data = read_json(sent.policy_file)
            data["weights"] = {"bytes": len(content), "sha256": sha256_of(sent.weights_file)}
            sent.policy_file.write_text(json.dumps({**data, "checksum": checksum(data)}))
        with pytest.raises(ValueError, match=r"model\.(json, line 1 is not|safetensors cannot be read)"):
            load_policy(sent.path)
    assert not marker.exists()


def test_half_a_policy_file_is_no_reason_to_read_the_zip(sent, marker):
    plant_in_zip(sent, marker, key="policy_class")
    sent.weights_file.unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        load_model(sent)
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        load_model(sent, trust=True)
    shutil.copy(sent.path / "config.yaml", sent.weights_file)
    sent.policy_file.unlink()
    with pytest.raises(FileNotFoundError, match=r"no model\.json"):
        load_model(sent)
    assert not marker.exists()


def test_the_policy_of_another_training_is_refused(sent):
    write_json(sent.train_file, {**read_json(sent.train_file), "policy_sha256": "0" * 64})
    with pytest.raises(ValueError, match=r"model\.json is not the file that training wrote"):
        load_model(sent)


def test_evidence_of_a_diverged_training_is_not_unpickled(sent, marker):
    for content in (planted_parts(marker), pickle.dumps(Planted(marker)), b"", b"PK\x03\x04"):
        sent.diverged_file.write_bytes(content)
        with pytest.raises(ValueError, match=r"diverged\.pt does not contain a training step \(\w+\); train again$"):
            replay_run(sent)
    torch.save([1], sent.diverged_file)
    with pytest.raises(ValueError, match=r"diverged\.pt does not contain a training step; train again$"):
        replay_run(sent)
    DivergedError(1, "loss", "x", "y", evidence={"minibatch": {}}).save(sent.diverged_file)
    assert read_evidence(sent.diverged_file)["what"] == "loss"
    assert not marker.exists()


def with_setting(folder, section, key, value):
    """Change a setting of a run as the sender of a folder can."""
    data = yaml.safe_load(folder.config_file.read_text())
    (data[section] if section else data)[key] = value
    folder.config_file.write_text(yaml.safe_dump(data))


CODE = """
    from pathlib import Path
    Path(MARKER).touch()
    from camal_rl.agents.encoders import CompactEncoder
"""


@pytest.mark.parametrize("where", ["run", "run/inner"])
@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("", "imports", "MODULE"),
        ("policy", "encoder", "MODULE:CompactEncoder"),
        ("camal", "loss", "MODULE:CompactEncoder"),
        ("env", "id", "MODULE:CompactEncoder"),
        ("algorithm", "name", "MODULE:CompactEncoder"),
    ],
)
def test_code_that_came_with_a_run_is_not_imported(sent, own_modules, marker, monkeypatch, where, section, key, value):
    (own_modules / where).mkdir(exist_ok=True)
    (own_modules / where / "planted.py").write_text(textwrap.dedent(CODE).replace("MARKER", repr(str(marker))))
    names = [f"{where.replace('/', '.')}.planted"]
    if where == "run":
        monkeypatch.setattr(sys, "path", [str(sent.path), *sys.path])
        names.append("planted")
    for name in names:
        given = value.replace("MODULE", name)
        with_setting(sent, section, key, [given] if key == "imports" else given)
        with pytest.raises(
            ValueError, match=r"would run code that came with the folder itself, .*planted\.py; install"
        ):
            load_model(sent)
        assert not marker.exists()


@pytest.mark.parametrize("verb", [*VERBS, "report"])
def test_a_package_that_is_missing_here_is_not_taken_from_the_folder_of_a_run(sent, marker, monkeypatch, capsys, verb):
    # Whoever works in the folder of a run has it among the folders of Python.
    (sent.path / "tensorboard_plugin_that_is_missing.py").write_text(f"open({str(marker)!r}, 'w')\n")
    monkeypatch.chdir(sent.path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def imports_it(*_, **__):
        import_module("tensorboard_plugin_that_is_missing")

    monkeypatch.setattr("camal_rl.runs.run_folder.check_whole", imports_it)
    assert run_main(verb, ".") == 2
    assert "would run code that came with the folder itself" in refusal(capsys)
    monkeypatch.setattr("camal_rl.rl.task.AgentTask.evaluation", imports_it)
    monkeypatch.setattr("camal_rl.runs.run_folder.check_whole", lambda _: None)
    assert run_main("evaluate", ".") == 2
    assert "would run code that came with the folder itself" in refusal(capsys)
    assert not marker.exists()


@pytest.mark.parametrize("key", ["encoder", "activation_fn", "policy"])
def test_code_beside_a_policy_file_is_imported_only_where_it_is_trusted(sent, own_modules, marker, key):
    (sent.path / "planted.py").write_text(textwrap.dedent(CODE).replace("MARKER", repr(str(marker))))
    data = read_json(sent.policy_file)
    (data if key in data else data["arguments"])[key] = "run.planted:CompactEncoder"
    sent.policy_file.write_text(json.dumps({**data, "checksum": checksum(data)}))
    with pytest.raises(ValueError, match="would run code that came with the folder itself"):
        load_policy(sent.path)
    assert not marker.exists()
    with contextlib.suppress(ValueError):
        load_policy(sent.path, trust=True)
    assert marker.exists()


@pytest.mark.parametrize("path", ["os:system", "subprocess:call", "builtins:exec", "torch:load"])
def test_a_function_that_a_run_names_as_its_environment_is_not_called(sent, marker, capsys, path):
    with_setting(sent, "env", "id", path)
    with_setting(sent, "env", "options", {"command": f"touch {marker}", "args": ["touch", str(marker)]})
    for verb in VERBS:
        assert run_main(verb, str(sent.path)) == 2
        assert "has a function as env.id" in refusal(capsys)
    assert not marker.exists()


def test_the_configuration_of_a_run_leads_to_no_other_file_and_to_no_variable(sent, tmp_path, monkeypatch):
    (tmp_path / "secret.yaml").write_text("seed: 5\n")
    monkeypatch.setenv("SECRET", "a password")
    for base in ("../secret.yaml", str(tmp_path / "secret.yaml"), "toy_grid"):
        with_setting(sent, "", "_base_", base)
        with pytest.raises(ValueError, match=r"config\.yaml is not the configuration of a run: it has _base_"):
            sent.config()
    with_setting(sent, "", "_base_", None)
    data = yaml.safe_load(sent.config_file.read_text())
    del data["_base_"]
    sent.config_file.write_text(yaml.safe_dump({**data, "name": "${oc.env:SECRET}"}))
    with pytest.raises(ValueError, match="name must be a folder name") as caught:
        agent_run_config(sent)
    assert "password" not in str(caught.value)
