import copy

import pytest

from camal_rl.comparison.findings import findings
from camal_rl.comparison.significance import significance_note


def figure(ppo, camal, errors=0.05):
    def summary(values):
        return {
            "seeds": {str(seed): value for seed, value in enumerate(values)},
            "mean": sum(values) / len(values),
            "std": None if len(values) < 2 else 0.01,
            "measuring_error": errors,
            "p_against_first": None if len(values) < 4 else 0.029,
        }

    return {"ppo": summary(ppo), "camal": summary(camal)}


def comparison(train, held_out, epg=(0.2, 0.998), effect=(0.47, 0.67), random=0.16, seeds=1, **more):
    figures = {
        "return/train": figure(*([each] * seeds for each in train)),
        "return/held_out": figure(*([each] * seeds for each in held_out)),
        "epg/policy/held_out": figure(*([each] * seeds for each in epg), errors=None),
        "area_fraction/policy/held_out": figure([0.09], [0.09], errors=None),
        "deletion_effect/policy/held_out": figure(*([each] * seeds for each in effect), errors=None),
        "deletion_effect_random/policy/held_out": figure([random], [random], errors=None),
    }
    figures.update({name: figure(*([each] * seeds for each in pair)) for name, pair in more.items()})
    return {"methods": ["ppo", "camal"], "seeds": list(range(seeds)), "figures": figures}


def test_a_win_is_told_with_what_is_lost_on_new_levels_and_where_both_look():
    (text,) = findings(comparison(train=(0.93, 0.94), held_out=(-0.27, 0.79)))
    assert text.startswith(
        "On levels that were not trained on (held_out) camal does better than ppo: return camal 0.79, ppo -0.27."
    )
    assert "On the training levels the two are equal (camal 0.94, ppo 0.93)" in text
    assert "from train to held_out ppo loses 1.20 and camal 0.15." in text
    assert (
        "100 % of the policy map of camal lie on the relevant objects, which cover 9 % of the picture; of ppo 20 %"
        in text
    )
    assert "costs the preferred action 0.67 of probability, more than removing a random map's pixels (0.16)." in text
    assert text.endswith("With 1 against 1 seed nothing can be tested: how much seeds differ is not known.")
    assert "worse" not in text
    assert "behind" not in text


def test_a_loss_is_told_as_a_loss():
    (text,) = findings(comparison(train=(0.81, 0.43), held_out=(0.6, 0.1), effect=(0.47, 0.1)))
    assert "camal does worse than ppo: return camal 0.10, ppo 0.60." in text
    assert "On the training levels camal is behind (camal 0.43, ppo 0.81): it has learned less in these steps" in text
    assert "costs the preferred action 0.10 of probability, no more than removing a random map's pixels (0.16)." in text
    assert "better" not in text
    assert "ahead" not in text


def test_differences_within_the_measuring_error_are_not_called_any():
    (text,) = findings(comparison(train=(0.8, 0.9), held_out=(0.5, 0.6)))
    assert "camal and ppo do equally well, as far as these figures can tell: return camal 0.60, ppo 0.50." in text
    assert "better" not in text
    assert "worse" not in text


def test_further_level_sets_are_told_by_how_they_went():
    more = {"return/cue_broken": (-0.1, 0.9), "return/held_out_appearance": (0.1, -0.5)}
    (text,) = findings(comparison(train=(0.9, 0.9), held_out=(0.1, 0.8), **more))
    assert (
        "Elsewhere the return of camal is better on cue_broken (camal 0.90, ppo -0.10); worse on held_out_app" in text
    )


def test_enough_seeds_say_what_is_significant_and_too_few_say_so():
    (text,) = findings(comparison(train=(0.9, 0.9), held_out=(0.1, 0.8), seeds=4))
    assert "significant on train (p = 0.029) and held_out (p = 0.029), each test by itself." in text
    (text,) = findings(comparison(train=(0.9, 0.9), held_out=(0.1, 0.8), seeds=3))
    assert text.endswith("With 3 against 3 seeds no test can reach p < 0.05: the smallest possible p is 0.10.")


def test_classifiers_are_told_by_their_accuracy():
    told = comparison(train=(1.0, 1.0), held_out=(0.1, 0.8))
    told["figures"] = {
        "accuracy/test": figure([0.44], [0.99], errors=0.01),
        "epg/class/test": figure([0.2], [0.9], errors=None),
    }
    (text,) = findings(told)
    assert text.startswith("On images that were not trained on (test) camal does better than ppo: accuracy camal 0.99")
    assert "return" not in text


def test_missing_figures_and_single_methods_are_no_errors():
    told = comparison(train=(1.0, 1.0), held_out=(0.1, 0.8))
    for name in list(told["figures"]):
        few = copy.deepcopy(told)
        few["figures"][name]["camal"] = {"seeds": {}, "mean": None, "std": None, "p_against_first": None}
        assert len(findings(few)) == 1
    assert findings({**told, "methods": ["ppo"]}) == []
    assert findings({**told, "figures": {}}) == ["camal and ppo have no figure in common."]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(3, 3), (3, 3)], "With 3 against 3 seeds no test can reach p < 0.05: the smallest possible p is 0.10."),
        ([(1, 2)], "With 1 against 2 seeds nothing can be tested: how much seeds differ is not known."),
        ([(4, 4)], ""),
        ([(5, 3)], ""),
        ([], ""),
    ],
)
def test_what_so_many_seeds_can_show(pairs, expected):
    assert significance_note(pairs) == expected
