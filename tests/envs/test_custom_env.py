"""A Gymnasium class of a user's own: by a registered name, by its path, or announced by its package."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from camal_rl.envs import (
    Family,
    SegmentationSpec,
    check_segmented_env,
    env_ids,
    env_info,
    family_of,
    level_sets,
    make_vec,
    register_env,
    registry,
    segmentation_spec,
)
from camal_rl.envs.custom_env import custom_family
from camal_rl.rl.config import EnvConfig
from camal_rl.rl.environments import level_set_options

SPEC = SegmentationSpec(("background", "ball", "paddle"), ("ball", "paddle"))
PATH = f"{__name__}:Catch"


@pytest.fixture(autouse=True)
def own(monkeypatch):
    monkeypatch.setattr(registry.CUSTOM_ENVS, "_entries", {})


class Catch(gymnasium.Env):
    """A ball falls from a column that the level's seed draws; the paddle at the bottom moves to catch it."""

    segmentation_spec = SPEC
    license = "MIT"
    action_space = spaces.Discrete(3)
    observation_space = spaces.Box(0, 255, (16, 16, 3), np.uint8)
    action_names = ("left", "stay", "right")

    def __init__(self, rows=4, color=255):
        self.rows, self.color = rows, color

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.ball, self.paddle, self.row = int(self.np_random.integers(8)), 3, 0
        return self._frame()

    def step(self, action):
        self.paddle, self.row = min(7, max(0, self.paddle + int(action) - 1)), self.row + 1
        return (self._frame()[0], float(self.ball == self.paddle), self.row == self.rows, False, self._frame()[1])

    def _frame(self):
        labels = np.zeros((16, 16), np.uint8)
        labels[2 * self.row : 2 * self.row + 2, 2 * self.ball : 2 * self.ball + 2] = 1
        labels[14:, 2 * self.paddle : 2 * self.paddle + 2] = 2
        image = np.zeros((16, 16, 3), np.uint8)
        image[labels > 0] = self.color
        return image, {"segmentation": labels}


class InstanceSpec(Catch):
    segmentation_spec = property(lambda self: SegmentationSpec(("background", "a", "b"), ("a",)))


def test_a_registered_class_is_an_environment_like_those_that_ship():
    assert register_env("mine/catch", Catch, level_sets={"held_out_color": {"color": 90}}) is Catch
    assert "mine/catch" in env_ids()
    assert segmentation_spec("mine/catch") == SPEC
    assert env_info("mine/catch").license == "MIT"
    assert env_info("mine/catch").exactness == "unknown"
    assert env_info("mine/catch").installed
    venv = make_vec("mine/catch", 3, 0, relevant=["ball"], rows=5)
    assert venv.reset().shape == (3, 16, 16, 3)
    assert venv.spec.relevant == ("ball",)
    assert venv.action_names == ("left", "stay", "right")
    assert venv.segmentation().shape == (3, 16, 16)
    check_segmented_env(make_vec("mine/catch", 2, 0, **level_sets("mine/catch")["train"]))


def test_a_class_can_score_its_episodes():
    class Scored(Catch):
        @staticmethod
        def episode_scores(infos):
            return {"score": float(len(infos))}

    assert custom_family(Scored, "mine/scored").episode_scores("mine/scored", [{}, {}]) == {"score": 2.0}
    assert custom_family(Catch, "mine/catch").episode_scores is None


def test_level_sets_hold_out_levels_and_change_what_is_asked_for():
    register_env("mine/catch", Catch, level_sets={"held_out_color": {"color": 90}, "dark": {"color": 9}})
    sets = level_sets("mine/catch")
    assert list(sets) == ["train", "held_out", "held_out_color", "dark"]
    assert sets["train"] == {"start_level": 0, "num_levels": 200}
    assert sets["held_out"] == {"start_level": 200, "num_levels": 1_000_000}
    assert sets["held_out_color"] == {**sets["held_out"], "color": 90}
    assert sets["dark"] == {**sets["train"], "color": 9}
    env = EnvConfig("mine/catch", options={"rows": 6})
    assert level_set_options(env, "held_out_color") == {**sets["held_out"], "rows": 6, "color": 90}
    with pytest.raises(ValueError, match="level set 'held_out' contains training levels"):
        level_set_options(EnvConfig("mine/catch", options={"num_levels": 0}), "held_out")


def test_levels_are_seeds_of_resets():
    register_env("mine/catch", Catch)
    seen = {}
    for name, options in level_sets("mine/catch").items():
        venv = make_vec("mine/catch", 4, 1, **options)
        venv.reset()
        infos = [info for _ in range(9) for info in venv.step([1] * 4)[3]]
        seen[name] = {info["level_seed"] for info in infos}
    assert max(seen["train"]) < 200 <= min(seen["held_out"])


def test_held_out_levels_come_after_those_of_an_own_training_set():
    register_env("mine/catch", Catch, level_sets={"train": {"start_level": 50, "num_levels": 10}})
    assert level_sets("mine/catch")["held_out"]["start_level"] == 60
    with pytest.raises(ValueError, match="give train a num_levels above 0"):
        register_env("mine/all", Catch, level_sets={"train": {"num_levels": 0}})


