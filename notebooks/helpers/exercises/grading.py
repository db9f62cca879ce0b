"""`python -m helpers grade NOTEBOOK [--json]`: which exercises are answered rightly.

The notebook is executed from its first cell to its last in a kernel of its own that
has no network (offline/network_guard.py); a cell that stops does not stop the rest.
A verdict counts when `check` gave it, so a cell that merely prints "right" gains
nothing. The notebook's code runs with the rights of whoever grades it: grade the work
of strangers in a container.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from helpers import exercises
from helpers.errors import HelperError

NOTEBOOKS = Path(__file__).resolve().parents[2]
SECONDS = 600  # that a cell may take
WORDS = {"right": "right", "wrong": "not yet", "missing": "not answered"}


def numbers_of(notebook) -> list[str]:
    """Return the exercises that belong to a notebook: all those of the chapters whose
    numbers its cells give to `check`."""
    cells = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
    asked = re.findall(r"""\bcheck\(\s*["'](\d\d)\.\d+["']""", cells)
    for chapter in sorted(set(asked)):
        if (exercises.HERE / f"chapter_{chapter}.py").exists():
            importlib.import_module(f"helpers.exercises.chapter_{chapter}")
    return sorted(n for n in exercises.EXERCISES if n.split(".")[0] in asked)


def grade(path: Path) -> dict:
    """Execute a notebook and return its verdicts.

    The result has `notebook`, `right` and `of` (counts), `exercises` (dictionaries of
    `exercise`, `verdict` and what `check` said) and `errors`, a line per cell that
    stopped. Raises HelperError for a file that is no notebook or has no exercise.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import DeadKernelError

    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
        raise HelperError(f"{path} cannot be read as a notebook: {error}") from error
    numbers = numbers_of(notebook)
    if not numbers:
        raise HelperError(
            f"{path.name} has no exercise: expected a chapter of the series with "
            'answers in it, whose cells call check("01.1", …) and so on.'
        )
    with tempfile.TemporaryDirectory() as folder:
        verdicts = Path(folder) / "verdicts.jsonl"
        guard = Path(__file__).parents[1] / "offline"
        paths = [str(guard), str(NOTEBOOKS), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            exercises.GRADES_VARIABLE: str(verdicts),
            "LEARN_TRANSFORMERS_STATIC": "1",
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        guarded = nbformat.v4.new_code_cell("import network_guard")
        notebook.cells.insert(0, guarded)
        client = NotebookClient(
            notebook,
            timeout=SECONDS,
            kernel_name="python3",
            allow_errors=True,
            resources={"metadata": {"path": str(NOTEBOOKS)}},
        )
        died = []
        try:
            # The kernel's own notices are no verdicts.
            client.execute(env=environment, stderr=subprocess.DEVNULL)
        except DeadKernelError:
            died = ["the kernel died, perhaps of memory; the rest was not run"]
        lines = verdicts.read_text("utf-8").splitlines() if verdicts.exists() else []
    last = {row["exercise"]: row for row in map(json.loads, lines)}
    missing = {"verdict": "missing", "said": "its check was not run."}
    rows = [
        {"exercise": number, **missing} | last.get(number, {}) for number in numbers
    ]
    errors = [
        f"{output.ename}: {(output.evalue.splitlines() or [''])[0]}"
        for cell in notebook.cells
        if "raises-exception" not in cell.metadata.get("tags", [])
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]
    return {
        "notebook": path.name,
        "right": sum(row["verdict"] == "right" for row in rows),
        "of": len(rows),
        "exercises": rows,
        "errors": errors + died,
    }


def main(arguments: list[str]) -> int:
    """Grade a notebook named on the command line; return 2 where it cannot be."""
    parser = argparse.ArgumentParser(prog="python -m helpers grade")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--json", action="store_true", help="for a program to read")
    asked = parser.parse_args(arguments)
    try:
        found = grade(asked.notebook)
    except HelperError as error:
        print(error, file=sys.stderr)
        return 2
    if asked.json:
        print(json.dumps(found, indent=1))
        return 0
    for row in found["exercises"]:
        note = "" if row["verdict"] == "right" else f"  ({row['said']})"
        print(f"{row['exercise']}  {WORDS[row['verdict']]}{note}")
    for error in found["errors"]:
        print(f"a cell stopped: {error}")
    print(f"{found['right']} of {found['of']} right")
    return 0
