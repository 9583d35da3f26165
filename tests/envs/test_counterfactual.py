"""The contract of counterfactual environments: what follows from images, the checker, wrappers."""

import re
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecMonitor, VecTransposeImage

from camal_rl.envs import (
    IDENTITY,
    Counterfactual,
    CounterfactualEnv,
    Intervention,
    check_counterfactual_env,
    find_counterfactual,
    make_vec,
)

FRAMES = np.zeros((2, 4, 4, 3), dtype=np.uint8)
PAINT = Intervention("paint", "change", "corner", "Paint one corner pixel of the first frame.")


class Painter(CounterfactualEnv):
    """A simulator whose only intervention paints one pixel; ``flaw`` breaks the contract in one way."""

    def __init__(self, flaw=""):
        self.flaw, self.calls = flaw, 0

    def interventions(self):
        return (PAINT, PAINT) if self.flaw == "names" else (PAINT,)

    def counterfactual(self, intervention):
        images = FRAMES.copy()
        self.calls += 1
        if intervention == PAINT:
            images[0, 1, 2, 0] = 1
        elif self.flaw == "unfaithful" or (self.flaw == "disturbed" and self.calls > 1):
            images[1, 3, 3, 2] = 7
        drawn = Counterfactual.between(FRAMES, images)
        if self.flaw == "changed":
            drawn.changed[1, 0, 0] = True
        return drawn


def test_what_changed_follows_from_the_images():
    drawn = Painter().counterfactual(PAINT)
    assert drawn.applies.tolist() == [True, False]
    assert np.argwhere(drawn.changed).tolist() == [[0, 1, 2]]  # a change in one color channel counts
    same = Counterfactual.between(FRAMES, FRAMES.copy())
    assert not same.changed.any()
    assert not same.applies.any()


def test_images_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="expected redrawn frames of shape"):
        Counterfactual.between(FRAMES, FRAMES[:1])
    with pytest.raises(TypeError, match="uint8"):
        Counterfactual.between(FRAMES, FRAMES.astype(float))
    with pytest.raises(ValueError, match="the kind of an intervention"):
        Intervention("x", "erase")


@pytest.mark.parametrize(
    ("flaw", "message"),
    [
        ("names", "names of interventions must be unique"),
        ("unfaithful", "identity changed 1 pixels in 1 frames"),
        ("disturbed", "identity changed 1 pixels in 1 frames"),
        ("changed", "do not match its images"),
    ],
)
def test_the_checker_finds_flaws(flaw, message):
    check_counterfactual_env(Painter(), FRAMES)
    with pytest.raises(ValueError, match=message):
        check_counterfactual_env(Painter(flaw), FRAMES)


def test_the_environment_is_found_behind_wrappers():
    env = make_vec("toy_grid/default", 2, 0)
    assert find_counterfactual(VecTransposeImage(VecMonitor(env))) is env
    assert IDENTITY not in env.interventions()


def test_the_documented_simulator_keeps_the_contract():
    page = Path(__file__).parents[2].joinpath("docs", "counterfactuals.md").read_text()
    (example,) = (code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class LampWorld" in code)
    names = {}
    exec(example, names)
    world = names["world"]
    lamp, wall = (world.counterfactual(item) for item in reversed(world.interventions()))
    assert lamp.changed.sum(axis=(1, 2)).tolist() == [1, 1, 1, 1]
    assert wall.changed.sum(axis=(1, 2)).tolist() == [62, 62, 62, 62]
