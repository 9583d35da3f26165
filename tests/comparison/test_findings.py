import pytest

from camal_rl.comparison.findings import findings
from camal_rl.comparison.significance import significance_note
from camal_rl.runs.metrics_file import MapDescription
from camal_rl.runs.results import ResultKey
from tests.comparison.report_runs import made_group

POLICY = {"level_set": "held_out", "target": "policy"}
EPG, AREA = (ResultKey(figure, **POLICY, map="own") for figure in ("epg", "area_fraction"))
EFFECT, RANDOM = (ResultKey("deletion_effect", **POLICY, map=map_, control="mean") for map_ in ("own", "random"))


def returned(name):
    return ResultKey("return", name, control="stochastic")


def comparison(
    train, held_out, epg=(0.2, 0.998), effect=(0.47, 0.67), random=0.16, seeds=1, methods=2, maps=None, **more
):
    """Return a group of ppo and camal; returns are measured with an error of .05, seeds differ by .01."""
    figures = {
        returned("train"): train,
        returned("held_out"): held_out,
        EPG: epg,
        AREA: (0.09, 0.09),
        EFFECT: effect,
        RANDOM: (random, random),
        **{returned(name): pair for name, pair in more.items()},
    }
    errors = {key: 0.05 for key in figures if key.figure == "return"}
    values = {key: [[each + 0.01 * seed for seed in range(seeds)] for each in pair] for key, pair in figures.items()}
    return made_group({key: each[:methods] for key, each in values.items()}, errors, ("ppo", "camal")[:methods], maps)


def test_a_win_is_told_with_what_is_lost_on_new_levels_and_where_both_look():
    (text,) = findings(comparison(train=(0.93, 0.94), held_out=(-0.27, 0.79)))
    assert text.startswith(
        "On levels that were not trained on (held_out) camal does better than ppo: return camal 0.79, ppo -0.27."
    )
    assert "On the training levels no difference is shown (camal 0.94, ppo 0.93)" in text
    assert "From train to held_out ppo loses 1.20 and camal 0.15." in text
    assert (
        "100 % of the policy map of camal lie on the relevant objects, which cover 9 % of the picture. For ppo it is 20"
        in text
    )
    assert (
        "lowers the probability of the preferred action by 0.67, more than removing a random map's pixels (0.16)."
        in text
    )
    assert text.endswith("With 1 against 1 seed no test is possible: the spread over seeds is unknown.")
    assert "worse" not in text
    assert "behind" not in text


def test_continuous_actions_have_a_density():
    maps = {"policy": MapDescription("hirescam, absolute", "density of the preferred action, as a share of it")}
    (text,) = findings(comparison(train=(0.93, 0.94), held_out=(0.7, 0.79), maps=maps))
    assert "lowers the density of the preferred action by 0.67 of itself, more than removing" in text
    assert "probability" not in text


def test_a_loss_is_told_as_a_loss():
    (text,) = findings(comparison(train=(0.81, 0.43), held_out=(0.6, 0.1), effect=(0.47, 0.1)))
    assert "camal does worse than ppo: return camal 0.10, ppo 0.60." in text
    assert "On the training levels camal is behind (camal 0.43, ppo 0.81): it has learned less in these steps" in text
    assert (
        "lowers the probability of the preferred action by 0.10, no more than removing a random map's pixels (0.16)."
        in text
    )
    assert "better" not in text
    assert "ahead" not in text


def test_differences_within_the_measuring_error_are_not_called_any():
    (text,) = findings(comparison(train=(0.8, 0.9), held_out=(0.5, 0.6)))
    assert "no difference is shown: return camal 0.60, ppo 0.50, within twice the standard error." in text
    assert "better" not in text
    assert "worse" not in text


def test_further_level_sets_are_told_by_how_they_went():
    more = {"cue_broken": (-0.1, 0.9), "held_out_appearance": (0.1, -0.5)}
    (text,) = findings(comparison(train=(0.9, 0.9), held_out=(0.1, 0.8), **more))
    assert "The return of camal is better on cue_broken (camal 0.90, ppo -0.10); worse on held_out_app" in text


