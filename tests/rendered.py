"""A plugin for pytest: the book's pages, rendered from the committed notebooks."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from filelock import FileLock

from book import execute


def rendered(place: Path, paths: list[Path]) -> Path:
    """Render committed notebooks, with the outputs that they hold, as `make run` does;
    return the folder of their pages, `place`/book."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "BUILD", place)
        patch.setenv(execute.PAGES_VARIABLE, "1")  # which `run` sets for good

        def as_stored(paths, finished):
            for path in paths:
                finished(path, nbformat.read(path, as_version=4))
            return True

        patch.setattr(execute, "run_all", as_stored)
        assert execute.run(paths) == 0
    return place / "book"


@pytest.fixture(scope="session")
def book_pages(tmp_path_factory, worker_id) -> Path:
    """The folder of all pages, rendered once for all workers."""
    place = tmp_path_factory.getbasetemp()
    place = (place if worker_id == "master" else place.parent) / "rendered"
    with FileLock(f"{place}.lock"):
        if not (place / "book" / "index.html").exists():
            rendered(place, execute.notebooks())
    return place / "book"
