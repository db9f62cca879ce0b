"""Where things lie, for every test: import ROOT, NOTEBOOKS and PATHS from here."""

from __future__ import annotations

import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import nbformat
import pytest

from book import sync_generated
from helpers.catalogue import NOTEBOOKS

__all__ = [
    "NOTEBOOKS",
    "PATHS",
    "ROOT",
    "code_cells",
    "every_notebook",
    "needs_git",
    "tracked",
]

ROOT = NOTEBOOKS.parent
PATHS = sync_generated.notebooks()
every_notebook = pytest.mark.parametrize(
    "path", PATHS, ids=[path.relative_to(NOTEBOOKS).as_posix() for path in PATHS]
)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    """Return a notebook's code cells in their order."""
    notebook = nbformat.read(path, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def has_git() -> bool:
    """Return whether git can be asked: not on a machine without it, nor in a folder
    that came as a ZIP."""
    return (ROOT / ".git").exists() and shutil.which("git") is not None


needs_git = pytest.mark.skipif(not has_git(), reason="needs git and a clone")


def unignored(folder: Path = ROOT) -> list[Path]:
    """Return all files but those that .gitignore's names leave out."""
    names = (ROOT / ".gitignore").read_text("utf-8").split()
    names = [".git", *(name.rstrip("/") for name in names)]
    found = []
    for path in sorted(folder.iterdir()):
        if not any(fnmatch(path.name, name) for name in names):
            found += unignored(path) if path.is_dir() else [path]
    return found


def tracked() -> list[Path]:
    """Return the files that git tracks, or would: what somebody else gets.

    A notebook beside the series that nobody has added is a reader's own. Without git
    all files are taken that it would not ignore.
    """
    if not has_git():
        return [p for p in unignored() if p.suffix != ".ipynb" or p in PATHS]

    def listed(*options: str) -> list[Path]:
        command = ["git", "ls-files", *options]
        out = subprocess.check_output(command, cwd=ROOT, text=True)
        return [path for path in map(ROOT.joinpath, out.splitlines()) if path.is_file()]

    new = listed("--others", "--exclude-standard")
    return listed() + [p for p in new if p.suffix != ".ipynb" or p in PATHS]
