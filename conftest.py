"""Settings of the suite, and three hooks that close nbval's gaps.

nbval lets an unknown magic or a failing shell command pass, waits out the whole
cell timeout when a kernel dies, and runs on after a failure. Here a cell fails on
each of these, and the rest of its notebook is skipped after the first failure.
"""

import os
import time
from pathlib import Path
from queue import Empty

import pytest
from nbval import plugin
from nbval.kernel import RunningKernel

ROOT = Path(__file__).parent


def pytest_configure(config):
    """Set the environment of the kernels and of the tests, before any import."""
    from book.execute import QUIET

    os.environ.update(QUIET)
    os.environ["MODELS"] = os.environ.get("MODELS", "embedded")
    if getattr(config, "workerinput", {}).get("workercount", 1) > 1:
        # Two that each take all cores wait for one another most of the time.
        os.environ["OMP_NUM_THREADS"] = "1"
    # Python imports tests/offline/sitecustomize.py in every kernel: no network.
    offline = str(ROOT / "tests" / "offline")
    paths = [offline, os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)


# --- `make test` runs two files at a time ----------------------------------------


def pytest_collection_modifyitems(config, items):
    """Start with the longest: chapters in hub mode, then the notebooks.

    A file stays whole on one worker, so that cells follow their predecessors.
    """
    if hasattr(config, "workerinput"):
        long = ("test_hub_notebooks.py", ".ipynb")
        items.sort(key=lambda item: [name not in item.nodeid for name in long])


# --- what the suite reports beside its verdict ----------------------------------

FAULTS: list[tuple[str, str, float]] = []
CELLS: list[bool] = []  # for each cell that is run, whether its output is compared


@pytest.fixture
def seen():
    """Note a fault for the table build/faults.md: `seen(what was broken, message)`."""
    start = time.monotonic()

    def note(broken, message):
        FAULTS.append(
            (broken, " ".join(str(message).split()), time.monotonic() - start)
        )

    return note


def pytest_collection_finish(session):
    cells = [item for item in session.items if hasattr(item, "cell")]
    CELLS[:] = [item.options["check"] for item in cells]


def pytest_sessionfinish(session):
    """Hand a worker's part of the report to the process that prints it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput |= {"faults": FAULTS, "cells": CELLS}


def pytest_testnodedown(node):
    """Take a worker's part: its own faults, and the cells, which all collect."""
    said = getattr(node, "workeroutput", {})
    FAULTS.extend(tuple(row) for row in said.get("faults", []))
    CELLS[:] = said.get("cells", CELLS)


def pytest_terminal_summary(terminalreporter):
    """Say how many cells were compared and excused; write the table of faults."""
    terminalreporter.write_line(
        f"cells run: {len(CELLS)}, output compared: {sum(CELLS)}, "
        f"excused: {len(CELLS) - sum(CELLS)}; faults shown: {len(FAULTS)}"
    )
    if FAULTS:
        rows = ["| what was broken | what the user sees | s |", "|---|---|---|"]
        rows += [f"| {what} | {says[:300]} | {s:.1f} |" for what, says, s in FAULTS]
        (ROOT / "build").mkdir(exist_ok=True)
        (ROOT / "build" / "faults.md").write_text("\n".join(rows) + "\n", "utf-8")


# --- hook 1: what the kernel replied, not only what it printed -----------------

ASK = "get_ipython().user_ns.pop('_exit_code', 0)"


def execute_cell_input(self, cell_input, allow_stdin=None):
    """As nbval's, and ask for the exit code of the cell's last shell command."""
    return self.kc.execute(
        cell_input,
        store_history=False,
        allow_stdin=allow_stdin,
        stop_on_error=False,
        user_expressions={"exit_code": ASK},
    )


# --- hook 2: a dead kernel is noticed at once ----------------------------------


def await_reply(self, msg_id, timeout=None):
    """As nbval's, but keep the reply, and look every second if the kernel lives."""
    self.reply = None
    end = time.monotonic() + timeout if timeout else None
    while True:
        try:
            message = self.get_message(stream="shell", timeout=1)
        except Empty:
            if not self.is_alive():
                raise RuntimeError("the kernel died") from None
            if end and time.monotonic() > end:
                raise
            continue
        if message["parent_header"].get("msg_id") == msg_id:
            self.reply = message["content"]
            return


# --- hook 3: after a failure, the rest of the notebook is not run --------------


def runtest(self):
    """As nbval's, and fail on what the kernel replied; then skip what follows."""
    if self.parent.stash.get(FAILED, False):
        pytest.skip("an earlier cell of this notebook failed")
    try:
        nbval_runtest(self)
        check_reply(self)
    except (Exception, SystemExit):
        self.parent.stash[FAILED] = True
        raise


def check_reply(self):
    """Fail where a magic was unknown or a shell command of the cell failed."""
    reply = self.parent.kernel.reply or {}
    if reply.get("status") == "error" and not self.options["check_exception"]:
        self.raise_cell_error(f"{reply.get('ename')}: {reply.get('evalue')}")
    asked = reply.get("user_expressions", {}).get("exit_code", {})
    code = asked.get("data", {}).get("text/plain", "0")
    if code != "0":
        self.raise_cell_error(f"a shell command ended with exit code {code}")


FAILED = pytest.StashKey[bool]()
RunningKernel.execute_cell_input = execute_cell_input
RunningKernel.await_reply = await_reply
nbval_runtest, plugin.IPyNbCell.runtest = plugin.IPyNbCell.runtest, runtest
