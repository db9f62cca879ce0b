"""Proves what the book adds to the chapters: terms that lead to the glossary, a cheat
sheet whose calls run, and an index of claims that are the cells' own."""

import re
import tomllib

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from book import pages, sync_generated
from helpers.catalogue import NOTEBOOKS, catalogue

CHAPTERS = {
    path: nbformat.read(path, as_version=4) for path in sync_generated.chapters()
}
SHEET = tomllib.loads((NOTEBOOKS / "book" / "cheat_sheet.toml").read_text("utf-8"))
ROWS = {row["name"]: row for row in SHEET["task"]}


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


def test_every_term_is_used_by_a_chapter():
    used = set()
    for notebook in CHAPTERS.values():
        copy = nbformat.from_dict(notebook)
        used |= set(pages.link_terms(nbformat.reads(nbformat.writes(copy), 4)))
    assert set(pages.terms()) == used


def test_every_assert_and_every_plot_of_a_chapter_is_listed():
    path, notebook = next(iter(CHAPTERS.items()))
    page = pages.claims({path: notebook})
    count = sum(
        cell.source.count("assert ")
        for cell in notebook.cells
        if cell.cell_type == "code"
    )
    assert (
        len(re.findall(r"^- \*[^F].*, cell `.*\* `", page, re.MULTILINE)) == count > 3
    )
    assert page.count("*Plot, cell") >= 2
    assert "*Figure.*" in page
    assert "Colab" not in page


def test_what_a_cell_asserts_is_its_own_code():
    source = "%pip list\nassert a == b, 'no'\nif c:\n    assert all(\n        d\n    )"
    assert pages.asserted(source) == ["a == b", "all(d)"]
    notebook = new_notebook(cells=[new_markdown_cell("## Why?"), new_code_cell(source)])
    notebook.cells[1].id = "x"
    page = pages.claims({next(iter(CHAPTERS)): notebook})
    assert "- *Why?, cell `x`.* `a == b`" in page


def test_the_cheat_sheet_has_every_task():
    tasks = set(catalogue()["tasks"]) - {"image-feature-extraction"}
    assert set(ROWS) == tasks


@pytest.mark.parametrize("name", ROWS)
def test_a_call_of_the_cheat_sheet_runs_and_answers_as_it_says(pipe, name):
    from PIL import Image

    from helpers import sound

    image = Image.open(NOTEBOOKS / "data" / "scenes" / "guitar.png").convert("RGB")
    content = [{"type": "image", "image": image}, {"type": "text", "text": "What?"}]
    given = {
        "pipe": pipe(name),
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
