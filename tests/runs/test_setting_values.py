import os

import pytest
import yaml

from camal_rl.runs.loading import dump_yaml, load_config, parse_overrides
from camal_rl.runs.yaml_text import read_yaml, write_yaml

SHAPES = "supervised/spurious_shapes"
TEXTS = [
    "with space #1", "# all of it", "a: b", "a:b", " lead and trail ", "it's", 'say "so"', "{a: 1}", "[a, b]", "{open",
    "!tag x", "*alias", "&anchor x", "- item", "| x", "> x", "? x", "%x", "@x", "`x`", "yes", "no", "on", "off", "true",
    "~", "1_000", "1e-4", "012", "0x1f", ".inf", ".nan", "nan", "1:30", "2024-05-01", "a=b=c", "${seed}",
    "${oc.env:HOME}", "$HOME", "???", "<<", "=", "ü 日本 \N{PILE OF POO}", "a\tb", "a\\nb", "a,b", "'a' b", "\"", "''x",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_arrives_as_it_was_typed(text):
    assert load_config(SHAPES, [f"data.root={text}"]).data.root == text


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_survives_the_run_folder(tmp_path, text):
    config = load_config(SHAPES, [f"data.root={text}"])
    path = tmp_path / "config.yaml"
    path.write_text(dump_yaml(config), encoding="utf-8")
    assert load_config(path) == config
    # Readers of YAML 1.1 see the same text.
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["data"]["root"] == text


def test_quotes_around_all_of_a_text_are_taken_off_and_null_is_none():
    assert load_config(SHAPES, ['data.root="null"']).data.root == "null"
    assert load_config(SHAPES, ["data.root='it''s #1'"]).data.root == "it's #1"
    assert load_config(SHAPES, ["data.root=null"]).data.root is None
    assert load_config("toy_grid", ["policy.encoder='impala'"]).policy.encoder == "impala"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("-3", -3), ("1_000", 1000), ("010", 10), ("0x1F", 31), ("0o17", 15), ("1e-4", 1e-4), ("1e3", 1000.0),
        (".5", 0.5), ("2.", 2.0), ("true", True), ("False", False), ("null", None), ("~", None), ("''", ""),
        ("'3'", "3"),
        ("[1, a, 'b #1', null]", [1, "a", "b #1", None]), ("{a: {b: 1}, c: [2]}", {"a": {"b": 1}, "c": [2]}),
        ("{}", {}), ("[]", []), ("yes", "yes"), ("on", "on"), ("2024-05-01", "2024-05-01"), ("1:30", "1:30"),
        ("a #b", "a #b"), ("a: b", "a: b"), ("!!python/name:os.system", "!!python/name:os.system"),
        ("${oc.env:HOME}", "${oc.env:HOME}"), ("???", "???"), ("*x", "*x"), ("- 1", "- 1"), ("'a' b", "'a' b"),
    ],
)  # fmt: skip
def test_a_value_of_no_known_type_is_what_it_looks_like(text, value):
    found = parse_overrides([f"x={text}"])["x"]
    assert found == value
    assert type(found) is type(value)


def test_items_of_a_list_of_texts_are_texts():
    assert load_config("toy_grid", ["env.relevant=[on, 1, 1e3, null, a b]"]).env.relevant == (
        "on", "1", "1e3", "null", "a b"
    )  # fmt: skip


def test_the_environment_is_never_read(monkeypatch):
    monkeypatch.setitem(os.environ, "SECRET", "found")
    for text in ("${oc.env:SECRET}", "${SECRET}", "$SECRET", "!ENV ${SECRET}"):
        assert load_config("toy_grid", [f"env.options.x={text}"]).env.options["x"] == text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("camal.weight=", "cannot read the setting 'camal.weight=': the value is missing; use null for none"),
        ("camal.weight=???", "camal.weight: input should be a valid number, unable to parse string as a number, got"),
        ("foo=???", "unknown key 'foo'"),
        ("seed=1 #2", "seed: input should be a valid integer, unable to parse string as an integer, got '1 #2'"),
        ("seed=${x}", "got '${x}'"),
        ("env.relevant=[a #b]", "a '#' in a list or mapping begins a comment; put the text with it in quotes"),
        ("env.options={a: &x [*x]}", "a mapping or list that contains itself"),
        ("env.options={a: 1, a: 2}", "the key 'a' is repeated"),
        ("env.options=" + "[" * 5000, "brackets nested too deeply"),
        ("seed=" + "9" * 5000, "a number of 5000 digits"),
        ("env.options.x=[1", "cannot read the setting 'env.options.x=[1'"),
        ("env..id=x", "a setting must be key=value"),
        ("=x", "a setting must be key=value"),
        ("name=\udcff", "name: not text in UTF-8"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_line_with_its_key(override, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared
        load_config("toy_grid", [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_an_empty_text_is_no_folder():
    with pytest.raises(ValueError, match=r"data\.root must name a folder, got ''"):
        load_config(SHAPES, ["data.root="])


def test_yaml_files_follow_yaml_1_2():
    text = "a: yes\nb: 1e-4\nc: 2024-05-01\nd: 010\ne: x # comment\nf: '#x'\ng:\nh: 1:30\ni: &x [1]\nj: *x\n"
    assert read_yaml(text) == {
        "a": "yes", "b": 1e-4, "c": "2024-05-01", "d": 10, "e": "x", "f": "#x", "g": None, "h": "1:30", "i": [1],
        "j": [1],
    }  # fmt: skip


@pytest.mark.parametrize("value", [0.1, 1e-5, 1e16, 5e-324, 3, -1, True, None, [], {}, [1.5, None], {"a": {"b": "c"}}])
def test_what_is_written_is_read_back(value):
    assert read_yaml(write_yaml({"x": value})) == {"x": value}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a configuration must be a mapping"),
        (b"env: {id: a, id: b}", "the key 'id' is repeated"),
        (b"seed: 1\nseed: 2", "the key 'seed' is repeated"),
        (b"\xff\xfe", "not text in UTF-8"),
        (b"a: &x [*x]", "contains itself"),
        (b"a: !!python/object/apply:os.getcwd []", "not a YAML configuration"),
        (b"a: 1\n---\nb: 2", "not a YAML configuration"),
        (b"_base_: [a, b]", "_base_ must be the name or the file of one configuration"),
        (b"_base_: nowhere.yaml", "no configuration file"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_in_one_line(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        load_config(path)
    assert message in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xef\xbb\xbf_base_: toy_grid\nseed: 3\n")
    assert load_config(path).seed == 3
