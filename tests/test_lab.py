"""Proves that the chapters work in JupyterLab as a reader uses it, in a real browser:
every cell runs, each control of a widget redraws, the quiz answers, nothing fails.

Needs Chromium; the server listens on loopback alone. The first chapter belongs to
`make test`, the others to `make nightly`.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from chromium import needs_chromium
from hygiene import tags
from places import code_cells

from book import sync_generated
from book.execute import NOTEBOOKS

pytestmark = [pytest.mark.model, needs_chromium]
PAGES = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.nightly] * (number > 0))
    for number, path in enumerate(sync_generated.chapters())
]
# Cells that are far off the screen shall be drawn, too.
SETTINGS = {"@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"}}
# Begins to run all cells; `window.ran` says when they are done.
RUN_ALL = """() => { window.ran = false; window.jupyterapp.commands
  .execute('notebook:run-all-cells').finally(() => { window.ran = true; }); }"""
# The ids of the cells that ended in an error, and of those that were not run.
FAILED = """() => window.jupyterapp.shell.currentWidget.content.widgets
  .filter((cell) => cell.model.type === 'code' && (!cell.model.executionCount ||
    cell.model.outputs.toJSON().some((output) => output.output_type === 'error')))
  .map((cell) => cell.model.id)"""
GO_TO = """async (id) => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  const place = notebook.widgets.findIndex((cell) => cell.model.id === id);
  notebook.activeCellIndex = place;
  await notebook.scrollToItem(place, 'start');
}"""
SHOWN = """(widget) => [...widget.querySelectorAll(
    '.jp-OutputArea img, .jp-OutputArea pre')]
  .map((e) => e.src || e.textContent).join()"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Start JupyterLab on a copy of the notebooks; give its address and token."""
    place = tmp_path_factory.mktemp("lab")
    root = place / "notebooks"
    root.mkdir()
    for path in NOTEBOOKS.iterdir():
        if path.suffix == ".ipynb":
            shutil.copy(path, root)
        elif path.name in ("figures", "data"):  # sent to the browser, so no links
            shutil.copytree(path, root / path.name)
        else:
            (root / path.name).symlink_to(path)
    for name, values in SETTINGS.items():
        file = place / "settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values), "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    environment = os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(place / "settings"),
        "JUPYTER_TOKEN": token,
        "LEARN_TRANSFORMERS_STATIC": "",  # somebody is there
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    command += ["--expose-app-in-browser", f"--ServerApp.root_dir={root}"]
    with (place / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(120):
            try:
                urlopen(f"http://127.0.0.1:{port}/api", timeout=5).close()
                break
            except URLError:
                assert server.poll() is None, (place / "lab.log").read_text()[-2000:]
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}", token
    finally:
        server.terminate()
        server.wait(30)


def move(page, widget) -> list[str]:
    """Move each control of a widget once; return what did not change the picture."""
    still = []
    controls = widget.locator(
        ".widget-text input, select, .noUi-handle, input[type=checkbox]"
    )

    def changed(before: str) -> bool:
        for _ in range(120):
            if widget.evaluate(SHOWN) != before:
                return True
            page.wait_for_timeout(500)
        return False

    for number in range(controls.count()):
        control, before = controls.nth(number), widget.evaluate(SHOWN)
        control.scroll_into_view_if_needed()
        kind = control.evaluate("(e) => e.type || e.tagName")
        if kind == "text":
            first = control.input_value()
            control.fill("The second film was not good at all.")
            control.press("Enter")
        elif kind == "select-one":
            control.select_option(index=1)
        elif kind == "checkbox":
            control.click()
        else:
            control.focus()
            for _ in range(4):
                control.press("ArrowRight")
        if not changed(before):
            still.append(f"control {number}, {kind}")
        if kind == "text":  # emptied by mistake: a picture, or one line
            before = widget.evaluate(SHOWN)
            control.fill("")
            control.press("Enter")
            if not changed(before):
                still.append(f"control {number}, emptied")
            lines = widget.locator(".jp-OutputArea pre").all_inner_texts()
            assert "Traceback" not in "".join(lines)
            if not widget.locator(".jp-OutputArea img").count():
                assert "".join(lines).strip().count("\n") == 0, lines
            before = widget.evaluate(SHOWN)
            control.fill(first)  # or the controls after it show the same complaint
            control.press("Enter")
            if not changed(before):
                still.append(f"control {number}, as it was")
    return still


def shut_down_kernels(address: str, token: str) -> None:
    """Give back the memory of the chapter's kernel before the next one starts."""
    kernels = f"{address}/api/kernels"
    given = {"headers": {"Authorization": f"token {token}"}}
    for kernel in json.load(urlopen(Request(kernels, **given), timeout=20)):
        end = Request(f"{kernels}/{kernel['id']}", method="DELETE", **given)
        urlopen(end, timeout=20).close()


@pytest.mark.parametrize("path", PAGES)
def test_a_chapter_works_in_jupyterlab(lab, browser, path):
    address, token = lab
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: said.type == "error" and errors.append(said.text))
    # A workspace of its own, or JupyterLab opens the chapters before again as well.
    workspace = f"{address}/lab/workspaces/chapter-{path.name[:2]}"
    page.goto(f"{workspace}/tree/{path.name}?token={token}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext")
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.ready")
    page.set_default_timeout(60_000)
    page.evaluate(RUN_ALL)
    page.wait_for_function("window.ran", timeout=400_000)
    meant = [c.id for c in code_cells(path) if "raises-exception" in tags(c)]
    assert page.evaluate(FAILED) == meant, "cells that failed, and those that are to"
    widgets = page.locator(".jp-OutputArea-output .widget-vbox:has(.jp-OutputArea)")
    if "explore(" in path.read_text("utf-8"):
        assert widgets.count() >= 1
    for number in range(widgets.count()):
        assert not move(page, widgets.nth(number)), f"widget {number}"
    page.evaluate(GO_TO, "quiz")
    quiz = page.locator(".jp-Cell.jp-mod-active details").first
    quiz.locator("summary").click()
    assert "Right." in quiz.inner_text() or "Wrong." in quiz.inner_text()
    assert not errors
    context.close()
    shut_down_kernels(address, token)