def test_enough_seeds_say_what_is_significant_and_too_few_say_so():
    # Of 4 against 4 seeds that are all apart p is 2 / C(8, 4) = .029; times 4 figures that is .114.
    (text,) = findings(comparison(train=(0.9, 0.9), held_out=(0.1, 0.8), seeds=4))
    assert (
        "Over 4 seeds 3 of 4 differences have p < 0.05 before correction: return on held_out (p = 0.029), EPG" in text
    )
    assert "after Holm's correction none is significant (smallest p 0.114)." in text
    (text,) = findings(comparison(train=(0.9, 0.9), held_out=(0.1, 0.8), seeds=3))
    assert text.endswith("With 3 against 3 seeds no test can reach p < 0.05: the smallest possible p is 0.10.")
    (text,) = findings(comparison(train=(0.9, 0.9), held_out=(0.5, 0.5), epg=(1, 1), effect=(1, 1), seeds=4))
    assert text.endswith("Over 4 seeds none of these differences is significant.")


def test_significant_gains_and_losses_are_named_after_the_correction():
    # p = 2 / C(14, 7), times 4 comparisons is far below .05.
    (text,) = findings(comparison(train=(0.9, 0.1), held_out=(0.1, 0.9), epg=(1, 1), effect=(1, 1), seeds=7))
    assert "Over 7 seeds 2 of 4 differences have p < 0.05 before correction" in text
    assert text.endswith("these are significant: gains on return on held_out; losses on return on train.")


def test_a_map_of_the_first_method_is_mentioned_where_it_is_no_better_than_a_random_one():
    (text,) = findings(comparison(train=(1, 1), held_out=(1, 1), effect=(0.1, 0.67)))
    assert "policy map of ppo marks lowers the probability of the preferred action by 0.10, no more" in text
    (text,) = findings(comparison(train=(1, 1), held_out=(1, 1)))
    assert "policy map of ppo marks" not in text


def test_classifiers_are_told_by_their_accuracy_their_worst_group_and_other_backgrounds():
    accuracy, epg = ResultKey("accuracy", "test"), ResultKey("epg", "test", "class", "own")
    figures = {
        accuracy: [[0.44], [0.99]],
        ResultKey("accuracy", "test", control="dark"): [[0.1], [0.2]],
        ResultKey("worst_group_accuracy", "test"): [[0.25], [0.125]],
        ResultKey("accuracy_swapped", "test"): [[0.5], [0.75]],
        epg: [[0.2], [0.9]],
    }
    (text,) = findings(made_group(figures, {accuracy: 0.01}))
    assert text.startswith("On images that were not trained on (test) camal does better than ppo: accuracy camal 0.99")
    assert "The accuracy of the worst group of camal is worse on test (camal 0.12, ppo 0.25)." in text
    assert "On other backgrounds the accuracy of camal is better on test (camal 0.75, ppo 0.50)." in text
    assert "return" not in text
    assert "dark" not in text


@pytest.mark.parametrize("missing", ["train", "held_out", "epg", "effect"])
def test_missing_figures_are_no_errors(missing):
    pairs = {"train": (1.0, 1.0), "held_out": (0.1, 0.8), "epg": (0.2, 0.9), "effect": (0.4, 0.6)}
    pairs[missing] = pairs[missing][:1]
    assert len(findings(comparison(**pairs))) == 1


def test_a_single_method_is_told_by_its_figures_and_nothing_as_nothing():
    (text,) = findings(comparison(train=(1.0,), held_out=(0.1,), methods=1))
    assert text.startswith(
        "ppo has 1 seed and no method to compare with: return on train 1.000, return on held_out 0.100"
    )
    assert findings(made_group({})) == ["camal and ppo have no metric in common."]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(3, 3), (3, 3)], "With 3 against 3 seeds no test can reach p < 0.05: the smallest possible p is 0.10."),
        ([(1, 2)], "With 1 against 2 seeds no test is possible: the spread over seeds is unknown."),
        ([(4, 4)], ""),
        ([(5, 3)], ""),
        ([], ""),
    ],
)
def test_what_so_many_seeds_can_show(pairs, expected):
    assert significance_note(pairs) == expected
