"""Proves that the pages ask for nothing from outside, in light and dark.

Renders the committed notebooks as `make run` does, without executing them.
"""

import re

import pytest
from rendered import rendered

from book import execute, sync_generated

pytestmark = pytest.mark.model  # renders every page


def test_a_part_of_the_series_has_pages_too(tmp_path):
    some = execute.notebooks()[2:3]
    book = rendered(tmp_path, some)
    assert (book / f"{some[0].stem}.html").is_file()
    assert not (book / f"{execute.notebooks()[0].stem}.html").exists()


def test_every_notebook_has_a_page(book_pages):
    index = (book_pages / "index.html").read_text("utf-8")
    for path in sync_generated.chapters():
        assert (book_pages / f"{path.stem}.html").is_file()
        assert f'href="{path.stem}.html"' in index
        assert (book_pages / "solutions" / f"{path.stem}.html").is_file()


def test_no_request_leaves_a_page(book_pages):
    loads = re.compile(
        r"""(?:<(?:script|img|iframe|source|audio|video)[^>]*\ssrc=|<link[^>]*href=|"""
        r"""@import\s|url\()["']?(?:https?:)?//[^"'\s)>]+""",
        re.IGNORECASE,
    )
    for path in book_pages.rglob("*.html"):
        found = loads.findall(path.read_text("utf-8"))
        assert not found, f"{path.name}: {found}"
    for path in (book_pages / "_static").rglob("*.css"):
        assert not loads.findall(path.read_text("utf-8", errors="replace")), path


def test_a_page_has_light_and_dark_and_alt_texts(book_pages):
    text = (book_pages / f"{sync_generated.chapters()[0].stem}.html").read_text("utf-8")
    assert "theme-switch" in text
    images = re.findall(r"<img [^>]+>", text)
    assert len(images) >= 3
    for image in images:
        assert re.search(r'alt="[^"]{10,}"', image), image
