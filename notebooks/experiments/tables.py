"""The tables that experiments write: CSV files with a header, in UTF-8."""

from __future__ import annotations

import csv
from pathlib import Path


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table, all values as texts; none where there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_table(path: Path, rows: list[dict]) -> None:
    """Write a table anew, whole or not at all; its columns are the first row's."""
    aside = path.with_suffix(".part")
    with aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    aside.replace(path)


def append_to_table(path: Path, rows: list[dict]) -> None:
    """Add rows to a table, so that a run that is interrupted keeps what it has."""
    write_table(path, [*read_table(path), *rows])
