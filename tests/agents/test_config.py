import math
import pickle

import numpy as np
import pytest

from camal_rl.agents import CamalConfig


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
def test_weights_must_be_finite_and_not_negative(weight):
    for name in ("weight", "inside_weight"):
        with pytest.raises(ValueError, match=rf"camal\.{name} must be a finite number of at least 0"):
            CamalConfig(**{name: weight})


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("targets", (), "must name at least one of value, policy"),
        ("targets", ("value", "value"), "must not contain duplicates"),
        ("targets", ("critic",), "must be one of value, policy, q, got 'critic'"),
        ("method", "gradcam+", "must be one of gradcam, hirescam"),
        ("loss", "camel", "did you mean 'camal'"),
        ("schedule", "cosine", "must be one of constant, warmup, decay"),
        ("schedule_fraction", 0.0, r"must be in \(0, 1\]"),
        ("coverage", "most", "must be one of any, soft"),
        ("value_rectification", "abs", "must be one of relu, absolute"),
        ("policy_rectification", "abs", "must be one of relu, absolute"),
        ("mask_change", "dilate", "camal.mask_change must be one of none, dilated, eroded, shifted, boxes, noisy"),
        ("mask_amount", 1.5, r"camal.mask_amount must be in \[0, 1\], got 1.5"),
        ("mask_fraction", 0, r"camal.mask_fraction must be in \(0, 1\], got 0"),
    ],
)
def test_bad_settings_say_what_was_expected(setting, value, message):
    with pytest.raises(ValueError, match=message):
        CamalConfig(**{setting: value})


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.4, 0.4, 0.4, 0.4, 0.4]),
        ("warmup", [0.0, 0.2, 0.4, 0.4, 0.4]),
        ("decay", [0.4, 0.4, 0.4, 0.2, 0.0]),
    ],
)
def test_schedules_at_quarters_of_training(schedule, expected):
    config = CamalConfig(weight=0.4, schedule=schedule, schedule_fraction=0.5)
    assert [config.weight_at(progress) for progress in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"weight": "0.1"}, TypeError, "camal.weight must be a number, got '0.1'"),
        ({"weight": True}, TypeError, "camal.weight must be a number, got True"),
        ({"weight": None}, TypeError, "camal.weight must be a number, got None"),
        ({"frame_fraction": [0.5]}, TypeError, "camal.frame_fraction must be a number"),
        ({"targets": "value"}, TypeError, r"must be a list, for example \[value, policy\], got 'value'"),
        ({"targets": [["value"]]}, ValueError, "must be one of value, policy, q"),
        ({"loss": 3}, TypeError, "camal.loss must be the name of a loss, got 3"),
        ({"method": ["gradcam"]}, ValueError, "camal.method must be one of gradcam"),
        ({"shedule": "warmup"}, ValueError, "unknown setting 'shedule' in camal; did you mean 'schedule'"),
        ({"color": 1}, ValueError, "unknown setting 'color' in camal; the settings are weight, targets"),
        ({1: 2}, ValueError, "unknown setting 1 in camal"),
        ("weight=0.1", TypeError, "must be a CamalConfig or a mapping"),
        ([("weight", 0.1)], TypeError, "must be a CamalConfig or a mapping"),
    ],
)
def test_mappings_are_checked(settings, error, message):
    with pytest.raises(error, match=message):
        CamalConfig.of(settings)


def test_what_stands_for_a_configuration():
    config = CamalConfig(weight=0.3, targets=("value",))
    assert CamalConfig.of(config) is config
    assert CamalConfig.of(None) == CamalConfig.of({}) == CamalConfig()
    assert CamalConfig.of({"weight": np.float32(0.5), "targets": ["value"]}) == CamalConfig(0.5, ("value",))
    assert hash(CamalConfig(targets=["value"])) == hash(CamalConfig(targets=("value",)))


def test_models_saved_under_the_former_module_find_the_configuration():
    assert pickle.loads(b"ccamal_rl.agents.config\nCamalConfig\n.") is CamalConfig
