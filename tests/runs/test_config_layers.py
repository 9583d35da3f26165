import pytest

from camal_rl.runs.config_files import laid_over
from camal_rl.runs.inherited import inherited_note
from camal_rl.runs.loading import load_config

SHAPES = "supervised/spurious_shapes"


@pytest.mark.parametrize(
    ("below", "value", "result"),
    [
        ({"a": 1, "b": {"c": 2}}, {"b": {"d": 3}}, {"a": 1, "b": {"c": 2, "d": 3}}),
        ({"a": 1}, {}, {}),
        ({"a": 1, "b": 2}, {"_replace_": True, "b": 3}, {"b": 3}),
        ({"a": 1, "b": 2}, {"_replace_": False, "b": 3}, {"a": 1, "b": 3}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        (None, {"a": {"_replace_": True, "b": 1}}, {"a": {"b": 1}}),
        (3, {"a": 1}, {"a": 1}),
    ],
)
def test_one_section_is_laid_over_another(below, value, result):
    assert laid_over(below, value) == result


def test_a_section_is_cleared_replaced_or_loses_a_key_on_the_command_line():
    inherited = load_config(SHAPES).data.options
    assert inherited["num_classes"] == 4
    assert load_config(SHAPES, ["data.options={}"]).data.options == {}
    assert load_config(SHAPES, ["~data.options", "data.options.num_classes=3"]).data.options == {"num_classes": 3}
    assert load_config(SHAPES, ["data.options={_replace_: true, num_classes: 3}"]).data.options == {"num_classes": 3}
    assert load_config(SHAPES, ["data.options={num_classes: 3}"]).data.options == {**inherited, "num_classes": 3}
    without = load_config(SHAPES, ["~data.options.num_classes"]).data.options
    assert without == {key: value for key, value in inherited.items() if key != "num_classes"}
    assert load_config("toy_grid", ["methods={}"]).methods == {}
    # Settings with a default of their own go back to it.
    assert load_config("toy_grid", ["~camal.weight"]).camal.weight == 0.1
    assert load_config("toy_grid", ["~camal"]).camal.method == "gradcam"


def test_a_section_is_cleared_or_replaced_in_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"_base_: {SHAPES}\ndata: {{options: {{}}}}\nmethods: {{_replace_: true, l1: {{weight: 1}}}}\n")
    config = load_config(path)
    assert (config.data.options, config.data.name, config.methods) == ({}, "spurious_shapes", {"l1": {"weight": 1}})
    path.write_text(f"_base_: {SHAPES}\n")
    assert load_config(path) == load_config(SHAPES)


def test_a_base_is_looked_for_beside_the_file_that_names_it(tmp_path, monkeypatch):
    (tmp_path / "sets").mkdir()
    (tmp_path / "base.yaml").write_text("_base_: toy_grid\nseed: 5\n")
    (tmp_path / "sets" / "mine.yaml").write_text("_base_: ../base.yaml\nname: mine\n")
    monkeypatch.chdir(tmp_path.parent)
    config = load_config(tmp_path / "sets" / "mine.yaml")
    assert (config.seed, config.name) == (5, "mine")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "~data.options.nothing",
            "cannot remove 'data.options.nothing', which does not exist; data.options has num_classes,",
        ),
        ("~nothing", "cannot remove 'nothing', which does not exist; the configuration has data,"),
        ("~data.name.x", "cannot remove 'data.name.x', which does not exist; data.name is 'spurious_shapes'"),
        ("data.options={_replace_: 3}", "_replace_ must be true or false, got 3"),
        ("~", "a setting must be key=value"),
    ],
)
def test_what_cannot_be_removed_or_replaced_is_said_in_one_line(override, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared
        load_config(SHAPES, [override])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("source", "overrides", "message", "note"),
    [
        (
            "procgen/starpilot", ["env.id=minigrid/Empty-5x5"], "unknown option 'distribution_mode'",
            "env.options.distribution_mode is inherited from configuration procgen: ~env.options.distribution_mode "
            "removes it, env.options={} removes all of env.options",
        ),
        (SHAPES, ["data.name=folder"], "unknown option 'num_classes'", "data.options.num_classes is inherited from"),
        (SHAPES, ["model.name=resnet"], "unknown option 'width'", "model.options.width is inherited from"),
        (
            "toy_grid", ["env.id=minigrid/Empty-5x5"], "evaluation.sets: unknown level set 'held_out_cue'",
            "evaluation.sets is inherited from configuration toy_grid: give evaluation.sets=..., or ~evaluation.sets",
        ),
        # The user's own setting, another option, or no other environment.
        (SHAPES, ["data.name=folder", "data.options.num_classes=3"], "unknown option 'num_classes'", ""),
        (SHAPES, ["data.name=folder"], "unknown option 'number'", ""),
        (SHAPES, [], "num_classes must be an integer", ""),
    ],
)  # fmt: skip
def test_a_message_says_which_configuration_a_refused_setting_comes_from(source, overrides, message, note):
    found = inherited_note(source, overrides, message)
    assert found.startswith(note)
    assert bool(found) == bool(note)
