"""Chapter 07: how many answers are right, recited or wrong."""

from __future__ import annotations

from collections.abc import Sequence


def plot_verdicts(rows: Sequence[dict[str, str]], ways: Sequence[str]) -> None:
    """Draw one bar per way of asking, divided into right, recited and wrong answers.

    `rows` are the rows of experiments/facts.csv, with `way` and `verdict`. Each part
    has its number and a pattern of its own, so that colour is not the only signal.
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=(6.5, 1.2 + 0.4 * len(ways)))
    kinds = [("right", "C2", ""), ("recited", "C4", "//"), ("wrong", "C1", "..")]
    starts = [0] * len(ways)
    for kind, colour, hatch in kinds:
        counts = [
            sum(row["way"] == way and row["verdict"] == kind for row in rows)
            for way in ways
        ]
        bars = axes.barh(
            range(len(ways)),
            counts,
            left=starts,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            label=kind,
        )
        labels = [str(count) if count else "" for count in counts]
        axes.bar_label(bars, labels, label_type="center", fontweight="bold")
        starts = [start + count for start, count in zip(starts, counts, strict=True)]
    axes.set_yticks(range(len(ways)), ways)
    axes.invert_yaxis()
    axes.set(xlabel="answers", xlim=(0, max(starts)))
    axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    plt.show()
