"""Run a notebook on an accelerator, past its failures, and say which cells failed.

Where torch finds an accelerator, the notebook runs on that; elsewhere the kernel gets
the pretended one.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from book.execute import CELL_SECONDS, NOTEBOOKS, QUIET, client_for

TESTS = Path(__file__).resolve().parent.parent
# The models belong on the accelerator, whatever the pages do of themselves.
KERNEL = QUIET | {"DEVICE": "auto"}


@dataclass(frozen=True)
class FailedCell:
    """A cell that raised: its id, the error's name, and the first line of it."""

    id: str
    error: str
    message: str

    def __str__(self) -> str:
        return f"{self.id}: {self.error}: {self.message}"

    @property
    def mixes_devices(self) -> bool:
        """Whether it failed of a device, not of an earlier cell's failure."""
        says = ("on the same device", "and weight type", "type tensor to numpy")
        says += ("should be either on cpu",)
        return any(words in self.message for words in says)


def environment(pretend: bool) -> dict[str, str]:
    """Return the environment of a kernel, with a pretended accelerator or without."""
    made = os.environ | KERNEL
    if pretend:
        guard = NOTEBOOKS / "helpers" / "offline"
        folders = [str(TESTS), str(TESTS / "offline"), str(guard)]
        folders += [made["PYTHONPATH"]] if made.get("PYTHONPATH") else []
        made["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(folders))
        made["PRETEND_ACCELERATOR"] = "1"
    return made


def said_right(cell: nbformat.NotebookNode) -> set[str]:
    """Return the exercises that a cell's output calls right: {"01.2: right."}."""
    text = "".join(output.get("text", "") for output in cell.outputs)
    return set(re.findall(r"^\d+\.\d+: right\.", text, re.MULTILINE))


def failed_cells(path: Path, pretend: bool) -> list[FailedCell]:
    """Run all cells of a notebook in its folder; return those that failed.

    A cell fails that raises an error, unless it is tagged `raises-exception` or
    `nbval-raises-exception`, or whose exercise is right in the stored output and not
    in this one: a checker makes one line of whatever an answer raises.
    Raises TimeoutError where a cell does not end in CELL_SECONDS, and RuntimeError
    where the kernel dies; both name the cell.
    """
    client = client_for(path, allow_errors=True)
    notebook = client.nb
    failed = []
    quiet = {"env": environment(pretend), "stderr": subprocess.DEVNULL}
    with client.setup_kernel(**quiet):
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            right = said_right(cell)
            try:
                client.execute_cell(cell, index)
            except CellTimeoutError as error:
                text = f"{path.name}, {cell.id}: no end after {CELL_SECONDS} s"
                raise TimeoutError(text) from error
            except DeadKernelError as error:
                raise RuntimeError(f"{path.name}, {cell.id}: a dead kernel") from error
            tags = cell.metadata.get("tags", [])
            if any(tag.endswith("raises-exception") for tag in tags):
                continue
            for output in cell.outputs:
                if output.output_type == "error":
                    line = (output.evalue.splitlines() or [""])[0]
                    failed.append(FailedCell(cell.id, output.ename, line))
                    break
            else:
                if right - said_right(cell):
                    line = "".join(output.get("text", "") for output in cell.outputs)
                    line = (line.splitlines() or [""])[-1]
                    failed.append(FailedCell(cell.id, "not right", line))
    return failed
