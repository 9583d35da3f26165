"""Auxiliary terms: what joins PPO's loss, what it stores, learns and saves, and what bad input is told."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from torch import nn

from camal_rl.agents import CAMALPPO, AuxiliaryTerm, CamalConfig, CamalTerm, CamPolicy, PPOWithTerms, TermLoss
from camal_rl.agents.rollout_buffer import TARGET_MASKS
from camal_rl.agents.terms import make_terms, term_config, term_settings

from .fakes import CountingEnv, unsegmented_env

SETTINGS = {
    **{"n_steps": 8, "batch_size": 8, "n_epochs": 2, "seed": 3, "learning_rate": 1e-2, "device": "cpu"},
    "policy_kwargs": {"encoder": "compact"},
}
HERE = __name__


@dataclass(frozen=True)
class PullConfig:
    weight: float = 0.5
    toward: float = 2.0

    def __post_init__(self):
        if self.weight < 0:
            raise ValueError(f"weight must be at least 0, got {self.weight}")


class Pull(AuxiliaryTerm):
    """Pulls values toward a number; stores the step of every observation."""

    name: ClassVar[str] = "pull"
    config_type: ClassVar[type] = PullConfig

    def __init__(self, config, seed=0):
        super().__init__(config, seed)
        self.seen = []
        self.started = []

    def update_starts(self, rollout):
        self.started.append((len(self.seen), rollout.full, float(np.abs(rollout.returns).min()) > 0))

    def rollout_columns(self, env):
        return {"step": np.full((env.num_envs, 1), env.get_attr("count")[0])}

    def loss(self, minibatch, evaluation, progress):
        self.seen.append((minibatch.columns["step"].clone(), minibatch.observations[:, 0, 0, 0].clone()))
        error = (evaluation.value - self.config.toward).square().mean()
        return TermLoss(error, {"error": error})

    def diagnostics(self, minibatch, policy):
        return {"frames": float(len(minibatch.observations))}


class Learned(AuxiliaryTerm):
    """Learns a number of its own."""

    name: ClassVar[str] = "learned"
    config_type: ClassVar[type] = PullConfig

    def setup(self, policy, env):
        self.module = nn.Linear(1, 1)

    def loss(self, minibatch, evaluation, progress):
        return TermLoss((self.module(evaluation.value[:, None]) - self.config.toward).square().mean())


def model_of(kind=CAMALPPO, policy="CamPolicy", env=None, **kwargs):
    return kind(policy, env or CountingEnv(), **{**SETTINGS, **kwargs})


def parameters(model):
    return model.policy.state_dict()


def same(one, other):
    ours, theirs = parameters(one), parameters(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_term_is_stored_beside_its_observation_weighted_and_logged():
    model = model_of(terms=[(f"{HERE}:Pull", {"toward": 5})], camal={"weight": 0}).learn(16)
    (pull,) = (term for term in model.auxiliary_terms if term.name == "pull")
    assert len(pull.seen) == 4
    # Before the four minibatches of the update, with a complete rollout.
    assert pull.started == [(0, True, True)]
    for steps, frames in pull.seen:
        assert torch.equal(steps.flatten(), frames.long())
    log = model.logger.name_to_value
    assert log["pull/loss"] == log["pull/error"] > 0
    assert (log["pull/weight"], log["pull/frames"]) == (0.5, 16)
    assert not same(model, model_of(camal={"weight": 0}).learn(16))


def test_terms_add_up():
    """One step of plain gradient descent moves parameters by the sum of what each term moves them."""

    def moved(camal, pull):
        sgd = {"encoder": "compact", "optimizer_class": torch.optim.SGD}
        model = model_of(
            camal={"weight": camal}, terms={f"{HERE}:Pull": {"weight": pull}}, policy_kwargs=sgd,
            batch_size=16, n_epochs=1, max_grad_norm=1e9, learning_rate=1e-3,
        )  # fmt: skip
        before = torch.cat([each.flatten() for each in parameters(model).values()])
        model.learn(16)
        return torch.cat([each.flatten() for each in parameters(model).values()]) - before

    neither, one, other, both = moved(0, 0), moved(10, 0), moved(0, 3), moved(10, 3)
    torch.testing.assert_close(both - neither, (one - neither) + (other - neither), rtol=1e-3, atol=1e-6)
    assert float((one - neither).abs().max()) > 1e-5 < float((other - neither).abs().max())


@pytest.mark.parametrize("kind", [CAMALPPO, PPOWithTerms])
def test_terms_of_weight_zero_are_stock_ppo_bit_for_bit(kind):
    off = {"camal": {"weight": 0}} if kind is CAMALPPO else {}
    ours = model_of(kind, terms={f"{HERE}:Pull": {"weight": 0}, f"{HERE}:Learned": {"weight": 0}}, **off).learn(48)
    assert same(ours, model_of(PPO, CamPolicy).learn(48))
    assert not any(key.startswith(("pull", "learned")) for key in ours.logger.name_to_value)


@pytest.mark.parametrize("policy", ["CnnPolicy", "MlpPolicy"])
def test_terms_of_weight_zero_take_any_policy(policy):
    plain = {"policy_kwargs": None, "env": CountingEnv(size=36)}
    ours = model_of(policy=policy, camal={"weight": 0}, terms={f"{HERE}:Pull": {"weight": 0}}, **plain).learn(16)
    assert same(ours, model_of(PPO, policy, env=CountingEnv(size=36), policy_kwargs=None).learn(16))


def test_camal_is_ppo_with_one_camal_term():
    camal = CamalConfig(weight=0.3)
    one = model_of(camal=camal).learn(32)
    other = model_of(PPOWithTerms, terms=[CamalTerm(camal)]).learn(32)
    assert same(one, other)
    assert one.camal_term.config == camal
    assert one.logger.name_to_value["camal/policy/epg"] == other.logger.name_to_value["camal/policy/epg"]


def test_more_attention_frames_of_another_term_leave_a_share_of_camals_a_share():
    class More(Pull):
        def num_attention_frames(self, batch_size):
            return batch_size

    camal = CamalConfig(weight=0.3, frame_fraction=0.25)
    alone = model_of(camal=camal).learn(16)
    beside = model_of(camal=camal, terms=[More(PullConfig(weight=1e-30))]).learn(16)
    key = "camal/loss"
    assert alone.logger.name_to_value[key] == pytest.approx(beside.logger.name_to_value[key], rel=1e-5)


@pytest.mark.parametrize("load", [CAMALPPO.load, PPO.load])
def test_a_saved_model_knows_its_terms_as_plain_data(tmp_path, load):
    model = model_of(terms=[f"{HERE}:Pull", (f"{HERE}:Learned", {"toward": 1.0})]).learn(16)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model", device="cpu")
    assert same(loaded, model)
    assert loaded.terms == {
        f"{HERE}:Pull": {"weight": 0.5, "toward": 2.0},
        f"{HERE}:Learned": {"weight": 0.5, "toward": 1.0},
    }
    assert not hasattr(loaded, "auxiliary_terms") or [term.config for term in loaded.auxiliary_terms[1:]] == [
        PullConfig(),
        PullConfig(toward=1.0),
    ]


def test_what_a_term_learns_goes_on_where_it_stopped(tmp_path):
    def learned(model):
        return next(term.module for term in model.auxiliary_terms if term.name == "learned")

    model = model_of(terms=[f"{HERE}:Learned"])
    before = learned(model).weight.clone()
    model.learn(16)
    assert not torch.equal(before, learned(model).weight)
    assert not any("learned" in name for name in parameters(model))
    model.save(tmp_path / "model")
    loaded = CAMALPPO.load(tmp_path / "model", env=CountingEnv(), device="cpu")
    assert torch.equal(learned(model).weight, learned(loaded).weight)
    (ours,), (theirs,) = (each.term_modules.optimizers for each in (model, loaded))
    assert str(ours.state_dict()) == str(theirs.state_dict())
    loaded.learn(16, reset_num_timesteps=False)
    without = CAMALPPO.load(tmp_path / "model", env=CountingEnv(), device="cpu", terms=[])
    assert (without.terms, without.term_modules.optimizers) == ({}, [])


def test_a_files_terms_can_be_changed_when_it_is_loaded(tmp_path):
    model_of().save(tmp_path / "model")
    loaded = CAMALPPO.load(tmp_path / "model", env=CountingEnv(), terms={f"{HERE}:Pull": {"weight": 0.1}}).learn(16)
    assert loaded.logger.name_to_value["pull/weight"] == 0.1


def test_terms_of_every_way_of_asking():
    asked = {
        "names": [f"{HERE}:Pull"],
        "pairs": [(f"{HERE}:Pull", {"weight": 0.5})],
        "lists, as YAML has them": [[f"{HERE}:Pull", None]],
        "a mapping": {f"{HERE}:Pull": PullConfig()},
        "terms": [Pull(PullConfig())],
    }
    for way, terms in asked.items():
        made = make_terms(terms, seed=5)
        assert term_settings(made) == {f"{HERE}:Pull": {"weight": 0.5, "toward": 2.0}}, way
    assert make_terms(asked["names"], seed=5)[f"{HERE}:Pull"].seed == 5
    assert make_terms(None, 0) == make_terms([], 0) == {}


class NoTerm:
    name, config_type = "none", PullConfig


class NoWeight(Pull):
    config_type: ClassVar[type] = int


@pytest.mark.parametrize(
    ("terms", "error", "message"),
    [
        ("drac", TypeError, r"terms must be a list such as \['drac'\] or a mapping .* got 'drac'"),
        ([("pull",)], TypeError, r"is a pair such as \('drac', \{'weight': 0.1\}\), got \('pull',\)"),
        ([3], TypeError, "'int' is not an auxiliary term, it has no name, config_type"),
        (["nothing"], ValueError, "unknown auxiliary term 'nothing'"),
        ([f"{HERE}:Pul"], ValueError, "there is no 'Pul' in .* for the auxiliary term"),
        ([f"{HERE}:NoTerm"], TypeError, "it has no logs_at_weight_zero, .* derive the class from"),
        ([f"{HERE}:NoWeight"], TypeError, "must be a dataclass with a `weight`, got <class 'int'>"),
        ([(f"{HERE}:Pull", {"wieght": 1})], ValueError, "unknown setting 'wieght' in .*; did you mean 'weight'"),
        ([(f"{HERE}:Pull", 0.1)], TypeError, "must be a PullConfig or a mapping, .* got 0.1"),
        ([(f"{HERE}:Pull", {"weight": -1})], ValueError, "weight must be at least 0, got -1"),
        ([f"{HERE}:Pull", f"{HERE}:Pull"], ValueError, "is repeated"),
    ],
)
def test_wrong_terms_are_one_line(terms, error, message):
    with pytest.raises(error, match=message):
        make_terms(terms, 0)


def test_two_terms_of_one_name_are_refused():
    class Other(Pull):
        pass

    with pytest.raises(ValueError, match="2 terms have the name 'pull'"):
        model_of(terms=[Pull(PullConfig()), Other(PullConfig())])


def test_two_terms_that_store_under_one_name_are_refused():
    class Masks(Pull):
        def rollout_columns(self, env):
            return {TARGET_MASKS: np.zeros((env.num_envs, 1))}

    with pytest.raises(ValueError, match="two terms store a column 'target_masks', the second is 'pull'"):
        model_of(terms=[Masks(PullConfig())]).learn(16)


def test_a_column_of_the_wrong_length_is_refused():
    class Short(Pull):
        def rollout_columns(self, env):
            return {"step": np.zeros(1)}

    with pytest.raises(ValueError, match=r"column 'step' must have one entry for each of 2 environments, got .*\(1,\)"):
        model_of(terms=[Short(PullConfig())]).learn(16)


def test_an_active_term_needs_cam_policy():
    with pytest.raises(ValueError, match="term 'pull' needs policy=\"CamPolicy\", got ActorCriticCnnPolicy"):
        model_of(policy="CnnPolicy", env=CountingEnv(size=36), policy_kwargs=None, camal={"weight": 0},
                 terms=[f"{HERE}:Pull"])  # fmt: skip


def test_a_term_other_than_camals_needs_no_masks():
    class Free(Pull):
        def rollout_columns(self, env):
            return {"step": np.zeros((env.num_envs, 1))}

    model = model_of(env=unsegmented_env(), camal={"weight": 0}, terms=[Free(PullConfig())]).learn(8)
    assert model.logger.name_to_value["pull/loss"] > 0


def test_the_settings_of_a_term():
    assert term_config(Pull) == PullConfig()
    assert term_config(Pull, {"weight": 1}) == PullConfig(weight=1)


class Loose:
    """A term that derives from nothing, with what terms had before they could be resumed."""

    name, config_type, logs_at_weight_zero, module = "loose", PullConfig, False, None

    def __init__(self, config, seed=0):
        self.config, self.seed = config, seed

    def weight_at(self, progress):
        return self.config.weight

    def num_attention_frames(self, batch_size):
        return 0

    def setup(self, policy, env):
        self.generator = torch.Generator().manual_seed(self.seed)

    def rollout_columns(self, env):
        return {}

    def loss(self, minibatch, evaluation, progress):
        return TermLoss(evaluation.value.square().mean() * torch.rand(1, generator=self.generator).item())

    def diagnostics(self, minibatch, policy):
        return {}


def test_a_term_that_derives_from_nothing_trains_and_is_saved_in_checkpoints():
    model = model_of(terms=[f"{HERE}:Loose"])
    model.learn(16)
    state = model.training_state()["terms"]["loose"]
    (term,) = (each for each in model.auxiliary_terms if each.name == "loose")
    assert torch.equal(state["generator"], term.generator.get_state())
