"""A plugin for pytest: what the suite reports beside its verdict.

It counts the notebooks' cells, compared and excused, and writes build/faults.md, a
table of what tests broke on purpose and what a user would see.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

FAULTS: list[tuple[str, str, float]] = []
CELLS: list[bool] = []  # for each cell that is run, whether its output is compared


@pytest.fixture
def record_fault() -> Callable[[str, object], None]:
    """Note a fault for build/faults.md: `record_fault(what was broken, message)`."""
    start = time.monotonic()

    def note(broken: str, message: object) -> None:
        FAULTS.append(
            (broken, " ".join(str(message).split()), time.monotonic() - start)
        )

    return note


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count the cells of the notebooks that are run."""
    cells = [item for item in session.items if hasattr(item, "cell")]
    CELLS[:] = [item.options["check"] for item in cells]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand a worker's part of the report to the process that prints it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput |= {"faults": FAULTS, "cells": CELLS}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node) -> None:
    """Take a worker's part: its own faults, and the cells, which all collect."""
    said = getattr(node, "workeroutput", {})
    FAULTS.extend(tuple(row) for row in said.get("faults", []))
    CELLS[:] = said.get("cells", CELLS)


def pytest_terminal_summary(terminalreporter) -> None:
    """Say how many cells were compared and excused; write the table of faults."""
    terminalreporter.write_line(
        f"cells run: {len(CELLS)}, output compared: {sum(CELLS)}, "
        f"excused: {len(CELLS) - sum(CELLS)}; faults shown: {len(FAULTS)}"
    )
    if FAULTS:
        rows = ["| what was broken | what the user sees | s |", "|---|---|---|"]
        rows += [f"| {what} | {says[:300]} | {s:.1f} |" for what, says, s in FAULTS]
        build = terminalreporter.config.rootpath / "build"
        build.mkdir(exist_ok=True)
        (build / "faults.md").write_text("\n".join(rows) + "\n", "utf-8")
