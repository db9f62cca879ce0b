"""`python -m helpers` in notebooks/: make all bases and embedded models ready ahead.

Prints a line for each that was not ready yet, nothing where all were.
"""

from __future__ import annotations

import sys
import time

from .bases import base
from .catalogue import catalogue
from .errors import HelperError
from .models import embedded, size_of
from .store import MANIFEST


def main() -> int:
    """Make every base and embedded model ready; return 1 on an error."""
    jobs = [(name, base) for name in catalogue()["bases"]]
    jobs += [(name, embedded) for name in catalogue()["embedded"]]
    for name, ready in jobs:
        start = time.time()
        try:
            folder = ready(name)
        except HelperError as error:
            print(error, file=sys.stderr)
            return 1
        if (folder / MANIFEST).stat().st_mtime >= start:
            seconds = time.time() - start
            print(f"{name}: ready ({size_of(folder)}, {seconds:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
