"""What the site's hooks make of links, diagrams, notebooks and docstrings."""

import importlib.util
import json

import pytest

from tests.docs.pages import ROOT

pytest.importorskip("mkdocs", reason="the extra docs, from Python 3.11 on")


def hook(name):
    spec = importlib.util.spec_from_file_location(f"site_{name}", ROOT / "docs" / "site" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("page", "link", "on_site"),
    [
        ("glossary.md", "toy_grid.md", "toy_grid.md"),
        ("glossary.md", "../CONTRIBUTING.md#a-loss", "contributing.md#a-loss"),
        ("glossary.md", "../README.md", "index.md"),
        ("glossary.md", "../camal_rl/losses.py", "files/camal_rl/losses.py.md"),
        ("results/README.md", "../../configs", "../files/configs/index.md"),
        ("results/README.md", "files/toy_grid.json", "files/toy_grid.json"),
        ("results/README.md", "../notebooks/first_steps.ipynb", "../notebooks/first_steps.md"),
        ("contributing.md", "docs/methods.md", "methods.md"),
        ("contributing.md", "docs/results/README.md#the-manifest", "results/README.md#the-manifest"),
        ("contributing.md", "ARCHITECTURE.md", "architecture.md"),
        ("glossary.md", "https://arxiv.org", "https://arxiv.org"),
        ("glossary.md", "#maps", "#maps"),
        ("glossary.md", "no_such_file.md", "no_such_file.md"),
    ],
)
def test_a_link_leads_to_its_place_on_the_site(page, link, on_site):
    assert hook("outside").site_links(f"see [it]({link}).", page) == f"see [it]({on_site})."


def test_the_arrows_of_a_diagram_become_a_table():
    diagram = 'flowchart LR\n    A[one] -->|"two | three"| B\n    B --> C((+))\n    agents -->|7| envs\n'
    assert hook("outside").arrows_as_table(diagram).splitlines()[2:] == [
        "| one | two \\| three | B |",
        "| B | → | + |",
        "| agents | 7 | envs |",
    ]


def test_code_in_a_table_shows_a_bar_without_its_backslash():
    outside = hook("outside")
    row = "| `log pi(a\\|s)` | a \\| b |"
    assert outside._plain_bars(f"{row}\n`x\\|y`") == "| `log pi(a|s)` | a \\| b |\n`x\\|y`"


def test_a_notebook_becomes_its_text_its_code_and_what_that_printed():
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "words"]},
        {
            "cell_type": "code",
            "source": ["1 + 1"],
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["2\n"]},
                {"output_type": "stream", "name": "stderr", "text": ["a warning\n"]},
                {"output_type": "display_data", "metadata": {}, "data": {"image/png": "AAAA\n"}},
            ],
        },
    ]
    parts = [part for cell in json.loads(json.dumps(cells)) for part in hook("notebooks").parts_of(cell)]
    assert parts[:3] == ["# Title\nwords", "```python\n1 + 1\n```", "```text\n2\n```"]
    assert 'src="data:image/png;base64,AAAA"' in parts[3]
    assert len(parts) == 4


def test_roles_of_a_docstring_become_links_and_literal_blocks_lose_their_second_colon():
    pytest.importorskip("griffe")
    text = "See :func:`~camal_rl.losses.camal_loss`.\n\nLike this::\n\n    x\n"
    made = hook("docstrings").as_markdown(text)
    assert '<autoref optional identifier="camal_rl.losses.camal_loss"><code>camal_loss</code></autoref>' in made
    assert "Like this:\n\n    x" in made


def test_a_formula_has_the_color_of_its_text_and_words_for_it():
    picture = hook("formulas").picture(r"\frac{a}{b}")
    assert picture.startswith('<svg role="img" aria-label="\\frac{a}{b}"')
    assert "currentColor" in picture
    assert "#000000" not in picture
