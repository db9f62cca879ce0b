"""Chapter 09: where two bounds lie among cosines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

KINDS = {"answer": "a record answers", "trap": "trap", "none": "other matters"}


def plot_bounds(table: pd.DataFrame, near: float, quote: float) -> None:
    """Draw a mark per question at the cosine of its nearest sentence, and two bounds.

    `table` is one of experiments/museum/measure.py: columns kind, cosine and holds.
    A mark is filled where the sentence holds the answer. Used in notebook 09.
    """
    import matplotlib.pyplot as plt

    _, axis = plt.subplots(figsize=(7, 2.2), layout="constrained")
    for place, kind in enumerate(KINDS):
        for holds, face in ((1, "C0"), (0, "none")):
            part = table[(table["kind"] == kind) & (table["holds"] == holds)]
            shown = {"edgecolors": "C0", "facecolors": face, "s": 50}
            label = "holds the answer" if holds else "does not"
            axis.scatter(
                part["cosine"],
                [place + (0.18, 0, -0.18)[mark % 3] for mark in range(len(part))],
                label=None if place else label,
                **shown,
            )
    for bound, words in ((near, "nothing tried"), (quote, "not quoted")):
        axis.axvline(bound, color="C1", linestyle="--")
        axis.text(bound - 0.01, -0.62, words, ha="right", va="center", fontsize=9)
    axis.set_yticks(range(len(KINDS)), list(KINDS.values()))
    axis.set_ylim(2.5, -0.95)
    axis.set_xlim(0, 1)
    axis.set_xlabel("cosine of the nearest sentence")
    axis.legend(loc="lower right", fontsize=9)
    plt.show()
