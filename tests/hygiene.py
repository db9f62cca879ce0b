"""Checks of one notebook, for the committed ones and for those broken on purpose."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from places import code_cells

from book import sync_generated

WIDGET = "application/vnd.jupyter.widget-view+json"


def tags(cell: nbformat.NotebookNode) -> list[str]:
    """Return a cell's tags."""
    return cell.metadata.get("tags", [])


def check_saved_after_a_clean_run(path: Path) -> None:
    """Assert that a notebook holds what a whole run leaves, and nothing of a front end.

    Raises AssertionError, as the other checks do.
    """
    notebook = nbformat.read(path, as_version=4)
    cells = code_cells(path)
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    assert "widgets" not in notebook.metadata
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert len({c.id for c in notebook.cells}) == len(notebook.cells)
    for cell in cells:
        assert "execution" not in cell.metadata
        for output in cell.outputs:
            assert WIDGET not in output.get("data", {}), f"{cell.id} holds a widget"
            assert output.get("name") != "stderr", f"{cell.id} wrote to stderr"
            assert output.output_type != "error" or "raises-exception" in tags(cell)
    assert path.stat().st_size < 400_000


def check_excused_cells_assert(path: Path) -> None:
    """Assert that a cell whose output is not compared asserts something itself."""
    for cell in code_cells(path):
        if {"nbval-ignore-output", "nbval-skip"} & set(tags(cell)):
            assert re.search(r"^\s*assert ", cell.source, re.MULTILINE), cell.id


def check_badge(path: Path, root: Path) -> None:
    """Assert that a notebook's badge and bootstrap cell open this repository."""
    where = sync_generated.settings()
    place = where["repository"].removeprefix("https://github.com/")
    first = nbformat.read(path, as_version=4).cells[0].source
    name = path.relative_to(root).as_posix()
    colab = "https://colab.research.google.com/github"
    assert f"({colab}/{place}/blob/{where['branch']}/{name})" in first
    bootstrap = code_cells(path)[0].source
    assert f'REPOSITORY = "{where["repository"]}"' in bootstrap
