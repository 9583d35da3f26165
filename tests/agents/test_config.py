import math

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
        ("targets", ("value", "value"), "must not repeat"),
        ("targets", ("critic",), "must be one of value, policy, got 'critic'"),
        ("method", "gradcam+", "must be one of gradcam, hirescam"),
        ("loss", "camel", "did you mean 'camal'"),
        ("schedule", "cosine", "must be one of constant, warmup, decay"),
        ("schedule_fraction", 0.0, r"must be in \(0, 1\]"),
        ("coverage", "most", "must be one of any, soft"),
        ("value_rectification", "abs", "must be one of relu, absolute"),
        ("policy_rectification", "abs", "must be one of relu, absolute"),
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
