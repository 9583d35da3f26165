from dataclasses import replace

import pytest

from camal_rl.agents import CamalConfig
from camal_rl.rl.config import EnvConfig
from camal_rl.rl.ppo import PPOConfig
from camal_rl.rl.training import prepare
from camal_rl.runs.loading import config_from_dict, load_config
from camal_rl.runs.run_folder import RunFolder
from camal_rl.supervised.config import OptimizationConfig
from tests.conftest import TINY

SHAPES = "supervised/spurious_shapes"


@pytest.mark.parametrize(
    ("source", "override", "message"),
    [
        ("toy_grid", "algorithm.ent_coef=.inf", "algorithm.ent_coef must be a finite number, got inf"),
        ("toy_grid", "algorithm.learning_rate=nan", "algorithm.learning_rate must be a finite number, got 'nan'"),
        ("toy_grid", "algorithm.vf_coef=-.inf", "algorithm.vf_coef must be a finite number, got -inf"),
        ("toy_grid", "algorithm.gamma=.nan", "algorithm.gamma must be a finite number, got nan"),
        ("toy_grid", "algorithm.max_grad_norm=1e300", "algorithm.max_grad_norm must be at most 1000000000, got 1e+300"),
        ("toy_grid", "camal.weight=1e300", "camal.weight must be at most 1e+09, got 1e+300"),
        ("toy_grid", "methods.energy.weight=1e300", "methods.energy: camal.weight must be at most 1e+09, got 1e+300"),
        ("toy_grid", "algorithm.ent_coef=true", "algorithm.ent_coef must be a number, got true"),
        ("toy_grid", "seed=false", "seed must be a number, got false"),
        ("toy_grid", "camal.weight=true", "camal.weight must be a number, got true"),
        ("toy_grid", "algorithm.target_kl=true", "algorithm.target_kl must be a number, got true"),
        ("toy_grid", "methods.energy.weight=true", "methods.energy.weight must be a number, got true"),
        ("toy_grid", "methods.energy.weight=much", "methods.energy.weight: input should be a valid number, unable to"),
        ("toy_grid", "methods.energy=3", "methods.energy must be a mapping"),
        ("toy_grid", "threads=1000000", "threads must be at most 1024, got 1000000"),
        ("toy_grid", "env.num_envs=1000000", "env.num_envs must be at most 65536, got 1000000"),
        ("toy_grid", "seed=2147483648", "seed must be below 2147483648, got 2147483648"),
        ("toy_grid", "total_timesteps=1.5", "total_timesteps: input should be a valid integer, got a number with a"),
        ("toy_grid", "total_timesteps=1e300", "total_timesteps: unable to parse input string as an integer"),
        ("toy_grid", "policy=[1]", "policy must be a mapping of keys to values, such as policy.<key>=<value>, got [1]"),
        ("toy_grid", "env=x", "env must be a mapping of keys to values, such as env.<key>=<value>, got 'x'"),
        ("toy_grid", "log=null", "log must be a mapping of keys to values, such as log.<key>=<value>, got None"),
        ("toy_grid", "env.relevant=agent", "env.relevant must be a list, such as [agent], got 'agent'"),
        ("toy_grid", "camal.targets=value", "camal.targets must be a list, such as [value], got 'value'"),
        ("toy_grid", "evaluation.sets=train", "evaluation.sets must be a list, such as [train], got 'train'"),
        ("toy_grid", "device=gpu", "device: input should be 'auto', 'cpu' or 'cuda', got 'gpu'"),
        ("toy_grid", "name=" + "a" * 300, "name must be a plain folder name of at most 100 bytes, got 300"),
        ("toy_grid", "name=ä\n", "name must be a plain folder name, got 'ä\\n'"),
        ("toy_grid", "algorithm.clip_range_vf=0", "algorithm.clip_range_vf must be above 0, got 0"),
        ("toy_grid", "algorithm.adam_epsilon=1e-300", "algorithm.adam_epsilon must be at least 1e-30, got 1e-300"),
        ("toy_grid", "evaluation.frames=1000000000", "evaluation.frames must be at most 1000000, got 1000000000"),
        ("toy_grid", "algorithm.target_kl=-1", "algorithm.target_kl must be above 0, got -1"),
        ("toy_grid", "algorithm.use_sde=true", "algorithm.use_sde is not a setting of configurations, only an"),
        ("toy_grid", "algorithm.sde_sample_freq=4", "CAMALPPO(..., sde_sample_freq=...)"),
        ("toy_grid", "algorithm.zeta=1", "unknown key 'algorithm.zeta'; the keys of algorithm are n_steps,"),
        ("toy_grid", "algorithm.seed=1", "unknown key 'algorithm.seed'; the keys of algorithm are"),
        ("toy_grid", "camal.learning_rate=1", "did you mean 'algorithm.learning_rate'"),
        (SHAPES, "optimization.weight_decay=.inf", "optimization.weight_decay must be a finite number, got inf"),
        (SHAPES, "optimization.epochs=true", "optimization.epochs must be a number, got true"),
        (SHAPES, "optimization.workers=100000", "optimization.workers must be at most 1024, got 100000"),
        (SHAPES, "data.mask_fraction=1.5", "data.mask_fraction must be at most 1, got 1.5"),
        (SHAPES, "data.mask_amount=1.5", "data.mask_amount must be at most 1, got 1.5"),
        (SHAPES, "data.mask_change=dilate", "data.mask_change: input should be 'none', 'dilated', 'eroded'"),
        (SHAPES, "data.image_size=9999", "data.image_size must be at most 4096, got 9999"),
        (SHAPES, "methods.ifam.model.name=[1]", "methods.ifam.model.name: input should be a valid string, got [1]"),
        (SHAPES, "camal.inside_weight=1e300", "camal.inside_weight must be at most 1e+09"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_named_in_one_line(source, override, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared
        load_config(source, [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PPOConfig(ent_coef=True), "algorithm.ent_coef: input should be a valid number, got True"),
        (lambda: PPOConfig(gamma=1.5), "algorithm.gamma must be at most 1, got 1.5"),
        (lambda: PPOConfig(n_steps=0), "algorithm.n_steps must be at least 1, got 0"),
        (lambda: PPOConfig(clip_range_vf=float("nan")), "algorithm.clip_range_vf must be"),
        (lambda: OptimizationConfig(steps=0), "optimization.steps must be at least 1, got 0"),
        (lambda: EnvConfig("x", num_envs=0), "env.num_envs must be at least 1, got 0"),
        (lambda: replace(load_config("toy_grid"), threads=-1), "threads must be at least 0, got -1"),
        (lambda: CamalConfig(weight=1e300), "camal.weight must be at most 1e+09, got 1e+300"),
    ],
)
def test_python_and_yaml_have_the_same_ranges(make, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared
        make()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_plain_dictionary_is_checked_as_a_file_is():
    data = {"env": {"id": "toy_grid/default"}, "camal": {"weight": 0.3, "targets": ("value",)}}
    assert config_from_dict(data).camal == CamalConfig(weight=0.3, targets=("value",))
    with pytest.raises(ValueError, match=r"camal\.weight must be a number, got true"):
        config_from_dict({**data, "camal": {"weight": True}})


def test_settings_of_ppo_reach_the_model_and_default_to_its_own(tmp_path):
    given = [
        "target_kl=0.02",
        "clip_range_vf=0.3",
        "normalize_advantage=false",
        "stats_window_size=7",
        "adam_epsilon=1e-7",
    ]
    config = load_config("toy_grid", [*TINY, *(f"algorithm.{each}" for each in given)])
    trial = prepare(config, RunFolder(tmp_path / "run"))
    model = trial.model
    trial.venv.close()
    assert (model.target_kl, model.clip_range_vf(1.0), model.normalize_advantage) == (0.02, 0.3, False)
    assert (model._stats_window_size, model.policy.optimizer.defaults["eps"]) == (7, 1e-7)
    trial = prepare(load_config("toy_grid", TINY), RunFolder(tmp_path / "run"))
    model = trial.model
    trial.venv.close()
    assert (model.target_kl, model.clip_range_vf, model.normalize_advantage) == (None, None, True)
    assert (model._stats_window_size, model.policy.optimizer.defaults["eps"]) == (100, 1e-5)
