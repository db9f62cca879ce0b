"""Proves what `make run` does with a Ctrl-C and with a notebook that is not its own."""

import os
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from book import execute
from helpers.catalogue import NOTEBOOKS

ROOT = NOTEBOOKS.parent
RUN = """
import signal, sys
# A shell's background job ignores Ctrl-C, and its children with it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from book.execute import main
sys.exit(main())
"""


@pytest.mark.skipif(os.name != "posix", reason="no signal to send")
def test_ctrl_c_ends_a_run_at_once_and_leaves_no_kernel(tmp_path, seen):
    started = tmp_path / "started"
    cell = new_code_cell(
        f"import pathlib, time\npathlib.Path({str(started)!r}).touch()\ntime.sleep(60)"
    )
    path = NOTEBOOKS / "interrupted.ipynb"
    nbformat.write(new_notebook(cells=[cell]), path)
    before = path.read_bytes()
    try:
        run = subprocess.Popen(
            [sys.executable, "-c", RUN, "update", path.name],
            cwd=NOTEBOOKS,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )
        while not started.exists() and run.poll() is None:
            time.sleep(0.1)
        kernels = psutil.Process(run.pid).children(recursive=True)
        assert kernels
        start = time.monotonic()
        os.killpg(run.pid, signal.SIGINT)
        _, said = run.communicate(timeout=30)
        assert time.monotonic() - start < 5
        assert run.returncode == 130
        assert said == "Interrupted: nothing half-done was kept. Run it again.\n"
        _, alive = psutil.wait_procs(kernels, timeout=5)
        assert not alive
        assert path.read_bytes() == before
    finally:
        path.unlink()
    seen("Ctrl-C in the middle of `make run`", said)


def test_a_notebook_is_found_however_it_is_named(monkeypatch):
    path = NOTEBOOKS / "01_pipelines.ipynb"
    for folder, name in [
        (ROOT, "notebooks/01_pipelines.ipynb"),
        (NOTEBOOKS, "notebooks/01_pipelines.ipynb"),
        (NOTEBOOKS, "01_pipelines.ipynb"),
        (NOTEBOOKS / "solutions", "../01_pipelines.ipynb"),
        (ROOT, str(path)),
    ]:
        monkeypatch.chdir(folder)
        assert execute.found(name) == path


def test_a_notebook_from_outside_is_refused(tmp_path, seen):
    other = tmp_path / "mine.ipynb"
    nbformat.write(new_notebook(), other)
    with pytest.raises(execute.Failure, match="copy it there") as caught:
        execute.found(str(other))
    seen("make run of a notebook from outside the series", caught.value)
    with pytest.raises(execute.Failure, match="No such notebook: 99_none.ipynb"):
        execute.found("99_none.ipynb")
