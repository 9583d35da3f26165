"""The documentation site builds strictly, holds every page, and asks no other host for anything."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

pytest.importorskip("mkdocs", reason="the extra docs, from Python 3.11 on")
pytest.importorskip("material")

PAGES_FROM_THE_ROOT = ("contributing", "architecture", "changelog", "code_of_conduct", "security")
NOT_ON_THE_SITE = ("results.md",)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the folder of a site that was built strictly: a broken link, anchor or reference would have ended it."""
    folder = tmp_path_factory.mktemp("site")
    # Not with --quiet: it hides the warnings from --strict too, which then passes.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout
    return folder


ADDRESS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}


class Assets(HTMLParser):
    """What a page makes the browser fetch: scripts, styles, pictures, frames."""

    def __init__(self):
        super().__init__()
        self.found, self.images = [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ADDRESS and (tag != "link" or given.get("rel") not in ("canonical", "prev", "next")):
            self.found.append(given.get(ADDRESS[tag]) or "")
        if tag == "img":
            self.images.append(given)


@pytest.fixture(scope="module")
def assets(site):
    """Return what every page of the site fetches, by the page."""
    found = {}
    for page in site.rglob("*.html"):
        found[page.relative_to(site)] = parser = Assets()
        parser.feed(page.read_text(encoding="utf-8"))
    return found


def test_every_page_of_the_documentation_is_on_the_site(site):
    for page in sorted((ROOT / "docs").rglob("*.md")):
        name = page.relative_to(ROOT / "docs")
        if str(name) not in NOT_ON_THE_SITE:
            folder = name.parent if name.name in ("README.md", "index.md") else name.with_suffix("")
            assert (site / folder / "index.html").is_file(), name
    assert all((site / name / "index.html").is_file() for name in PAGES_FROM_THE_ROOT)


def test_an_old_address_leads_to_the_page_that_took_its_place(site):
    assert "How to read them" in (site / "results" / "index.html").read_text()


def test_no_page_fetches_anything_from_another_host(site, assets):
    for page, fetched in assets.items():
        outside = [each for each in fetched.found if re.match(r"(\w+:)?//", each)]
        assert not outside, f"{page}: {outside}"
    for style in site.rglob("*.css"):
        assert not re.findall(r"""(?:url\(|@import\s)["']?(?:https?:)?//""", style.read_text(encoding="utf-8")), style


def test_no_page_has_a_diagram_that_a_script_of_another_host_would_draw(site):
    assert not [page for page in site.rglob("*.html") if 'class="mermaid"' in page.read_text(encoding="utf-8")]


def test_every_picture_has_words_that_stand_for_it(assets):
    for page, fetched in assets.items():
        assert all(image.get("alt") for image in fetched.images), page


def test_formulas_are_pictures_in_the_page(site):
    page = (site / "how_it_works" / "index.html").read_text()
    assert page.count('<svg role="img" aria-label=') >= 6
    assert "```math" not in page
    # Every glyph that a picture refers to is in the page.
    assert set(re.findall(r'xlink:href="#(f[^"]+)"', page)) <= set(re.findall(r'id="(f[^"]+)"', page))


def test_a_link_that_leaves_the_documentation_leads_to_a_page_that_shows_the_file(site):
    page = (site / "glossary" / "index.html").read_text()
    shown = site / "files" / "camal_rl" / "metrics" / "alignment.py" / "index.html"
    assert 'href="../files/camal_rl/metrics/alignment.py/"' in page
    assert "energy_pointing_game" in shown.read_text()


def test_the_python_reference_has_signatures_and_no_sphinx_markup(site):
    for page in (site / "reference" / "python").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "doc-signature" in text, page
        assert not re.findall(r":(?:class|func|meth|data|mod|attr):", text), page


def test_the_configuration_keeps_off_what_would_ask_another_host():
    text = (Path(ROOT) / "mkdocs.yml").read_text()
    assert "font: false" in text
    assert "analytics" not in text
