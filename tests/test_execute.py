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
from places import NOTEBOOKS, ROOT

from book import execute

RUN = """
import signal, sys
# A shell's background job ignores Ctrl-C, and its children with it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from book.execute import main
sys.exit(main())
"""


@pytest.mark.model
@pytest.mark.skipif(os.name != "posix", reason="no signal to send")
def test_ctrl_c_ends_a_run_at_once_and_leaves_no_kernel(tmp_path, record_fault):
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
    record_fault("Ctrl-C in the middle of `make run`", said)


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


def test_a_notebook_from_outside_is_refused(tmp_path, record_fault):
    other = tmp_path / "mine.ipynb"
    nbformat.write(new_notebook(), other)
    with pytest.raises(execute.Failure, match="copy it there") as caught:
        execute.found(str(other))
    record_fault("make run of a notebook from outside the series", caught.value)
    with pytest.raises(execute.Failure, match="No such notebook: 99_none.ipynb"):
        execute.found("99_none.ipynb")


def test_the_longest_pages_begin_and_solutions_are_shown_as_stored(monkeypatch):
    begun = []

    def begin(path):
        begun.append(path)
        raise execute.Failure("is not run")

    monkeypatch.setattr(execute, "execute", begin)
    monkeypatch.setattr(execute, "workers", lambda how_many: 1)
    monkeypatch.setattr(execute.shutil, "rmtree", lambda *_, **__: None)
    monkeypatch.setattr(sys, "argv", ["execute", "run"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name, value in {**execute.QUIET, execute.PAGES_VARIABLE: "[]"}.items():
        monkeypatch.setenv(name, value)
    assert execute.main() == 1
    assert sorted(begun) == execute.chapters()
    stated = [execute.stated_seconds(path) for path in begun]
    assert stated == sorted(stated, reverse=True) and stated[-1] > 0
