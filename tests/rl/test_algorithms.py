"""Algorithms by name: their section of a configuration, what is asked of their models, and what is refused."""

import pickle
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

from camal_rl.agents import CAMALPPO
from camal_rl.rl.algorithms import ALGORITHMS, AlgorithmSpec, register_algorithm
from camal_rl.rl.config import EnvConfig, ExperimentConfig
from camal_rl.rl.ppo import PPO_ALGORITHM, PPOConfig, ppo_arguments
from camal_rl.rl.training import prepare
from camal_rl.runs.checks import Count, Share
from camal_rl.runs.inherited import inherited_note
from camal_rl.runs.loading import config_from_dict, dump_yaml, load_config
from camal_rl.runs.run_folder import RunFolder
from tests.command_line import refusal, run_main
from tests.conftest import TINY


@dataclass(frozen=True)
class Settings:
    rate: Share
    rounds: Count = 2
    note: str = "none"
    parts: tuple[str, ...] = ()


OWN = AlgorithmSpec(Settings, lambda *_: SimpleNamespace(policy=None, learn=None), CAMALPPO.load)
WITH_ANOTHER_POLICY = replace(
    PPO_ALGORITHM,
    build=lambda config, venv, folder: CAMALPPO(
        "CnnPolicy", venv, **{**ppo_arguments(config, folder), "policy_kwargs": {}, "camal": {"weight": 0}}
    ),
)
NO_SPEC = Settings(0.5)
HERE = __name__
LOAD = ["algorithm={_replace_: true, rate: 0.5}", f"algorithm.name={HERE}:OWN"]


def own(*overrides):
    return load_config("toy_grid", [*LOAD, *overrides])


def test_ppo_is_the_default_and_its_name_may_be_given():
    config = load_config("toy_grid")
    assert (config.algorithm_name, type(config.algorithm)) == ("ppo", PPOConfig)
    assert load_config("toy_grid", ["algorithm.name=ppo"]) == config
    assert config.as_dict()["algorithm"]["name"] == "ppo"


def test_the_other_keys_of_the_section_are_the_algorithms_own_with_their_types():
    config = own("algorithm.rounds=7", "algorithm.note=[a: b #1", "algorithm.parts=[1e3, x]")
    assert config.algorithm == Settings(0.5, 7, "[a: b #1", ("1e3", "x"))
    assert config.algorithm_name == f"{HERE}:OWN"
    assert pickle.loads(pickle.dumps(config)) == config


def test_a_file_its_base_and_the_resolved_configuration_hold_the_same_algorithm(tmp_path):
    section = f"algorithm: {{_replace_: true, name: '{HERE}:OWN', rate: 0.25}}"
    (tmp_path / "base.yaml").write_text(f"_base_: toy_grid\n{section}\n")
    (tmp_path / "mine.yaml").write_text("_base_: base.yaml\nalgorithm: {rounds: 3}\n")
    config = load_config(tmp_path / "mine.yaml", ["~algorithm.rate", "algorithm.rate=0.75"])
    assert config.algorithm == Settings(0.75, 3)
    (tmp_path / "resolved.yaml").write_text(dump_yaml(config))
    assert load_config(tmp_path / "resolved.yaml") == config
    assert config_from_dict(config.as_dict()) == config


def test_the_resolved_configuration_of_an_earlier_version_names_no_algorithm(tmp_path):
    data = load_config("toy_grid").as_dict()
    del data["algorithm"]["name"]
    assert config_from_dict(data) == load_config("toy_grid")


def test_methods_of_a_comparison_keep_the_algorithm():
    config = own()
    for method in ("ppo", "camal", "camal+drac"):
        made = config.for_method(method)
        assert (made.algorithm, made.algorithm_name, made.method_name) == (config.algorithm, f"{HERE}:OWN", method)


