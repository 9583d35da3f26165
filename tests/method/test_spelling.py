import pytest

from camal_rl.spelling import did_you_mean, nearest

ENVS = ["toy_grid/default", "procgen/maze", "procgen/starpilot", "minigrid/DoorKey-6x6"]


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("natur", ["nature", "impala", "compact"], "nature"),
        ("Impala", ["nature", "impala", "compact"], "impala"),
        ("heldout", ["train", "held_out", "held_out_cue"], "held_out"),
        ("camal.wieght", ["camal.weight", "seed"], "camal.weight"),
        ("wieght", ["camal.weight", "seed"], "camal.weight"),
        ("procgen/starpilto", ENVS, "procgen/starpilot"),
        ("starpilot", ENVS, "procgen/starpilot"),
        ("toygrid/default", ENVS, "toy_grid/default"),
    ],
)
def test_a_misspelled_name_is_recognized(name, known, meant):
    assert nearest(name, known) == [meant]
    assert did_you_mean(name, known) == f"did you mean {meant!r}? "


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("resnet", ["nature", "impala", "compact"]),
        ("algorithm.target_kl", ["algorithm.gae_lambda", "algorithm.n_steps"]),
        ("distribution_mode", ["layout", "start_level", "num_levels"]),
        ("procgen/zork", ENVS),
        ("atari/maze/easy", ENVS),
        ("", ENVS),
        (3, ["three"]),
        ("x", []),
    ],
)
def test_another_name_is_not_taken_for_a_misspelled_one(name, known):
    assert nearest(name, known) == []
    assert did_you_mean(name, known) == ""


def test_several_names_come_with_the_most_alike_first():
    assert nearest("resnet18", ["vit", "resnet50", "resnet18d", "resnet101"], count=2) == ["resnet18d", "resnet101"]
