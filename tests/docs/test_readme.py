"""Python that reproduces a table has the settings of the command above it; README's lines give its first row."""

import inspect
import json
import re
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from stable_baselines3 import PPO

import camal_rl.agents
import camal_rl.envs
from camal_rl.rl import environments, ppo
from camal_rl.runs import allocator
from camal_rl.runs.loading import load_config
from camal_rl.runs.run_folder import RunFolder
from tests.docs.commands import parameters
from tests.docs.pages import ROOT, blocks, read, shell_lines

README, SCRIPT, TABLES = "README.md", "docs/in_python.md", "docs/results/short.md"


class Stop(Exception):
    """What is looked at has been said."""


class Calls:
    """Stands in for the agent and the environment, and keeps what they were asked for."""

    def __init__(self, monkeypatch):
        self.env, self.agent, self.wrapped, self.steps, self.kept_memory = None, None, None, None, False
        real_make_vec, calls = camal_rl.envs.make_vec, self

        def make_vec(env_id, num_envs, seed, **options):
            calls.env = {"id": env_id, "num_envs": num_envs, "seed": seed, **options}
            return real_make_vec("toy_grid/default", num_envs=2, seed=0)

        class Agent:
            def __init__(self, policy, env, **settings):
                defaults = {key: each.default for key, each in inspect.signature(PPO).parameters.items()}
                calls.agent = {**defaults, **settings, "policy": policy, "env": None}
                calls.wrapped = env

            def learn(self, total_timesteps, **_):
                calls.steps = total_timesteps
                raise Stop

        def keep_freed_memory():
            calls.kept_memory = True

        for owner, name, stand_in in (
            (camal_rl.envs, "make_vec", make_vec),
            (environments, "make_vec", make_vec),
            (camal_rl.agents, "CAMALPPO", Agent),
            (ppo, "CAMALPPO", Agent),
            (allocator, "keep_freed_memory", keep_freed_memory),
        ):
            monkeypatch.setattr(owner, name, stand_in)

    @property
    def settings(self):
        """What decides the result: not where logs go, nor what is printed."""
        return {key: value for key, value in self.agent.items() if key not in ("tensorboard_log", "verbose")}

    def wrappers(self):
        found, env = [], self.wrapped
        while hasattr(env, "venv"):
            options = {
                key: getattr(env, key)
                for key in ("norm_obs", "norm_reward", "gamma", "clip_reward", "epsilon")
                if hasattr(env, key) and type(env).__name__ == "VecNormalize"
            }
            found.append((type(env).__name__, options))
            env = env.venv
        return found


def snippet():
    (found,) = [block for block in blocks(SCRIPT) if block.language == "python" and "procgen/starpilot" in block.text]
    return found.text


def table_command():
    """Return the words of the command above the StarPilot table."""
    return re.search(r"^camal-rl compare procgen/starpilot.*$", read(TABLES), re.MULTILINE)[0].split()


@pytest.fixture
def asked(monkeypatch):
    with monkeypatch.context() as patched:
        calls = Calls(patched)
        with suppress(Stop):
            exec(compile(snippet(), SCRIPT, "exec"), {"__name__": "__main__"})
    return calls


def test_the_snippet_has_the_settings_of_the_command_above_the_table(asked, monkeypatch):
    given = parameters(table_command())
    config = load_config(given["config"], given["overrides"])
    reference = Calls(monkeypatch)
    ppo.PPO_ALGORITHM.build(config, environments.make_training_env(config), RunFolder(Path("nowhere")))
    assert asked.env == reference.env
    assert asked.wrappers() == reference.wrappers()
    expected = dict(reference.settings)
    # What is taken where nothing is said.
    assert not expected.pop("terms")
    assert not expected.pop("pessimistic_value_loss")
    assert expected["policy_kwargs"].pop("initialization") == "stock"
    assert expected["policy_kwargs"].pop("optimizer_kwargs") == {"eps": 1e-5}
    assert asked.settings == expected
    assert asked.steps == config.total_timesteps
    assert asked.kept_memory


def test_the_table_differs_from_the_shipped_configuration_in_the_share_of_frames_alone():
    given = parameters(table_command())
    assert list(given["overrides"]) == ["camal.frame_fraction=1"]
    assert load_config(given["config"]).camal.frame_fraction == 0.25
    assert "0.25, as in the file" in snippet()


@pytest.mark.parametrize("page", [README, TABLES])
def test_no_table_has_a_command_for_a_heading(page):
    lines = read(page).splitlines()
    headings = [line for line, rule in pairwise(lines) if re.match(r"\|( ?-+ ?\|)+$", rule)]
    assert len(headings) >= 2
    assert not [heading for heading in headings if "`" in heading]


def test_every_table_of_results_has_its_command_above_it():
    commands = [words for block in blocks(TABLES) if block.language == "sh" for _, words in shell_lines(block)]
    assert len(commands) == len(re.findall(r"^\|( ?-+ ?\|)+$", read(TABLES), re.MULTILINE)) == 3


def first_row():
    """Return title and cells of the first row of README's first table."""
    rows = [line.strip("|").split("|") for line in read(README).splitlines() if line.startswith("|")]
    return [cell.strip() for cell in rows[2]]


def test_readme_fits_on_one_screen():
    text = read(README)
    assert len(text.splitlines()) <= 100
    # One large picture, two tables of a few rows.
    assert text.count("![") == 1
    assert sum(line.startswith("|") for line in text.splitlines()) <= 12


def test_readmes_lines_train_what_its_first_row_shows(monkeypatch, tmp_path, capsys):
    """Every seed and method of the row, with the settings of its file, and the figure that the row averages."""
    from camal_rl.rl import model_file, training
    from camal_rl.rl.evaluate import evaluation
    from camal_rl.runs.results import Result, Results

    trained = []
    value = Result(figure="return", level_set="held_out", control="stochastic", value=0.5, count=256)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "prepare", lambda config, folder: trained.append(config))
    monkeypatch.setattr(training, "run", lambda *_: None)
    monkeypatch.setattr(model_file, "load_model", lambda _: None)
    monkeypatch.setattr(evaluation, "evaluate_run", lambda *_: SimpleNamespace(results=Results([value])))
    (block,) = [block for block in blocks(README) if block.language == "python"]
    exec(compile(block.text, README, "exec"), {"__name__": "__main__"})

    title, *_ = first_row()
    row = comparison("toy_grid_methods")
    assert "toy grid, 8 seeds: return on held-out levels" in title
    assert sorted((config.method_name, config.seed) for config in trained) == [
        (method, seed) for method in ("camal", "ppo") for seed in row["seeds"]
    ]
    measured_with = load_config("toy_grid", ["policy.precision=float32"])
    assert all(replace(config, seed=0) == measured_with.for_method(config.method_name) for config in trained)
    assert {config.length for config in trained} == {row["length"]}
    assert capsys.readouterr().out.splitlines()[-1] == "camal 7 0.5"


def comparison(name):
    return json.loads((ROOT / "docs" / "results" / "files" / f"{name}.json").read_text())
