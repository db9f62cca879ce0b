"""Photographs to measure on, and others to choose by.

`test/` is looked at by scores alone: its labels were written down before a model saw
it, and nothing was chosen by it. `development/` and the photographs of the pages,
`data/photographs/`, were there to choose by. In each folder `labels.csv` has a row per
photograph: what it shows, which of ImageNet's 1,000 names are right for it (none,
where ImageNet has no word for the thing), and which of the twelve everyday labels is
(none, where two would be, or none is).
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from helpers.catalogue import NOTEBOOKS

HERE = Path(__file__).resolve().parent
PARTS = {
    "pages": NOTEBOOKS / "data" / "photographs",
    "development": HERE / "development",
    "test": HERE / "test",
}
LABELS = [
    "cat",
    "dog",
    "bird",
    "fish",
    "farm animal",
    "wild animal",
    "food",
    "tool",
    "dishes",
    "musical instrument",
    "building",
    "mountain landscape",
]


class Photograph(NamedTuple):
    """A photograph, what it shows, the right names of ImageNet, the right label."""

    path: Path
    shows: str
    classes: list[str]
    label: str


def photographs(part: str) -> list[Photograph]:
    """Return the photographs of a part: "pages", "development" or "test"."""
    folder = PARTS[part]
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return [
            Photograph(
                folder / row["file"],
                row["shows"],
                [name for name in row["classes"].split(";") if name],
                row["label"],
            )
            for row in csv.DictReader(file)
        ]
