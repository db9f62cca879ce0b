"""Chapter 07: how many answers are true, and what the others are."""

from __future__ import annotations

from collections.abc import Sequence

# Each kind of answer, the colour of its part, and that of the number in it.
KINDS = [
    ("true", "#00664b", "white"),
    ("adds", "#62c3a5", "black"),
    ("only the word", "#f3cf6b", "black"),
    ("recited", "#7b6bb5", "white"),
    ("wrong", "#d3d7dc", "black"),
]


def plot_verdicts(judged, ways: Sequence[str]) -> None:
    """Draw one bar per way of asking, divided by what its answers are.

    `judged` is a table with `way`, `verdict` (of the rule) and `reading` (of an answer
    that the rule calls right, where it was read). The parts come in the order of the
    legend, each with its number, so that colour is not the only signal.
    """
    import matplotlib.pyplot as plt

    found = judged["reading"].fillna(judged["verdict"])
    _, axes = plt.subplots(figsize=(6.5, 1.4 + 0.4 * len(ways)))
    starts = [0] * len(ways)
    for kind, colour, ink in KINDS:
        counts = [int(((judged["way"] == w) & (found == kind)).sum()) for w in ways]
        rows = range(len(ways))
        bars = axes.barh(
            rows, counts, left=starts, color=colour, edgecolor="white", label=kind
        )
        labels = [str(count) if count else "" for count in counts]
        style = {"label_type": "center", "fontweight": "bold", "color": ink}
        axes.bar_label(bars, labels, **style)
        starts = [start + count for start, count in zip(starts, counts, strict=True)]
    axes.set_yticks(range(len(ways)), ways)
    axes.invert_yaxis()
    axes.set(xlabel="answers", xlim=(0, max(starts)))
    axes.legend(
        ncols=len(KINDS),
        loc="lower right",
        bbox_to_anchor=(1, 1),
        columnspacing=1.2,
        handlelength=1.2,
        frameon=False,
    )
    plt.show()
