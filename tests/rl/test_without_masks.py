"""Methods that need masks, on environments without: one line that says so, and nothing is written."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from camal_rl.agents import CAMALPPO
from camal_rl.envs import MaskedVecEnv, make_segmented_vec
from tests.command_line import refusal, run_main
from tests.conftest import TINY


class Bare(gymnasium.Env):
    """Images, and not a word about masks."""

    observation_space = spaces.Box(0, 255, (64, 64, 3), np.uint8)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.full((64, 64, 3), 9, np.uint8), {}

    def step(self, action):
        self.steps += 1
        return np.full((64, 64, 3), 9, np.uint8), 1.0, self.steps == 5, False, {}


class Promised(Bare):
    """Says what its labels mean, and gives none."""

    segmentation_spec = {"names": ["background", "dot"], "relevant": ["dot"]}  # noqa: RUF012


METHODS = ("camal", "energy", "background_mix", "object_mask", "camal+object_mask")
OFF = ("env.segmentation=null", "log.overlay_every=0", "evaluation.frames=0")
WITHOUT = {
    "no spec": (f"env.id={__name__}:Bare", "has no attribute segmentation_spec"),
    "no masks": (f"env.id={__name__}:Promised", "returned no info['segmentation']"),
    "no masks, no overlays": (f"env.id={__name__}:Promised", "returned no info['segmentation']", "log.overlay_every=0"),
    "a game": ("env.id=atari/Adventure", "has no masks"),
}


def compare(methods, folder, *settings):
    wanted = ["--methods", methods, "--seeds", "1", "--jobs", "1", "--out", str(folder), "--no-progress"]
    return run_main("compare", "toy_grid", *TINY, *settings, *wanted)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", WITHOUT)
def test_a_comparison_says_it_in_one_line_and_writes_nothing(case, method, tmp_path, capsys):
    env, message, *more = WITHOUT[case]
    if env.startswith("env.id=atari"):
        pytest.importorskip("ocatari")
    assert compare(method, tmp_path / "c", env, *more) == 2
    told = refusal(capsys)
    assert message in told
    assert f"method {method}: " in told
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("method", METHODS)
def test_masks_that_are_switched_off_are_named(method, tmp_path, capsys):
    assert compare(f"ppo,{method}", tmp_path / "c", *OFF) == 2
    assert "segmentation" in refusal(capsys)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "settings",
    [
        ("camal.weight=0.1",),
        ("camal.weight=0", "terms={background_mix: {weight: 0.5}}"),
        ("camal.weight=0", "env.masking=object_mask"),
    ],
)
@pytest.mark.parametrize("case", list(WITHOUT)[:3])
def test_training_says_it_in_one_line_and_writes_nothing(case, settings, tmp_path, capsys):
    env, message, *more = WITHOUT[case]
    assert run_main("train", "toy_grid", *TINY, env, *more, *settings, "--run-dir", str(tmp_path / "r")) == 2
    assert message in refusal(capsys)
    assert not (tmp_path / "r").exists()


def test_ppo_trains_without_masks(tmp_path):
    env, run = f"env.id={__name__}:Bare", tmp_path / "r"
    assert run_main("train", "toy_grid", *TINY, env, *OFF, "camal.weight=0", "--run-dir", str(run)) in (0, None)
    assert (run / "train.json").is_file()


def test_what_is_measured_after_training_is_checked_before_it(tmp_path, capsys):
    env = f"env.id={__name__}:Bare"
    assert compare("ppo", tmp_path / "c", env, "env.segmentation=null", "camal.weight=0") == 2
    told = refusal(capsys)
    assert "attention is measured against masks" in told
    assert "set evaluation.frames=0" in told
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("methods", "meant"),
    [
        ("camla", "camal"),
        ("ppo,drca", "drac"),
        ("object_masks", "object_mask"),
        ("camal+obejct_mask", "object_mask"),
        ("ppo,bakground_mix", "background_mix"),
        ("PPO", "ppo"),
        ("sgqm", "sgqn"),
    ],
)
def test_a_misspelled_method_names_the_near_one(methods, meant, tmp_path, capsys):
    assert compare(methods, tmp_path / "c") == 2
    assert f"did you mean {meant!r}?" in refusal(capsys)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("setting", "meant"),
    [
        ("camal.loss=camla", "camal"),
        ("terms={drca: {}}", "drac"),
        ("methods={enery: {}}", "energy"),
        ("env.masking=objectmask", "object_mask"),
        ("env.maskin=object_mask", "env.masking"),
    ],
)
def test_a_misspelled_method_in_a_configuration_names_the_near_one(setting, meant, tmp_path, capsys):
    assert run_main("train", "toy_grid", *TINY, setting, "--run-dir", str(tmp_path / "r")) == 2
    assert f"did you mean {meant!r}?" in refusal(capsys)
    assert not (tmp_path / "r").exists()


SMALL = {"n_steps": 8, "batch_size": 8, "device": "cpu"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"camal": {"weight": 0.1}}, "needs an environment with segmentation"),
        ({"camal": {"weight": 0.1, "loss": "energy"}}, "needs an environment with segmentation"),
        ({"camal": {"weight": 0}, "terms": ["background_mix"]}, "needs an environment with segmentation"),
        ({"camal": {"weight": 0}, "terms": ["bakground_mix"]}, "did you mean 'background_mix'"),
        ({"camal": {"weight": 0.1, "loss": "enery"}}, "did you mean 'energy'"),
    ],
)
@pytest.mark.parametrize("make", [Bare, lambda: make_segmented_vec(Bare, 1, masks=False)], ids=["plain", "masks off"])
def test_python_says_it_in_one_line(make, given, message):
    with pytest.raises(ValueError, match=message) as caught:
        CAMALPPO("CamPolicy", make(), **given, **SMALL)
    assert "\n" not in str(caught.value)


def test_masking_says_it_in_python_too():
    with pytest.raises(ValueError, match="masking 'object_mask' needs an environment with segmentation"):
        MaskedVecEnv(make_segmented_vec(Bare, 1, masks=False), "object_mask")
