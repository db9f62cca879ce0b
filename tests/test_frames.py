"""Proves that a widget's page shows a picture per choice, within bounds, and that
nothing of it reaches a stored notebook."""

import io
import json
import re
import tomllib

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import Image, display
from matplotlib.figure import Figure

from book import execute, sync_generated
from book.execute import NOTEBOOKS
from helpers import explore, session, widgets
from helpers.errors import HelperError
from helpers.figures import frames


def said(**values):
    print("values", *values.values())


def test_a_frame_per_choice_but_the_first():
    html = frames.frames(said, {"a": 1, "b": "<x>"}, {"a": [1, 2, 3]})
    assert html.startswith('<div class="frames" hidden>')
    assert re.findall(r"<option>(.+?)</option>", html) == ["1", "2", "3"]
    assert re.findall(r"<pre>(.+?)</pre>", html) == [
        f"values {n} &lt;x&gt;" for n in (2, 3)
    ]
    assert html.count("hidden>") == 3


def test_a_control_that_is_not_there_and_too_many_pictures_are_refused():
    with pytest.raises(HelperError, match=r"no control \['z'\], only \['a'\]"):
        frames.frames(said, {"a": 1}, {"z": [1]})
    with pytest.raises(HelperError, match="25 pictures, at most 24"):
        frames.frames(said, {"a": 1}, {"a": list(range(25))})


@pytest.mark.parametrize("pages", [False, True])
def test_only_pages_have_frames(monkeypatch, capsys, pages):
    shown = []
    monkeypatch.setattr(widgets, "interactive", lambda: False)
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.setattr(session, "_frames", None)
    if pages:
        monkeypatch.setenv(session.PAGES_VARIABLE, '[{}, {"n": [5]}]')
    for _ in range(3):
        explore(said, n=(1, 0, 9))
    assert capsys.readouterr().out.startswith("values 1\n" * (2 + (not pages)))
    assert len(shown) == pages


def test_the_table_names_widgets_of_the_chapters(monkeypatch):
    table = tomllib.loads((NOTEBOOKS / "book" / "frames.toml").read_text("utf-8"))
    monkeypatch.setenv(session.PAGES_VARIABLE, "[]")
    for path in sync_generated.chapters():
        wanted = table.pop(path.name[:2], {})
        found = json.loads(execute.frames_of(path)[session.PAGES_VARIABLE])
        assert [row for row in found if row] == list(wanted.values())
    assert not table, "of no chapter"
    monkeypatch.delenv(session.PAGES_VARIABLE)
    assert execute.frames_of(sync_generated.chapters()[0]) == {}


def test_a_picture_is_small_and_says_what_it_shows():
    def draw(k):
        figure = Figure(figsize=(6.5, 3))
        figure.subplots().plot([1, k])
        written = io.BytesIO()
        figure.savefig(written)
        display(Image(written.getvalue()))

    InteractiveShell.instance()
    try:
        html = frames.frames(draw, {"k": 1}, {"k": [1, 2]})
    finally:
        InteractiveShell.clear_instance()
    assert f'alt="{frames.ALT} Here: k 2."' in html
    assert 1000 < len(html) < 25_000


def test_frames_get_the_cells_alt_text_and_stay_within_a_page():
    cell = nbformat.v4.new_code_cell()
    cell.metadata["mystnb"] = {"image": {"alt": 'A "plot"'}}
    html = f'<div class="frames"><img alt="{frames.ALT} Here: k 2."></div>'
    cell.outputs = [nbformat.v4.new_output("display_data", data={"text/html": html})]
    execute.finish_frames(cell)
    found = cell.outputs[0]["data"]["text/html"]
    assert 'alt="A &quot;plot&quot;. Here: k 2."' in found
    cell.outputs[0]["data"]["text/html"] = html * 6000
    with pytest.raises(execute.Failure, match="offer fewer"):
        execute.finish_frames(cell)
