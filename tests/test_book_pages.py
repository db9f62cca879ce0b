"""Proves what the book adds to the chapters: terms that lead to the glossary, a cheat
sheet whose calls run, and an index of claims that are the cells' own."""

import re
import tomllib

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from book import pages, sync_generated
from helpers.catalogue import NOTEBOOKS, catalogue
from helpers.models import RETIRED

CHAPTERS = {
    path: nbformat.read(path, as_version=4) for path in sync_generated.chapters()
}
SHEET = tomllib.loads((NOTEBOOKS / "book" / "cheat_sheet.toml").read_text("utf-8"))
ROWS = {row["name"]: row for row in SHEET["task"]}
LABEL = re.compile(r"^\((at-\S+)\)=$", re.MULTILINE)


def linked(*texts):
    notebook = new_notebook(cells=[new_markdown_cell(text) for text in texts])
    found = pages.link_terms(notebook)
    return [cell.source for cell in notebook.cells], found


def test_the_first_use_of_a_term_is_linked_and_only_that():
    (first, second), found = linked("Two **tokens** here, a token.", "A token again.")
    assert first == "Two **{term}`tokens <token>`** here, a token."
    assert second == "A token again."
    assert found == ["token"]


def test_a_term_inside_code_links_and_headings_is_left_alone():
    text = "# A token\n\n`token`, [a token](x.md), ![token](y.svg)\n\n```\ntoken\n```"
    (same,), found = linked(text)
    assert same == text
    assert found == []


def test_a_heading_hides_only_itself():
    (text,), _ = linked("## A token?\n\nA token is a piece.")
    assert text == "## A token?\n\nA {term}`token <token>` is a piece."


def test_the_longest_term_wins():
    (text,), _ = linked("An attention mask hides padding.")
    assert text.startswith("An {term}`attention mask <attention mask>` hides")


def test_every_entry_is_used_by_a_chapter_and_says_by_which():
    assert all(text.endswith(".") for _, text in pages.entries())
    page = pages.glossary(CHAPTERS)
    unused = [x for x in page.split("\n\n") if x[0] != "#" and "\n  " in x]
    unused = [entry for entry in unused if " First in chapter [" not in entry]
    assert not unused
    assert page.count(" First in chapter [") == len(pages.entries())
    assert "A plan of {term}`layers <layer>`" in page
    assert "\n## A\n" in page


def test_a_word_that_means_something_else_in_a_chapter_is_left_alone():
    notebook = new_notebook(cells=[new_markdown_cell("It blocks the line.")])
    assert pages.link_terms(notebook, "13") == []
    assert pages.link_terms(notebook, "10") == ["block"]


def test_every_assert_and_every_picture_of_a_chapter_is_listed():
    for path, notebook in CHAPTERS.items():
        page = pages.claims({path: notebook})
        known = pages.known_claims().get(path.stem[:2], {})
        held, drawn = page.split("## Figures")
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        codes = [
            code
            for cell in cells
            if known.get(cell.id) != ""
            for code in pages.claimed(cell.source)
        ]
        assert all(f"<br>`{code}`" in held for code in codes), path.name
        assert held.count("<br>`") == len(codes) > 0, path.name
        plots = [cell for cell in cells if "alt" in str(cell.metadata.get("mystnb"))]
        small = pages.thumbnails(notebook)
        assert drawn.count("](thumbnails/") == len(small) <= len(plots)
        assert all(len(picture) < 60_000 for picture in small.values())
        assert "Colab" not in page


def test_every_claim_leads_to_a_place_of_its_chapter():
    for path, notebook in CHAPTERS.items():
        marked = nbformat.reads(nbformat.writes(notebook), 4)
        pages.mark(path, marked)
        places = [name for c in marked.cells for name in LABEL.findall(c.source)]
        assert len(set(places)) == len(places)
        wanted = re.findall(r"<(at-[^>]+)>`", pages.claims({path: notebook}))
        assert wanted
        assert set(wanted) <= set(places)


def test_what_is_said_of_claims_is_a_whole_sentence():
    for cells in pages.known_claims().values():
        for text in cells.values():
            assert not text or re.fullmatch(r"[A-Z`t].*\.", text), text


def test_a_claim_without_words_of_its_own_takes_those_around_it():
    cells = [
        new_markdown_cell("## Why?\n\nFirst. Are both equal?"),
        new_code_cell("assert a == b"),
        new_markdown_cell("They are, to the *last* digit. More."),
    ]
    page = pages.claims({next(iter(CHAPTERS)): new_notebook(cells=cells)})
    assert "- Are both equal? They are, to the *last* digit. ({ref}`Why? " in page


def test_what_a_cell_asserts_is_its_own_code():
    source = "%pip list\nassert a == b, 'no'\nif c:\n    assert all(\n        d\n    )"
    assert pages.asserted(source) == ["a == b", "all(d)"]
    assert pages.claimed("assert a == b or not embedded") == ["a == b"]
    assert pages.claimed("assert a or b") == ["a or b"]


def test_the_cheat_sheet_has_every_task():
    tasks = set(catalogue()["tasks"]) - {"image-feature-extraction"}
    besides = {row["besides"] for row in SHEET["task"] if "besides" in row}
    assert set(ROWS) | besides == tasks
    assert {name for name in ROWS if ROWS[name].get("own")} == set(RETIRED.values())


@pytest.mark.parametrize("name", ROWS)
def test_a_call_of_the_cheat_sheet_runs_and_answers_as_it_says(pipe, name):
    from PIL import Image

    from helpers import sound

    image = Image.open(NOTEBOOKS / "data" / "scenes" / "guitar.png").convert("RGB")
    content = [{"type": "image", "image": image}, {"type": "text", "text": "What?"}]
    given = {
        "pipe": pipe(name),
        "text": "The ferry was late. The bus had left, so we walked home.",
        "image": image,
        "audio": sound(NOTEBOOKS / "data" / "tour" / "nine.wav"),
        "chat": [{"role": "user", "content": content}],
    }
    answer = eval(ROWS[name]["call"], given)
    while isinstance(answer, list):
        answer = answer[0]
    if ROWS[name]["keys"]:
        assert set(ROWS[name]["keys"]) <= set(answer)
    else:
        assert answer.shape[-1] > 100
