"""The pages of reference that follow from the code are what the code says, and every setting is in them."""

import re
from dataclasses import MISSING, dataclass, field, fields
from itertools import takewhile
from typing import Annotated, Literal, get_type_hints

import pytest
from pydantic import Field

from camal_rl.rl.algorithms import ALGORITHMS
from camal_rl.rl.config import ExperimentConfig
from camal_rl.runs.checks import Amount, Count, PositiveAmount, Share
from camal_rl.runs.sections import known_keys
from camal_rl.supervised.config import SupervisedConfig
from docs.site import reference
from tests.docs.commands import group
from tests.docs.pages import ROOT, read

PAGES = reference.pages()
WRITE = "python -m docs.site.reference writes the pages of reference"


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_what_the_code_gives(name):
    assert read(f"docs/reference/{name}") == PAGES[name], WRITE


def keys_of(page):
    return set(re.findall(r"^\| `([\w.]+)` \|", PAGES[page], re.MULTILINE))


@pytest.mark.parametrize(
    ("page", "config"), [("agent_settings.md", ExperimentConfig), ("classifier_settings.md", SupervisedConfig)]
)
def test_every_key_of_a_configuration_has_its_row(page, config):
    algorithms = ALGORITHMS if config is ExperimentConfig else ["any"]
    known = {key for name in algorithms for key, _ in known_keys(config, {"algorithm": {"name": name}})}
    rows = keys_of(page)
    assert {key for key in rows if not key.startswith("terms.")} >= {key for key in known if not has_keys(key, known)}
    assert not [key for key in rows if not key.startswith(("terms.", "tuning.")) and key not in known]


def has_keys(key, known):
    """Say whether a key is a section, or something that only tables of sections hold."""
    return key == "tuning" or any(other.startswith(f"{key}.") for other in known)


@pytest.mark.parametrize("page", ["agent_settings.md", "classifier_settings.md"])
def test_every_setting_says_what_it_means(page):
    rows = [line for line in PAGES[page].splitlines() if line.startswith("| `")]
    assert rows
    assert not [row for row in rows if row.rstrip(" |").endswith("`") and row.count("|") < 5]
    assert not [row for row in rows if re.search(r"\|\s*\|$", row)]


BY_HAND = [
    # page, first cell of the table's heading, section, configuration
    ("docs/image_data.md", "setting", "data", SupervisedConfig),
    ("docs/resuming.md", "setting (section `log`)", "log", ExperimentConfig),
    ("docs/supervised.md", "setting of `camal`", "camal", SupervisedConfig),
]


def rows_by_hand(page, heading):
    lines = read(page).splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    header, rows = lines[start], takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [cell.strip() for cell in header.strip("|").split("|")], [row.strip("|").split("|") for row in rows]


@pytest.mark.parametrize(("page", "heading", "section", "config"), BY_HAND)
def test_a_table_that_is_written_by_hand_names_settings_that_exist_with_their_defaults(page, heading, section, config):
    kind = get_type_hints(config)[section]
    header, rows = rows_by_hand(page, heading)
    defaults = {each.name: each.default for each in fields(kind)}
    for row in rows:
        for name in re.findall(r"`(\w+)`", row[0]):
            assert name in defaults, f"{page}: {section}.{name}"
            shown = re.match(r"[\d.,]+", row[1].strip()) if header[1] == "default" else None
            if shown:
                assert float(shown[0].replace(",", "")) == defaults[name], f"{page}: {section}.{name}"


def test_no_other_page_has_a_table_of_settings():
    found = {
        (page, line.strip("|").split("|")[0].strip())
        for page in (f"docs/{path.relative_to(ROOT / 'docs')}" for path in (ROOT / "docs").rglob("*.md"))
        if not page.startswith("docs/reference/")
        for line in read(page).splitlines()
        if re.match(r"\| settings?\b", line)
    }
    assert found == {(page, heading) for page, heading, *_ in BY_HAND}


def test_every_command_and_option_is_on_the_page():
    page = PAGES["command_line.md"]
    for verb, command in group().commands.items():
        assert f"## `camal-rl {verb}`" in page
        part = page.partition(f"## `camal-rl {verb}`")[2].partition("\n## ")[0]
        for parameter in command.params:
            if parameter.param_type_name == "option" and "--help" not in parameter.opts:
                assert f"`{parameter.opts[0]}`" in part, f"{verb} {parameter.opts[0]}"


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (bool, "`true` or `false`"),
        (str | None, "text or `null`"),
        (Literal["a", "b"] | None, "`a`, `b` or `null`"),
        (Count, "whole number, at least 1"),
        (Annotated[int, Field(ge=8, le=4096)], "whole number, 8 to 4096"),
        (Share, "number, 0 to 1"),
        (Amount, "number, at least 0"),
        (PositiveAmount | None, "number, above 0 or `null`"),
        (tuple[str, ...], "list: text"),
    ],
)
def test_a_type_is_told_in_words(hint, words):
    assert reference.type_words(hint) == words


def test_the_text_of_an_attribute_goes_over_lines_and_loses_the_markup_of_docstrings():
    @dataclass
    class Settings:
        """Some settings.

        Attributes:
            first: what ``a`` says; a name
                of :func:`some.place.there`.
            second: a | b, :class:`~some.place.Kind`.
        """

        first: int = 1
        second: tuple = field(default_factory=tuple)

    assert reference.attributes_of(Settings) == {
        "first": "what `a` says; a name of `some.place.there`.",
        "second": "a | b, `Kind`.",
    }
    assert [item.default is MISSING for item in fields(Settings)] == [False, True]
