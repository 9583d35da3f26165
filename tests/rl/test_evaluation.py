import numpy as np
import pytest
import torch

from camal_rl.agents import CAMALPPO, CamalConfig
from camal_rl.attention import upsample_cam
from camal_rl.envs import make_vec
from camal_rl.envs.procgen.libraries import MODULE
from camal_rl.rl.environments import make_level_set_env
from camal_rl.rl.evaluate import evaluation
from camal_rl.rl.evaluate.attention import attention_report
from camal_rl.rl.evaluate.evaluation import evaluate_run, evaluation_settings, stages
from camal_rl.rl.evaluate.returns import EpisodeReturns
from camal_rl.rl.frames import FrameSet, random_frames, sample_frames
from camal_rl.rl.model_file import load_model
from camal_rl.rl.policy_outputs import attention_maps
from camal_rl.runs.loading import load_config
from camal_rl.runs.metrics_file import read_metrics
from camal_rl.runs.results import Result, ResultKey, Results
from camal_rl.runs.task import EvaluationOptions


@pytest.fixture(scope="module")
def model(trained):
    return load_model(trained)


@pytest.fixture(scope="module")
def metrics(trained, model):
    done = []
    settings = evaluation_settings(trained.config())
    result = evaluate_run(trained, model, settings, done.append)
    assert done == stages(settings)
    return result


def test_metrics_hold_returns_gaps_and_attention(trained, metrics):
    assert metrics == read_metrics(trained.metrics_file)
    results = metrics.results
    returns = results.select(figure="return")
    found = [(each.level_set, each.control, each.count) for each in returns]
    assert found == [
        (name, actions, 12) for name in ("train", "held_out") for actions in ("stochastic", "deterministic")
    ]
    assert all(-1.4 <= each.value <= 1 and each.error >= 0 for each in returns)
    for actions in ("stochastic", "deterministic"):
        train, held_out = (results.value("return", level_set=name, control=actions) for name in ("train", "held_out"))
        assert results.value("gap", level_set="held_out", control=actions) == pytest.approx(train - held_out)
    assert results.level_sets("gap") == ["held_out"]
    assert metrics.run["method"] == "camal"
    assert metrics.maps["value"].grid == (8, 8)
    zero = results.find(ResultKey("zero_maps", "held_out", "value", "own"))
    assert zero.count == 8
    assert results.names("map", figure="deletion_effect") == ["own", "random", "mask"]
    assert results.targets() == ["value", "policy"]


def test_evaluation_is_reproducible(trained, model, metrics):
    settings = evaluation_settings(trained.config())
    assert evaluate_run(trained, model, settings).results == metrics.results


def test_a_gap_is_undefined_where_either_return_is():
    def returned(name, value):
        return Result(figure="return", level_set=name, control="stochastic", value=value)

    assert evaluation._gaps(Results([returned("held_out", 1.0)])) == []
    (gap,) = evaluation._gaps(Results([returned("train", None), returned("held_out", 1.0)]))
    assert (gap.level_set, gap.value) == ("held_out", None)


def test_numbers_on_the_command_line_win():
    config = load_config("toy_grid")
    settings = evaluation_settings(config, EvaluationOptions(5, 0))
    assert (settings.episodes, settings.frames) == (5, 0)
    assert not any("attention" in name for name in stages(settings))
    assert evaluation_settings(config) == config.evaluation


