"""`python -m helpers [NAME ...]` in notebooks/: make models ready ahead, and
`python -m helpers grade NOTEBOOK [--json]`: grade what a reader answered.

Without names all bases and embedded models, in two processes, since most of the work
keeps one core busy. Prints a line for each that was not ready yet, nothing where all
were.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from .bases import base
from .catalogue import catalogue
from .errors import HelperError
from .models import embedded, size_of
from .store import MANIFEST


def make_ready(names: list[str]) -> int:
    """Make bases and embedded models ready, in turn; return 1 on an error."""
    for name in names:
        start = time.time()
        try:
            ready = embedded if name in catalogue()["embedded"] else base
            folder = ready(name)
        except HelperError as error:
            print(error, file=sys.stderr)
            return 1
        if (folder / MANIFEST).stat().st_mtime >= start:
            seconds = time.time() - start
            print(f"{name}: ready ({size_of(folder)}, {seconds:.0f} s)", flush=True)
    return 0


def shares() -> list[list[str]]:
    """Return all names in two lists that take about as long: the largest base with
    what is made of it, and the rest."""
    bases, models = catalogue()["bases"], catalogue()["embedded"]
    largest = max(bases, key=lambda name: bases[name]["mb"])
    names = [*bases, *(name for name in models if name not in bases)]
    long = [n for n in names if largest in (n, models.get(n, {}).get("base"))]
    return [long, [name for name in names if name not in long]]


def main() -> int:
    """Do what the command line asks for; return 1 on an error, 130 on Ctrl-C."""
    if sys.argv[1:2] == ["grade"]:
        from .exercises.grading import main as grade

        return grade(sys.argv[2:])
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # bars are for somebody who watches
    running = []
    try:
        if len(sys.argv) > 1:
            return make_ready(sys.argv[1:])
        command = [sys.executable, "-m", "helpers"]
        running = [subprocess.Popen([*command, *names]) for names in shares()]
        while None in (ended := [process.poll() for process in running]):
            if any(ended):
                break
            time.sleep(0.02)
        return max(status or 0 for status in ended)
    except KeyboardInterrupt:
        return 130
    finally:
        for process in running:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
