"""What the build of the site does not see: each exported name is in the reference, links between files lead on."""

import re
from pathlib import Path

import pytest

import fastbp

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "guide").glob("*.md")]


def test_reference_lists_each_exported_name_once():
    lines = (ROOT / "docs" / "reference" / "index.rst").read_text(encoding="utf-8").splitlines()
    listed = [line.strip() for line in lines if re.fullmatch(r"   \w+", line)]
    assert sorted(listed) == sorted(fastbp.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    """In the sources: those to the gallery go by the examples, as sphinx-gallery's pages are not there."""
    for target in re.findall(r"\]\((?!https?:|#)(.+?)\)", page.read_text(encoding="utf-8")):
        path = page.parent / target.partition("#")[0]
        assert path.exists() or path.resolve() == ROOT / "docs" / "gallery" / "index.rst", target


def test_examples_are_linked_to():
    """Each from the page on the notes or the guide."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for example in (ROOT / "docs" / "examples").glob("*/*.py"):
        assert f"examples/{example.parent.name}/{example.name}" in text, example.name
