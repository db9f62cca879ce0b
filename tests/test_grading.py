"""Proves that `python -m helpers grade` tells right from wrong, missing and pretended,
runs every cell although one stops, and keeps the network off."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from helpers.errors import HelperError
from helpers.exercises import grading

pytestmark = pytest.mark.model  # starts kernels

START = "from helpers import check"
SOFTMAX = """
import math

def softmax(values):
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]

check("01.2", softmax)
"""


@pytest.fixture
def graded(tmp_path, capsys):
    """Grade a notebook of some cells; return the result that --json prints."""

    def grade(*cells):
        path = tmp_path / "answers.ipynb"
        notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
        nbformat.write(notebook, path)
        assert grading.main([str(path), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return grade


def verdicts(found):
    return {row["exercise"]: row["verdict"] for row in found["exercises"]}


def test_right_wrong_missing_and_pretended_are_told_apart(graded):
    """The last verdict counts, a printed one does not, and there is no network."""
    found = graded(
        START,
        'check("01.1", 3, [], None)',
        "1 / 0",
        'check("01.2", lambda values: values)',
        'print("01.3: right.")',
        'check("01.4", ..., None)',
        "from urllib.request import urlopen; urlopen('http://example.org')",
        SOFTMAX,
    )
    assert verdicts(found) == {
        "01.1": "wrong",
        "01.2": "right",
        "01.3": "missing",
        "01.4": "missing",
    }
    assert (found["right"], found["of"]) == (1, 4)
    stopped, refused = found["errors"]
    assert stopped == "ZeroDivisionError: division by zero"
    assert "no network" in refused


def test_a_dead_kernel_is_said(graded):
    found = graded(START, SOFTMAX, "import os; os._exit(1)", 'check("01.1", 1)')
    assert verdicts(found)["01.2"] == "right"
    assert "the kernel died" in found["errors"][0]


def test_what_cannot_be_graded_is_said(tmp_path, capsys):
    path = tmp_path / "x.ipynb"
    assert grading.main([str(path)]) == 2
    assert "cannot be read as a notebook" in capsys.readouterr().err
    nbformat.write(new_notebook(), path)
    with pytest.raises(HelperError, match="has no exercise"):
        grading.grade(path)