def test_python_takes_settings_or_a_mapping_of_them():
    env = EnvConfig("toy_grid/default")
    made = ExperimentConfig(env, algorithm=Settings(0.5), algorithm_name=f"{HERE}:OWN")
    assert made == ExperimentConfig(env, algorithm={"name": f"{HERE}:OWN", "rate": 0.5})
    assert replace(made, algorithm=replace(made.algorithm, rounds=9)).algorithm.rounds == 9
    for settings in (Settings(0.5), PPOConfig()):
        name = "ppo" if isinstance(settings, Settings) else f"{HERE}:OWN"
        with pytest.raises(ValueError, match=r"must be a mapping or the (Settings|PPOConfig) of algorithm"):
            ExperimentConfig(env, algorithm=settings, algorithm_name=name)
    with pytest.raises(ValueError, match=r"algorithm\.rate must be at most 1, got 2"):
        ExperimentConfig(env, algorithm=Settings(2), algorithm_name=f"{HERE}:OWN")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["algorithm.name=pp0"], "algorithm.name: unknown algorithm 'pp0'; did you mean 'ppo'? the algorithms are"),
        (["algorithm.name=nowhere.at_all:X"], "algorithm.name: cannot import 'nowhere.at_all'"),
        (["algorithm.name=tests.rl.test_algorithms:OWM"], "did you mean 'OWN'?"),
        ([f"algorithm.name={HERE}:NO_SPEC"], f"the algorithm '{HERE}:NO_SPEC' must be a camal_rl.rl.algorithms.Algor"),
        (["algorithm.name=''"], "algorithm.name: unknown algorithm ''"),
        (["algorithm={name: 3}"], "algorithm.name: input should be a valid string, got 3"),
        (["algorithm={name: null}"], "algorithm.name: input should be a valid string, got None"),
        (["algorithm=null"], "algorithm must be a mapping of keys to values, such as algorithm.<key>=<value>"),
        ([f"algorithm={{_replace_: true, name: '{HERE}:OWN'}}"], "algorithm.rate is missing"),
        ([*LOAD, "algorithm.rate=2"], "algorithm.rate must be at most 1, got 2"),
        ([*LOAD, "algorithm.rate=true"], "algorithm.rate must be a number, got true"),
        ([*LOAD, "algorithm.rate=nan"], "algorithm.rate must be a finite number, got 'nan'"),
        ([*LOAD, "algorithm.rounds=0"], "algorithm.rounds must be at least 1, got 0"),
        ([*LOAD, "algorithm.parts=x"], "algorithm.parts must be a list, such as [x], got 'x'"),
        ([*LOAD, "algorithm.raet=1"], f"algorithm '{HERE}:OWN' has no setting algorithm.raet; did you mean"),
        ([*LOAD, "algorithm.use_sde=true"], "has no setting algorithm.use_sde; its settings are rate, rounds"),
        (["algorithm_name=ppo"], "unknown key 'algorithm_name'"),
        (["~algorithm.name"], "cannot remove 'algorithm.name', which does not exist; algorithm has n_steps,"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_algorithm_is_one_line(overrides, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared
        load_config("toy_grid", overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_left_from_another_algorithm_are_all_named_with_where_they_come_from(in_tmp, capsys):
    (in_tmp / "mine.yaml").write_text(
        f"_base_: demo\nalgorithm: {{_replace_: true, name: '{HERE}:OWN', rate: 0.5, rounds: 3}}\n"
    )
    assert run_main("train", "mine.yaml", "algorithm.name=ppo") == 2
    told = refusal(capsys)
    assert "algorithm 'ppo' has no setting algorithm.rate, algorithm.rounds; its settings are n_steps," in told
    assert "inherited from configuration mine.yaml: ~algorithm.rate ~algorithm.rounds removes them" in told
    assert (
        load_config("mine.yaml", ["algorithm.name=ppo", "~algorithm.rate", "~algorithm.rounds"]).algorithm
        == PPOConfig()
    )
    # Nothing is inherited where the same file gave the name.
    assert inherited_note("mine.yaml", [], "no setting algorithm.rate") == ""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AlgorithmSpec(dict, print, print), "must be a class with @dataclass"),
        (lambda: AlgorithmSpec(NO_SPEC, print, print), "must be a class with @dataclass"),
        (lambda: AlgorithmSpec(dataclass(type("Thawed", (), {})), print, print), "must be a class with @dataclass"),
        (
            lambda: AlgorithmSpec(Named, print, print),
            "has a setting 'name', which is reserved for the algorithm's name",
        ),
        (lambda: AlgorithmSpec(Settings, None, print), "build of an algorithm must be a function, got None"),
        (lambda: register_algorithm("mine", PPOConfig), r"must be a camal_rl.rl.algorithms.AlgorithmSpec"),
        (lambda: register_algorithm("mine")(PPOConfig), r"must be a camal_rl.rl.algorithms.AlgorithmSpec"),
    ],
)
def test_what_is_no_algorithm_is_refused_when_it_is_made(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@dataclass(frozen=True)
class Named:
    name: str = field(default="x")


def test_a_registered_name_is_found_and_none_is_taken_twice(monkeypatch):
    monkeypatch.setattr(ALGORITHMS, "_entries", dict(ALGORITHMS._entries))
    assert register_algorithm("mine", OWN) is OWN
    # As in a module that is run again, which makes the same record of the same functions.
    register_algorithm("mine")(AlgorithmSpec(OWN.settings, OWN.build, OWN.load))
    with pytest.raises(ValueError, match="already belongs to another algorithm"):
        register_algorithm("mine", WITH_ANOTHER_POLICY)
    with pytest.raises(ValueError, match="already belongs to another algorithm"):
        register_algorithm("ppo", OWN)
    assert load_config("toy_grid", ["algorithm={_replace_: true, name: mine, rate: 1}"]).algorithm == Settings(1)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (LOAD, "made a SimpleNamespace, which has no save, predict, num_timesteps, ep_info_buffer; derive it from"),
        ([*LOAD, "env.normalize_reward=true"], "env.normalize_reward needs the discount of returns, a setting"),
        (
            [f"algorithm.name={HERE}:WITH_ANOTHER_POLICY", "log.overlay_every=0"],
            "need a camal_rl.agents.CamPolicy, but the model's policy is a ActorCriticCnnPolicy",
        ),
        (
            [f"algorithm.name={HERE}:WITH_ANOTHER_POLICY", "evaluation.frames=0", "camal.weight=0"],
            "need a camal_rl.agents.CamPolicy",
        ),
    ],
)  # fmt: skip
def test_a_model_that_lacks_something_is_refused_before_anything_is_written(in_tmp, capsys, overrides, message):
    tiny = [each for each in TINY if not each.startswith("algorithm.")] if overrides[0] == LOAD[0] else TINY
    assert run_main("train", "toy_grid", *tiny, *overrides, "--run-dir", "run") == 2
    assert message in refusal(capsys)
    assert not (in_tmp / "run").exists()


def test_a_policy_without_maps_trains_where_no_maps_are_asked_for(tmp_path):
    without = ["evaluation.frames=0", "camal.weight=0", "log.overlay_every=0"]
    config = load_config("toy_grid", [*TINY, f"algorithm.name={HERE}:WITH_ANOTHER_POLICY", *without])
    prepare(config, RunFolder(tmp_path / "run")).close()
