"""Proves that the suite fails when it should: each test breaks something on purpose.

Small notebooks are written into build/, run under the suite's own conftest, all of them
in one go and two at a time, and each failure is looked for.
"""

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import hygiene
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from places import ROOT

from book import execute, sync_generated
from helpers.offline import network_guard

FOLDER = ROOT / "build" / "broken"
TIMEOUT = 100  # seconds for a cell
# A shell command's output would differ anyway, so it is not compared: the exit code is.
PLAIN = "# NBVAL_IGNORE_OUTPUT\n"
# For each notebook its cells: source, and the output that is stored.
NOTEBOOKS = {
    "right": [
        ("print(1)", "1\n"),
        ("!true", None),
        ("print(0.1234567)", "0.1234999\n"),  # the fifth digit differs
    ],
    "together": [("x = 1", None), ("x += 1", None), ("x += 1; print(x)", "3\n")],
    "changed": [("print('new')", "old\n")],
    "third_digit": [("print(0.1234567)", "0.1244567\n")],
    "magic": [("%no_such_magic", None)],
    "shell": [(f"{PLAIN}!exit 3", None)],
    "install": [(f"{PLAIN}%pip install ./no-such-folder", None)],
    "killed": [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", None),
        ("print(1)", "1\n"),
    ],
    "after": [("1 / 0", None), ("print(1)", "1\n")],
    "network": [
        ("from urllib.request import urlopen; urlopen('http://example.org')", None)
    ],
}


class Cell(NamedTuple):
    """How a cell fared: passed, failure or skipped; what was said; its seconds."""

    verdict: str
    said: str
    seconds: float


@pytest.fixture(scope="module")
def fared():
    """Run all the notebooks under the suite; return their cells and what was printed.

    The cells are {notebook: [Cell, ...]}; the key None holds what pytest printed.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for name, cells in NOTEBOOKS.items():
        notebook = new_notebook()
        for count, (source, stored) in enumerate(cells, start=1):
            cell = new_code_cell(source, execution_count=count)
            if stored is not None:
                cell.outputs = [new_output("stream", name="stdout", text=stored)]
            notebook.cells.append(cell)
        nbformat.write(notebook, FOLDER / f"{name}.ipynb")
    report = FOLDER / "report.xml"
    command = [sys.executable, "-m", "pytest", *sorted(FOLDER.glob("*.ipynb"))]
    done = subprocess.run(
        [
            *[*command, "--color=no", "-p", "no:cacheprovider"],
            *[f"--nbval-cell-timeout={TIMEOUT}", f"--junit-xml={report}"],
            *["-n", "2", "--dist", "loadscope", "--no-loadscope-reorder"],
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found = defaultdict(list)
    for case in ElementTree.parse(report).iter("testcase"):
        name = next(n for n in NOTEBOOKS if n in case.get("classname").split("."))
        verdict, said = "passed", ""
        for child in case:
            verdict = child.tag
            said += f"{child.get('message')}\n{child.text}"
        found[name].append(Cell(verdict, said, float(case.get("time"))))
    return {**found, None: done.stdout}


def verdicts(cells):
    return [cell.verdict for cell in cells]


def test_a_right_notebook_passes(fared):
    assert verdicts(fared["right"]) == ["passed", "passed", "passed"]


def test_the_cells_of_a_notebook_stay_on_one_worker(fared):
    assert verdicts(fared["together"]) == ["passed", "passed", "passed"]


def test_cells_are_counted(fared):
    assert set(fared) == {*NOTEBOOKS, None}
    assert "cells run: 16, output compared: 14, excused: 2" in fared[None]


def test_a_changed_output_fails(fared, record_fault):
    (cell,) = fared["changed"]
    assert cell.verdict == "failure"
    assert "Cell outputs differ" in cell.said
    record_fault("a stored output that the cell does not print", "Cell outputs differ")


def test_a_changed_third_digit_fails_a_changed_fifth_does_not(fared):
    assert verdicts(fared["third_digit"]) == ["failure"]
    assert fared["right"][-1].verdict == "passed"


def test_an_unknown_magic_fails(fared, record_fault):
    (cell,) = fared["magic"]
    assert cell.verdict == "failure"
    assert "no_such_magic" in cell.said
    said = "UsageError: Line magic function `%no_such_magic` …"
    record_fault("an unknown magic", said)


@pytest.mark.parametrize("name", ["shell", "install"])
def test_a_failing_shell_command_fails(fared, record_fault, name):
    (cell,) = fared[name]
    assert cell.verdict == "failure"
    said = "a shell command ended with exit code"
    assert said in cell.said
    record_fault(f"a cell with {NOTEBOOKS[name][0][0].removeprefix(PLAIN)}", said)


def test_a_killed_kernel_is_noticed_at_once(fared, record_fault):
    first, second = fared["killed"]
    assert first.verdict == "failure"
    assert "the kernel died" in first.said
    assert first.seconds < TIMEOUT / 2
    assert second.verdict == "skipped"
    record_fault("a kernel that is killed", "the kernel died; the rest is skipped")


def test_after_a_failure_the_rest_is_skipped(fared):
    assert verdicts(fared["after"]) == ["failure", "skipped"]
    assert "an earlier cell of this notebook failed" in fared["after"][1].said


def test_a_call_to_the_network_fails(fared, record_fault):
    (cell,) = fared["network"]
    assert cell.verdict == "failure"
    assert "there is no network here" in cell.said
    record_fault("a cell that calls the network", "there is no network here")


def test_a_network_address_is_refused_too():
    with pytest.raises(OSError, match="no network"):
        network_guard.refuse("192.0.2.1")
    assert not network_guard.is_local("192.0.2.1")
    assert network_guard.is_local("127.0.0.1")


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
        hygiene.check_saved_after_a_clean_run(path)
    record_fault(
        "a notebook saved with widget state", "AssertionError in the hygiene tests"
    )


def test_a_stored_widget_fails_and_is_not_written(copy, record_fault):
    path, notebook, save = copy
    cell = next(c for c in notebook.cells if c.cell_type == "code")
    view = {hygiene.WIDGET: {"model_id": "1"}, "text/plain": "Text()"}
    cell.outputs = [new_output("display_data", data=view)]
    save()
    with pytest.raises(AssertionError, match="holds a widget"):
        hygiene.check_saved_after_a_clean_run(path)
    with pytest.raises(execute.Failure, match="left a widget") as caught:
        execute.clean(notebook)
    record_fault("`make update` on a cell that leaves a widget", caught.value)


def test_a_badge_that_points_elsewhere_fails(copy, record_fault):
    path, notebook, save = copy
    notebook.cells[0].source = notebook.cells[0].source.replace("/blob/", "/tree/")
    save()
    with pytest.raises(AssertionError):
        hygiene.check_badge(path, path.parent)
    record_fault("a badge that points elsewhere", "AssertionError in the hygiene tests")


def test_an_excused_cell_without_assert_fails(copy):
    path, notebook, save = copy
    for cell in notebook.cells:
        if "nbval-ignore-output" in hygiene.tags(cell):
            cell.source = "print(1)"
    save()
    with pytest.raises(AssertionError):
        hygiene.check_excused_cells_assert(path)


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
    assert "PYTHONDONTWRITEBYTECODE" not in os.environ
    assert not sys.dont_write_bytecode, "kernels would compile what they import"
