"""Proves that the suite fails when it should: each test breaks something on purpose.

A small notebook is written into build/, run under the suite's own conftest, and the
failure is looked for.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import test_hygiene
from nbformat.v4 import new_code_cell, new_notebook, new_output
from places import ROOT

from book import execute, sync_generated

FOLDER = ROOT / "build" / "broken"


def suite(name, *cells, timeout=60):
    """Run cells (source, stored output) under the suite; return status and words."""
    notebook = new_notebook()
    for count, (source, stored) in enumerate(cells, start=1):
        cell = new_code_cell(source, execution_count=count)
        if stored is not None:
            cell.outputs = [new_output("stream", name="stdout", text=stored)]
        notebook.cells.append(cell)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.ipynb"
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "pytest", str(path), "--color=no"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", f"--nbval-cell-timeout={timeout}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout


def test_a_right_notebook_passes():
    status, said = suite("right", ("print(1)", "1\n"), ("!true", None))
    assert status == 0, said
    assert "cells run: 2, output compared: 2, excused: 0" in said


def test_a_changed_output_fails(record_fault):
    status, said = suite("changed", ("print('new')", "old\n"))
    assert status == 1
    assert "Cell outputs differ" in said
    record_fault("a stored output that the cell does not print", "Cell outputs differ")


def test_a_changed_third_digit_fails_a_changed_fifth_does_not():
    assert suite("third", ("print(0.1234567)", "0.1244567\n"))[0] == 1
    assert suite("fifth", ("print(0.1234567)", "0.1234999\n"))[0] == 0


def test_an_unknown_magic_fails(record_fault):
    status, said = suite("magic", ("%no_such_magic", None))
    assert status == 1
    assert "no_such_magic" in said
    record_fault(
        "an unknown magic", "UsageError: Line magic function `%no_such_magic` …"
    )


@pytest.mark.parametrize("command", ["!exit 3", "%pip install ./no-such-folder"])
def test_a_failing_shell_command_fails(record_fault, command):
    # Its output would differ anyway, so it is not compared here: the exit code is.
    status, said = suite("shell", (f"# NBVAL_IGNORE_OUTPUT\n{command}", None))
    assert status == 1
    assert "a shell command ended with exit code" in said
    record_fault(f"a cell with {command}", "a shell command ended with exit code …")


def test_a_killed_kernel_is_noticed_at_once(record_fault):
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    status, said = suite("killed", (kill, None), ("print(1)", "1\n"), timeout=100)
    assert status == 1
    assert "the kernel died" in said
    assert re.search(r"1 failed, 1 skipped in \d\d?\.", said), said
    record_fault("a kernel that is killed", "the kernel died; the rest is skipped")


def test_after_a_failure_the_rest_is_skipped():
    status, said = suite("after", ("1 / 0", None), ("print(1)", "1\n"))
    assert status == 1
    assert "1 failed, 1 skipped" in said


def test_a_call_to_the_network_fails(record_fault):
    code = (
        "import urllib.request\nurllib.request.urlopen('http://example.org', timeout=5)"
    )
    status, said = suite("network", (code, None))
    assert status == 1
    assert "the test suite has no network" in said
    record_fault("a cell that calls the network", "the test suite has no network")


def test_a_network_address_is_refused_too(monkeypatch):
    path = ROOT / "tests" / "offline" / "sitecustomize.py"
    place = importlib.util.spec_from_file_location("offline", path)
    sitecustomize = importlib.util.module_from_spec(place)
    monkeypatch.setenv("LEARN_TRANSFORMERS_NETWORK", "1")  # load it, close nothing
    place.loader.exec_module(sitecustomize)
    with pytest.raises(OSError, match="no network"):
        sitecustomize.refuse("192.0.2.1")
    assert not sitecustomize.is_local("192.0.2.1")
    assert sitecustomize.is_local("127.0.0.1")


@pytest.fixture
def copy(tmp_path):
    """A copy of the first chapter that a test may spoil."""
    path = tmp_path / "01_pipelines.ipynb"
    notebook = nbformat.read(sync_generated.chapters()[0], as_version=4)
    return path, notebook, lambda: nbformat.write(notebook, path)


def test_stored_widget_state_fails(copy, record_fault):
    path, notebook, save = copy
    notebook.metadata["widgets"] = {"state": {}}
    save()
    with pytest.raises(AssertionError):
        test_hygiene.test_a_notebook_is_saved_after_a_clean_run(path)
    record_fault(
        "a notebook saved with widget state", "AssertionError in the hygiene tests"
    )


def test_a_stored_widget_fails_and_is_not_written(copy, record_fault):
    path, notebook, save = copy
    cell = next(c for c in notebook.cells if c.cell_type == "code")
    view = {test_hygiene.WIDGET: {"model_id": "1"}, "text/plain": "Text()"}
    cell.outputs = [new_output("display_data", data=view)]
    save()
    with pytest.raises(AssertionError, match="holds a widget"):
        test_hygiene.test_a_notebook_is_saved_after_a_clean_run(path)
    with pytest.raises(execute.Failure, match="left a widget") as caught:
        execute.clean(notebook)
    record_fault("`make update` on a cell that leaves a widget", caught.value)


def test_a_badge_that_points_elsewhere_fails(copy, monkeypatch, record_fault):
    path, notebook, save = copy
    notebook.cells[0].source = notebook.cells[0].source.replace("/blob/", "/tree/")
    save()
    monkeypatch.setattr(test_hygiene, "PATHS", [path])
    monkeypatch.setattr(test_hygiene, "ROOT", path.parent)
    with pytest.raises(AssertionError):
        test_hygiene.test_badges_open_this_repository()
    record_fault("a badge that points elsewhere", "AssertionError in the hygiene tests")


def test_an_excused_cell_without_assert_fails(copy):
    path, notebook, save = copy
    for cell in notebook.cells:
        if "nbval-ignore-output" in test_hygiene.tags(cell):
            cell.source = "print(1)"
    save()
    with pytest.raises(AssertionError):
        test_hygiene.test_an_excused_cell_asserts(path)


def test_a_failing_notebook_is_named(tmp_path, monkeypatch, record_fault):
    cells = [new_code_cell("x = 1"), new_code_cell("x / 0")]
    cells[1].id = "divide"
    path = tmp_path / "99_broken.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    monkeypatch.setattr(execute, "NOTEBOOKS", tmp_path)
    with pytest.raises(execute.Failure) as caught:
        execute.execute(path)
    said = str(caught.value)
    assert said == (
        "99_broken.ipynb, code cell 2 (divide: x / 0): "
        "ZeroDivisionError: division by zero"
    )
    record_fault("`make run` with a cell that fails", said)


def test_a_notebook_whose_kernel_dies_is_named(tmp_path, monkeypatch, record_fault):
    cell = new_code_cell("import os; os._exit(1)")
    path = tmp_path / "99_dies.ipynb"
    nbformat.write(new_notebook(cells=[cell]), path)
    monkeypatch.setattr(execute, "NOTEBOOKS", tmp_path)
    with pytest.raises(
        execute.Failure, match="code cell 1 .* the kernel died"
    ) as caught:
        execute.execute(path)
    record_fault("`make run` with a kernel that dies", caught.value)


def test_make_run_fails_when_a_notebook_does(tmp_path, monkeypatch, capsys):
    path = tmp_path / "99_broken.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1 / 0")]), path)
    monkeypatch.setattr(execute, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(execute, "BUILD", tmp_path / "build")
    assert execute.run([path]) == 1
    assert "FAILED 99_broken.ipynb, code cell 1" in capsys.readouterr().err


def test_an_interrupted_update_leaves_the_notebook_whole(tmp_path, monkeypatch):
    path = tmp_path / "n.ipynb"
    nbformat.write(new_notebook(), path)
    before = path.read_bytes()

    def half(notebook, file):
        Path(file).write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(nbformat, "write", half)
    with pytest.raises(OSError, match="disk full"):
        execute.write(new_notebook(), path)
    assert path.read_bytes() == before


def test_the_environment_of_the_suite_is_set():
    assert os.environ["LEARN_TRANSFORMERS_STATIC"] == "1"
    assert os.environ["TQDM_DISABLE"] == "1"
