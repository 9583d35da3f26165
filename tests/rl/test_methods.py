"""What the methods of a comparison stand for, and the configurations that they make."""

from dataclasses import dataclass

import pytest

from camal_rl.agents import AuxiliaryTerm, TermLoss
from camal_rl.comparison.plan import method_config
from camal_rl.envs import Masking
from camal_rl.rl.methods import Method, known_methods, parse_method
from camal_rl.runs.loading import load_config


@dataclass(frozen=True)
class Settings:
    weight: float = 0.5
    margin: int = 1


class Own(AuxiliaryTerm):
    name = "own"
    config_type = Settings

    def loss(self, minibatch, evaluation, progress):
        return TermLoss(evaluation.value.square().mean())


OWN = f"{__name__}:Own"
MINE = Masking(lambda images, labels, spec: images[..., :1], lambda channels: 1)


@pytest.mark.parametrize(
    ("name", "loss", "terms"),
    [
        ("ppo", None, ()),
        ("camal", "camal", ()),
        ("energy", "energy", ()),
        ("background_mix", None, ("background_mix",)),
        ("ucb_drac", None, ("ucb_drac",)),
        ("camal+background_mix", "camal", ("background_mix",)),
        (OWN, None, (OWN,)),
        (f"camal+{OWN}", "camal", (OWN,)),
        ("camal_rl.losses:energy_loss", "camal_rl.losses:energy_loss", ()),
    ],
)
def test_a_name_is_that_of_a_loss_of_a_term_or_of_several(name, loss, terms):
    assert parse_method(name) == Method(loss, terms)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("object_mask", Method(None, (), "object_mask")),
        ("camal+object_mask", Method("camal", (), "object_mask")),
        ("drac+class_mask", Method(None, ("drac",), "class_mask")),
        ("camal_rl.envs.masking:MASKINGS", Method("camal_rl.envs.masking:MASKINGS", ())),
        (f"{__name__}:MINE", Method(None, (), f"{__name__}:MINE")),
    ],
)
def test_a_name_is_that_of_a_masking_too(name, method):
    assert parse_method(name) == method


def test_a_masking_is_what_the_agent_of_its_method_sees_and_of_no_other():
    config = load_config("toy_grid", ["env.masking=class_mask"])
    assert config.method_name == "camal+class_mask"
    assert (config.acting_note, load_config("toy_grid").acting_note) == ("sees masks", "")
    seen = {name: method_config(config, name, 0).env.masking for name in ("ppo", "camal", "camal+object_mask")}
    assert seen == {"ppo": None, "camal": None, "camal+object_mask": "object_mask"}
    assert method_config(config, "ppo", 0) == method_config(load_config("toy_grid"), "ppo", 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["env.masking=objectmask"], r"env.masking: unknown masking 'objectmask'; did you mean 'object_mask'"),
        (["env.masking=object_mask", "env.segmentation=null", "camal.weight=0"], "env.masking=object_mask needs masks"),
        (["methods={object_mask: {weight: 1}}"], "methods.object_mask: a masking has no settings, got weight"),
        (["env.options={masking: object_mask}"], "set env.masking, not env.options.masking"),
    ],
)
def test_bad_settings_of_maskings_are_one_line(settings, message):
    with pytest.raises(ValueError, match=message):
        load_config("toy_grid", settings)


@pytest.mark.parametrize("name", ["drac+camal", "object_mask+camal", "object_mask+drac+camal"])
def test_the_parts_of_a_method_come_in_any_order(name):
    config = method_config(load_config("toy_grid"), name, 0)
    assert sorted(config.method_name.split("+")) == sorted(name.split("+"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("object_mask+class_mask", "has the maskings object_mask and class_mask, but an agent can use only one"),
        ("obejct_mask", "did you mean 'object_mask'"),
        ("camall", r"unknown method 'camall'; did you mean 'camal'\? methods are ppo, camal"),
        ("ppo+camal", "ppo is plain PPO"),
        ("camal+energy", "has the attention losses camal and energy"),
        ("camal+camal", "repeats a part"),
        ("", "unknown method ''"),
        ("nowhere.at_all:Term", "nowhere"),
    ],
)
def test_what_is_no_method_is_one_line(name, message):
    with pytest.raises(ValueError, match=message):
        parse_method(name)


def test_known_methods_are_ppo_the_losses_and_the_terms():
    assert known_methods()[:2] == ("ppo", "camal")
    assert {"energy", "l1", "drac", "ucb_drac", "background_mix"} < set(known_methods())


def test_a_term_takes_its_settings_from_the_methods_section():
    overrides = [f"methods={{{OWN!r}: {{weight: 0.25}}}}", "camal.weight=0.3"]
    config = method_config(load_config("toy_grid", overrides), f"camal+{OWN}", 4)
    assert (config.camal.weight, config.camal.loss, config.seed) == (0.3, "camal", 4)
    assert config.terms == {OWN: {"weight": 0.25}}
    assert config.methods == {}
    assert config.method_name == f"camal+{OWN}"
    alone = method_config(load_config("toy_grid", overrides), OWN, 4)
    assert alone.camal.weight == 0
    assert alone.method_name == OWN
    assert method_config(load_config("toy_grid", overrides), "ppo", 4).method_name == "ppo"


def test_ppo_runs_serve_every_setting_of_the_terms():
    plain = method_config(load_config("toy_grid"), "ppo", 0)
    other = ["camal.weight=0.7", "camal.inside_weight=2", f"terms={{{OWN!r}: {{weight: 2}}}}"]
    assert method_config(load_config("toy_grid", other), "ppo", 0) == plain


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (f"terms={{{OWN!r}: {{weigth: 1}}}}", "did you mean 'weight'"),
        ("terms={nothing: {}}", "unknown auxiliary term 'nothing'"),
        (f"terms={{{OWN!r}: 3}}", "terms"),
        ("methods={nothing: {}}", "unknown method 'nothing'"),
    ],
)
def test_bad_settings_of_terms_are_one_line(settings, message):
    with pytest.raises(ValueError, match=message):
        load_config("toy_grid", [settings])


def test_a_weight_of_zero_is_no_method():
    with pytest.raises(ValueError, match="weight is 0, so camal equals ppo"):
        method_config(load_config("toy_grid", ["camal.weight=0"]), "camal", 0)
