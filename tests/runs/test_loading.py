import math
from dataclasses import replace

import pytest

from camal_rl.envs import env_ids, level_sets
from camal_rl.rl.config import ExperimentConfig
from camal_rl.rl.environments import level_set_options
from camal_rl.runs.loading import config_from_dict, dump_yaml, load_config, parse_overrides, shipped_configs

CONFIGS = {name: load_config(name) for name in shipped_configs()}
AGENTS = [name for name, config in CONFIGS.items() if isinstance(config, ExperimentConfig)]


def test_every_shipped_configuration_supervises_attention():
    assert set(AGENTS) > {"toy_grid", "procgen/starpilot"}
    assert all(config.camal.weight > 0 for config in CONFIGS.values())


@pytest.mark.parametrize("name", AGENTS)
def test_level_sets_of_every_shipped_configuration_exist(name):
    config = CONFIGS[name]
    assert {*config.evaluation.sets, *config.evaluation.attention_sets} <= set(level_sets(config.env.id))


@pytest.mark.parametrize("env_id", [each for each in env_ids() if each.startswith("procgen/")])
def test_every_procgen_game_has_a_configuration_with_its_own_relevant_set(env_id):
    config = load_config(env_id)
    assert config.env.id == env_id
    assert config.env.relevant is None
    assert config.total_timesteps == 1_000_000


def test_procgen_has_the_published_hyperparameters():
    config = load_config("procgen/starpilot")
    algorithm = config.algorithm
    assert config.env.id == "procgen/starpilot"
    assert (config.env.num_envs, algorithm.n_steps, algorithm.n_epochs) == (64, 256, 3)
    assert config.env.num_envs * algorithm.n_steps // algorithm.batch_size == 8
    assert (algorithm.learning_rate, algorithm.gamma, algorithm.gae_lambda) == (5e-4, 0.999, 0.95)
    assert (algorithm.clip_range, algorithm.ent_coef, algorithm.vf_coef, algorithm.max_grad_norm) == (
        0.2,
        0.01,
        0.5,
        0.5,
    )
    assert config.env.normalize_reward
    train = level_set_options(config.env, "train")
    assert (train["start_level"], train["num_levels"], train["distribution_mode"]) == (0, 200, "easy")


def test_overrides_reach_every_kind_of_field():
    config = load_config(
        "toy_grid",
        [
            "seed=7",
            "camal.targets=[value]",
            "camal.weight=0.25",
            "env.options.cue_strength=0.5",
            "env.relevant=[goal,hazard]",
            "algorithm.anneal_learning_rate=true",
            "total_timesteps=1e3",
            "policy.encoder=impala",
        ],
    )
    assert config.seed == 7
    assert config.camal == replace(load_config("toy_grid").camal, weight=0.25, targets=("value",))
    assert config.env.options == {"cue_strength": 0.5}
    assert config.env.relevant == ("goal", "hazard")
    assert config.algorithm.anneal_learning_rate is True
    assert config.total_timesteps == 1000
    assert config.policy.encoder == "impala"


def test_yaml_round_trip(tmp_path):
    config = load_config("toy_grid", ["env.options.num_levels=50", "env.relevant=[goal]", "seed=3"])
    path = tmp_path / "config.yaml"
    path.write_text(dump_yaml(config))
    assert load_config(path) == config


def test_base_is_overlaid_and_a_circle_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("_base_: toy_grid\nenv: {num_envs: 16}\nname: mine\n")
    config, base = load_config("mine.yaml"), load_config("toy_grid")
    assert (config.env.num_envs, config.name, config.env.id) == (16, "mine", base.env.id)
    assert config.algorithm == base.algorithm
    (tmp_path / "a.yaml").write_text("_base_: b.yaml\n")
    (tmp_path / "b.yaml").write_text("_base_: a.yaml\n")
    with pytest.raises(ValueError, match=r"circle: a.yaml -> b.yaml -> a.yaml"):
        load_config("a.yaml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("camal.wieght=1", "unknown key 'camal.wieght'; did you mean 'camal.weight'?"),
        ("weight=1", "unknown key 'weight'; did you mean 'camal.weight'?"),
        ("algoritm.n_steps=3", "unknown key 'algoritm'; did you mean 'algorithm'?"),
        ("camal.weight=-0.1", "camal.weight must be a finite number of at least 0, got -0.1"),
        ("camal.weight=.nan", "camal.weight must be a finite number of at least 0, got nan"),
        ("seed=-1", "seed must be at least 0, got -1"),
        ("seed=one", "seed: input should be a valid integer, unable to parse string as an integer, got 'one'"),
        (
            "policy.encoder=natur",
            "policy.encoder: unknown encoder 'natur'; did you mean 'nature'? the encoders are nature, impala, compact, "
            "patch; your own is given as package.module:name",
        ),
        (
            "algorithm.batch_size=500",
            "algorithm.batch_size must divide env.num_envs * algorithm.n_steps = 2048, got 500",
        ),
        ("env.segmentation=null", "camal.weight above 0 needs masks: set env.segmentation=default"),
        ("env.options.relevant=[goal]", "set env.relevant, not env.options.relevant"),
        ("evaluation.sets=[]", "evaluation.sets must name at least one level set, each once, got []"),
        ("name=a/b", "name must be a plain folder name, got 'a/b'"),
        ("algorithm.gamma=1.5", "algorithm.gamma must be at most 1, got 1.5"),
        ("seed", "a setting must be key=value, for example camal.weight=0.05, got 'seed'"),
    ],
)
def test_a_bad_setting_is_named_in_one_line(override, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        load_config("toy_grid", [override])
    assert str(error.value) == message


def test_missing_environment_is_named():
    with pytest.raises(ValueError, match=r"^env is missing$"):
        config_from_dict({"seed": 1})
    with pytest.raises(ValueError, match=r"^env.id is missing$"):
        config_from_dict({"env": {"num_envs": 3}})


def test_unknown_configuration_names_the_nearest(tmp_path):
    with pytest.raises(FileNotFoundError, match="did you mean 'toy_grid'"):
        load_config("toygrid")
    with pytest.raises(FileNotFoundError, match="no configuration file"):
        load_config(tmp_path / "none.yaml")


def test_a_broken_file_is_refused(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("env: [unclosed\n")
    with pytest.raises(ValueError, match="not a YAML configuration"):
        load_config(path)
    path.write_text("- a\n- b\n")
    with pytest.raises(ValueError, match="a configuration must be a mapping"):
        load_config(path)


def test_override_values_are_data_and_never_code():
    assert parse_overrides(["a.b=__import__('os').getcwd()"]) == {"a": {"b": "__import__('os').getcwd()"}}
    assert math.isnan(parse_overrides(["x=.nan"])["x"])


def test_names_of_experiments_and_methods():
    config = load_config("toy_grid")
    assert (config.experiment_name, config.method_name) == ("toy_grid-default", "camal")
    assert load_config("toy_grid", ["camal.weight=0", "name=mine"]).experiment_name == "mine"
    assert load_config("toy_grid", ["camal.weight=0"]).method_name == "ppo"
    assert load_config("toy_grid", ["camal.loss=energy"]).method_name == "energy"
