"""A plugin for pytest: three hooks that close nbval's gaps.

nbval lets an unknown magic or a failing shell command pass, waits out the whole
cell timeout when a kernel dies, and runs on after a failure. Here a cell fails on
each of these, and the rest of its notebook is skipped after the first failure.
nbval has no hooks of its own for this, so three of its methods are replaced when the
plugin is loaded; `test_suite.py` proves each.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from queue import Empty

import pytest
from nbval import plugin
from nbval.kernel import RunningKernel

from book.execute import NEEDS_RAY

# Asked of IPython after each cell: the exit code of the cell's last shell command.
ASK = "get_ipython().user_ns.pop('_exit_code', 0)"
FAILED = pytest.StashKey[bool]()
nbval_runtest = plugin.IPyNbCell.runtest


def execute_cell_input(
    self: RunningKernel, cell_input: str, allow_stdin: bool | None = None
) -> str:
    """Send a cell to the kernel as nbval does, and ask for a shell's exit code.

    Returns the id of the message that was sent.
    """
    return self.kc.execute(
        cell_input,
        store_history=False,
        allow_stdin=allow_stdin,
        stop_on_error=False,
        user_expressions={"exit_code": ASK},
    )


def await_reply(self: RunningKernel, msg_id: str, timeout: float | None = None) -> None:
    """Wait for the reply as nbval does, but keep it, and notice a dead kernel.

    The kernel is looked at every second. Raises RuntimeError where it died, and
    `queue.Empty` after `timeout` seconds, as nbval's own does.
    """
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


def run_cell(cell: plugin.IPyNbCell) -> None:
    """Run a cell as nbval does, and fail on what the kernel replied besides.

    Raises nbval's NbCellError where an output differs, the cell raised an error, a
    magic was unknown, or a shell command of the cell failed. Skips a cell tagged
    `needs-ray` where Ray has no package for this Python.
    """
    if NEEDS_RAY in cell.cell.metadata.get("tags", []) and not find_spec("ray"):
        pytest.skip("Ray has no package for this Python")
    nbval_runtest(cell)
    reply = cell.parent.kernel.reply or {}
    if reply.get("status") == "error" and not cell.options["check_exception"]:
        cell.raise_cell_error(f"{reply.get('ename')}: {reply.get('evalue')}")
    asked = reply.get("user_expressions", {}).get("exit_code", {})
    code = asked.get("data", {}).get("text/plain", "0")
    if code != "0":
        cell.raise_cell_error(f"a shell command ended with exit code {code}")


def runtest(self: plugin.IPyNbCell) -> None:
    """Run a cell of a notebook, or skip it where an earlier one has failed."""
    if self.parent.stash.get(FAILED, False):
        pytest.skip("an earlier cell of this notebook failed")
    try:
        run_cell(self)
    except (Exception, SystemExit):
        self.parent.stash[FAILED] = True
        raise


RunningKernel.execute_cell_input = execute_cell_input
RunningKernel.await_reply = await_reply
plugin.IPyNbCell.runtest = runtest
