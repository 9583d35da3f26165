"""Statistics over tasks against rliable itself: the same points, and from the same draws the same intervals."""

import importlib.util
import sys
import types

import numpy as np
import pytest

from camal_rl.aggregates import (
    bootstrap_interval,
    improvement_interval,
    interquartile_mean,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)

RUNS, TASKS, RESAMPLES = 5, 3, 200
THRESHOLDS = np.linspace(-0.5, 1.5, 9)


@pytest.fixture(scope="module")
def rliable():
    """Return rliable; its own dependency arch is taken without its front page, which newer pandas versions break."""
    if importlib.util.find_spec("rliable") is None:
        pytest.skip("rliable is not installed")
    if "arch" not in sys.modules:
        found = importlib.util.find_spec("arch")
        package = types.ModuleType("arch")
        package.__path__ = list(found.submodule_search_locations)
        sys.modules["arch"] = package
    from rliable import library, metrics

    yield types.SimpleNamespace(library=library, metrics=metrics)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("arch", "rliable")]:
        del sys.modules[name]


class Fed:
    """Stands for a generator: draws the runs that rliable has drawn, task by task."""

    def __init__(self, *shapes, seed=0):
        np.random.seed(seed)  # noqa: NPY002 (rliable draws from the global state)
        drawn = [[np.random.choice(shape[0], shape) for shape in shapes] for _ in range(RESAMPLES)]  # noqa: NPY002
        stacked = [np.stack(each) for each in zip(*drawn, strict=True)]
        self.draws = iter([each[..., task] for each in stacked for task in range(TASKS)])
        np.random.seed(seed)  # noqa: NPY002

    def integers(self, high, size):
        draws = next(self.draws)
        assert (draws.shape, draws.max() < high) == (size, True)
        return draws


@pytest.fixture
def scores():
    return np.random.default_rng(3).normal(0.6, 0.4, size=(RUNS, TASKS))


@pytest.fixture
def others():
    return np.random.default_rng(4).normal(0.4, 0.4, size=(RUNS + 2, TASKS))


@pytest.fixture(autouse=True)
def global_state():
    """Leave NumPy's global random state as it was."""
    state = np.random.get_state()  # noqa: NPY002
    yield
    np.random.set_state(state)  # noqa: NPY002


@pytest.mark.parametrize("runs", range(1, 12))
def test_points_are_those_of_rliable(rliable, runs):
    rng = np.random.default_rng(runs)
    # Rounded, so that there are ties.
    first, second = rng.normal(0.5, 0.5, (runs, TASKS)).round(1), rng.normal(0.5, 0.5, (runs + 1, TASKS)).round(1)
    metrics = rliable.metrics
    assert interquartile_mean(first) == pytest.approx(metrics.aggregate_iqm(first), abs=1e-12)
    assert optimality_gap(first) == pytest.approx(metrics.aggregate_optimality_gap(first), abs=1e-12)
    assert optimality_gap(first, 0.5) == pytest.approx(metrics.aggregate_optimality_gap(first, 0.5), abs=1e-12)
    expected = metrics.probability_of_improvement(first, second)
    assert probability_of_improvement(first, second) == pytest.approx(expected, abs=1e-12)
    profile = performance_profile(first, THRESHOLDS, np.random.default_rng(0))
    assert profile.shares == pytest.approx(rliable.library.score_distributions(first, THRESHOLDS), abs=1e-12)


@pytest.mark.parametrize(
    ("own", "theirs"),
    [(interquartile_mean, "aggregate_iqm"), (optimality_gap, "aggregate_optimality_gap")],
)
def test_intervals_from_the_same_draws_are_those_of_rliable(rliable, scores, own, theirs):
    ours = bootstrap_interval(scores, Fed(scores.shape), own, resamples=RESAMPLES)
    statistic = getattr(rliable.metrics, theirs)
    points, intervals = rliable.library.get_interval_estimates(
        {"method": scores}, lambda each: np.array([statistic(each)]), reps=RESAMPLES
    )
    assert ours.estimate == pytest.approx(points["method"][0], abs=1e-12)
    assert [ours.low, ours.high] == pytest.approx(intervals["method"].ravel(), abs=1e-12)


def test_the_interval_of_improvement_from_the_same_draws_is_that_of_rliable(rliable, scores, others):
    ours = improvement_interval(scores, others, Fed(scores.shape, others.shape), resamples=RESAMPLES)
    points, intervals = rliable.library.get_interval_estimates(
        {"pair": [scores, others]},
        lambda first, second: np.array([rliable.metrics.probability_of_improvement(first, second)]),
        reps=RESAMPLES,
    )
    assert ours.estimate == pytest.approx(points["pair"][0], abs=1e-12)
    assert [ours.low, ours.high] == pytest.approx(intervals["pair"].ravel(), abs=1e-12)


def test_profiles_from_the_same_draws_are_those_of_rliable(rliable, scores):
    ours = performance_profile(scores, THRESHOLDS, Fed(scores.shape), resamples=RESAMPLES)
    points, intervals = rliable.library.create_performance_profile({"method": scores}, THRESHOLDS, reps=RESAMPLES)
    assert ours.shares == pytest.approx(points["method"], abs=1e-12)
    assert np.array([ours.low, ours.high]) == pytest.approx(intervals["method"], abs=1e-12)