def test_frames_come_at_every_kth_step_with_their_own_masks(model):
    frames = sample_frames(model, make_vec("toy_grid/default", 4, 3), frames=10, every=2, seed=1)
    assert frames.images.shape == (10, 64, 64, 3)
    assert frames.labels.shape == (10, 64, 64)
    # The oracle plays the same game step by step.
    venv = make_vec("toy_grid/default", 4, 3)
    torch.manual_seed(1)
    observations = venv.reset()
    for step in range(1, 5):
        observations = venv.step(model.predict(observations, deterministic=False)[0])[0]
        if step % 2 == 0:
            where = slice((step // 2 - 1) * 4, step // 2 * 4)
            np.testing.assert_array_equal(frames.images[where], observations)
            np.testing.assert_array_equal(frames.labels[where], venv.segmentation())


def test_random_frames_depend_on_the_seed_only():
    first, again, other = (random_frames(make_vec("toy_grid/default", 3, 0), 4, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.images, again.images)
    assert (first.images != other.images).any()


def test_alignment_is_that_of_the_maps_and_masks(model):
    frames = sample_frames(model, make_vec("toy_grid/default", 4, 3), 8, 2, 0)
    # With ReLU the value map of so short a training may be zero on every frame.
    camal = CamalConfig(value_rectification="absolute")
    results = attention_report(model.policy, frames, camal, 0).results
    cells = frames.relevant[frames.labels].reshape(8, 8, 8, 8, 8).any(axis=(2, 4))
    for name, maps in attention_maps(model.policy, frames.images, camal).items():
        cam = maps.numpy().astype(np.float64)
        epg = (cam * cells).sum(axis=(1, 2)) / cam.sum(axis=(1, 2))
        assert results.value("epg", target=name, map="own") == pytest.approx(epg.mean(), abs=1e-5)
        assert results.value("area_fraction", target=name, map="own") == pytest.approx(cells.mean(), abs=1e-6)


def test_deleting_by_the_value_map_is_recomputed_by_hand():
    # Equally salient pixels go in a random order: on a fine grid only the outermost ones of the picture are equal.
    model = CAMALPPO("CamPolicy", make_vec("toy_grid/default", 4, 0), policy_kwargs={"encoder": "compact"}, seed=0)
    frames = sample_frames(model, make_vec("toy_grid/default", 4, 3), 4, 3, 0)
    # Absolute maps are zero almost nowhere: their pixels have one order.
    camal = CamalConfig(value_rectification="absolute")
    results = attention_report(model.policy, frames, camal, 0).results
    saliency = (
        upsample_cam(attention_maps(model.policy, frames.images, camal)["value"], (64, 64)).numpy().reshape(4, -1)
    )

    def values(images):
        with torch.no_grad():
            return model.policy.predict_values(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy().ravel()

    before = values(frames.images)
    changes = []
    for fraction in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5):
        images = frames.images.reshape(4, -1, 3).copy()
        for index, ranks in enumerate(np.argsort(-saliency, axis=1, kind="stable")):
            color = np.rint(images[index].mean(axis=0))
            images[index, ranks[: round(fraction * 4096)]] = color
        changes.append(np.abs(values(images.reshape(4, 64, 64, 3)) - before) / before.std())
    got = results.value("deletion_effect", target="value", map="own", control="mean")
    assert got == pytest.approx(np.mean(changes), rel=1e-3)


def test_the_maps_are_those_that_are_asked_for(model):
    images = random_frames(make_vec("toy_grid/default", 3, 0), 1, 0).images
    asked = CamalConfig(method="hirescam", value_rectification="absolute", policy_rectification="relu")
    maps = attention_maps(model.policy, images, asked)
    direct = model.policy.attention(images, method="hirescam", rectification={"value": "absolute", "policy": "relu"})
    assert torch.equal(maps["value"], direct["value"])
    assert torch.equal(maps["policy"], direct["policy"])
    assert not torch.equal(maps["value"], attention_maps(model.policy, images, CamalConfig())["value"])


def test_frames_without_anything_relevant_are_counted(model):
    images = random_frames(make_vec("toy_grid/default", 3, 0), 1, 0).images
    nothing = FrameSet(images, np.zeros((3, 64, 64), np.uint8), np.zeros(256, bool))
    results = attention_report(model.policy, nothing, CamalConfig(), 0, level_set="empty").results
    place = {"level_set": "empty", "target": "value"}
    assert results.value("empty_targets", **place, map="own") == 3
    epg = results.find(ResultKey("epg", **place, map="own"))
    assert (epg.value, epg.count) == (None, 0)
    deleted = results.find(ResultKey("deletion_effect", **place, map="mask", control="mean"))
    assert (deleted.value, deleted.count) == (None, 0)


class _Family:
    """A family in which every frame with a dark first pixel is that of a training level."""

    @staticmethod
    def training_fingerprints(name, options):
        assert name == "game"
        assert options["num_levels"] == 200
        return frozenset({b"dark"})

    @staticmethod
    def frame_fingerprint(frame):
        return b"dark" if frame[0, 0, 0] < 10 else b"light"

    @staticmethod
    def normalized_score(name, returns):
        return (np.asarray(returns) - 2) / 8

    @staticmethod
    def episode_scores(name, infos):
        return {"score": 10.0 * len(infos), "success_win": sum(info["won"] for info in infos) / len(infos)}


def test_duplicates_and_normalized_scores_come_from_the_family(monkeypatch):
    monkeypatch.setattr(evaluation, "family_of", lambda env_id: (_Family(), "game"))
    config = load_config("toy_grid")
    check = evaluation.duplicate_check(config.env, "held_out")
    assert check(np.zeros((64, 64, 3), np.uint8))
    assert not check(np.full((64, 64, 3), 200, np.uint8))
    assert evaluation.duplicate_check(config.env, "train") is None
    (found,) = evaluation._normalized("any/game", np.array([2.0, 10.0]), "train", "stochastic")
    assert found == Result(figure="normalized_return", level_set="train", control="stochastic", value=0.5, count=2)


def test_a_familys_own_figures_are_of_the_episodes_that_count(monkeypatch):
    monkeypatch.setattr(evaluation, "family_of", lambda env_id: (_Family(), "game"))
    played = EpisodeReturns(np.zeros(2), np.ones(2, np.int64), 1, ({"won": True}, {"won": False}))
    score, success = evaluation._scores("any/game", played, "held_out", "deterministic")
    place = {"level_set": "held_out", "control": "deterministic", "count": 2}
    assert score == Result(figure="score", value=20.0, **place)
    assert success == Result(figure="success_win", value=0.5, **place)
    none = EpisodeReturns(np.zeros(0), np.zeros(0, np.int64), 3)
    assert evaluation._scores("any/game", none, "held_out", "deterministic") == []


def test_families_without_duplicates_or_scores_have_none():
    assert evaluation.duplicate_check(load_config("toy_grid").env, "held_out") is None
    assert evaluation._normalized("toy_grid/default", np.array([1.0]), "train", "stochastic") == []
    played = EpisodeReturns(np.zeros(1), np.ones(1, np.int64), 0, ({},))
    assert evaluation._scores("toy_grid/default", played, "train", "stochastic") == []


def test_frames_of_procgen_training_levels_are_duplicates_and_others_mostly_not():
    pytest.importorskip(MODULE)
    config = load_config("procgen/starpilot", ["env.options.num_levels=8"])
    check = evaluation.duplicate_check(config.env, "held_out")
    seen = make_level_set_env(config, "train", 16, 3, masks=False).reset()
    new = make_level_set_env(config, "held_out", 16, 3, masks=False).reset()
    assert all(check(frame) for frame in seen)
    assert sum(check(frame) for frame in new) <= 2