def test_a_class_with_levels_of_its_own_is_given_them():
    class Leveled(Catch):
        def __init__(self, start_level=0, num_levels=0, segmentation="default"):
            super().__init__()
            self.given = (start_level, num_levels, segmentation)

    register_env("mine/leveled", Leveled)
    venv = make_vec("mine/leveled", 1, 0, segmentation="box", **level_sets("mine/leveled")["held_out"])
    assert venv.get_attr("given") == [(200, 1_000_000, "box")]


def test_masks_can_be_left_out():
    venv = make_vec(PATH, 2, 0, segmentation=None)
    venv.reset()
    assert not venv.has_segmentation
    with pytest.raises(ValueError, match="has one kind of masks: segmentation must be default or null, got 'box'"):
        make_vec(PATH, 2, 0, segmentation="box")


def test_a_path_needs_no_registration_and_works_in_processes():
    assert PATH not in env_ids()
    assert family_of(PATH)[1] == PATH
    with make_vec_closing(PATH, 2, 0, subproc=True, **level_sets(PATH)["train"]) as venv:
        assert venv.reset().shape == (2, 16, 16, 3)
        assert venv.segmentation().max() == 2


def make_vec_closing(*arguments, **options):
    import contextlib

    return contextlib.closing(make_vec(*arguments, **options))


def test_an_environment_may_say_its_classes_itself():
    path = f"{__name__}:InstanceSpec"
    assert segmentation_spec(path).names == ("background", "a", "b")
    assert make_vec(path, 1, 0).spec.relevant == ("a",)


def test_register_env_decorates_and_the_same_class_may_come_again():
    decorate = register_env("mine/catch", spec={"names": ["background", "x"], "relevant": ["x"]})
    assert decorate(Catch) is Catch
    assert segmentation_spec("mine/catch").names == ("background", "x")
    register_env("mine/catch", Catch)
    with pytest.raises(ValueError, match="'mine/catch' already belongs to another environment"):
        register_env("mine/catch", InstanceSpec)


def test_a_whole_family_is_registered_under_its_name():
    def made(name, num_envs, seed, **options):
        return make_vec(PATH, num_envs, seed, **options)

    family = Family(
        lambda: ("small", "large"), lambda name: SPEC, lambda name: env_info(PATH), lambda name: level_sets(PATH), made
    )
    register_env("mine", family)
    assert env_ids()[-2:] == ("mine/small", "mine/large")
    assert make_vec("mine/small", 2, 0).num_envs == 2
    assert family_of("mine/large") == (family, "large")
    with pytest.raises(ValueError, match="did you mean 'mine/small'"):
        family_of("mine/smal")
    with pytest.raises(ValueError, match="under a name without a slash"):
        register_env("other/family", family)


def test_an_announced_environment_is_found_and_a_broken_one_is_left_out_with_a_warning(monkeypatch):
    monkeypatch.setattr(
        registry.CUSTOM_ENVS, "_announced_paths", {"their/catch": PATH, "broken/one": "no_such_package:Env"}
    )
    with pytest.warns(registry.AnnouncedEnvWarning, match="no_such_package"):
        ids = env_ids()
    assert ids[-1] == "their/catch"
    assert make_vec("their/catch", 1, 0).spec == SPEC


def test_every_shipped_family_is_whole():
    for name in registry.FAMILIES:
        family = registry.FAMILIES[name]
        assert isinstance(family, Family)
        assert (family.training_fingerprints is None) == (family.frame_fingerprint is None)
    assert registry.FAMILIES["procgen"].normalized_score is not None
    assert registry.FAMILIES["toy_grid"].normalized_score is None


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("procgen/catch", Catch), ValueError, "the family 'procgen' comes with this package"),
        (("mine:catch", Catch), ValueError, "a text without a colon"),
        (("mine/catch", Catch()), TypeError, "a class derived from gymnasium.Env, or a function that makes one, got"),
        (("mine/catch", dict), TypeError, "a class derived from gymnasium.Env, or a function that makes one, got"),
        (("mine/catch", 3), TypeError, "a class derived from gymnasium.Env, or a function that makes one, got 3"),
    ],
)
def test_what_makes_no_environment_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        register_env(*arguments)


def test_wrong_level_sets_options_and_makers_are_refused():
    with pytest.raises(TypeError, match="level_sets must map names to options of the environment"):
        register_env("mine/catch", Catch, level_sets=["train"])
    with pytest.raises(TypeError, match=r"unknown .*Catch option 'row'; did you mean 'rows'\?"):
        make_vec(PATH, 1, 0, row=3)
    register_env("mine/nothing", lambda: None)
    with pytest.raises(TypeError, match=r"derived from gymnasium.Env, got None"):
        make_vec("mine/nothing", 1, 0)
    with pytest.raises(ValueError, match=r"no 'Catsh' in .*; did you mean 'Catch'\?"):
        make_vec(f"{__name__}:Catsh", 1, 0)
    with pytest.raises(TypeError, match=r"environment .*SPEC.* must be a class"):
        make_vec(f"{__name__}:SPEC", 1, 0)
