"""Chapter 09: how three searches grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def plot_growth(table: pd.DataFrame) -> None:
    """Draw time and recall over the number of vectors, a line per search.

    `table` is that of experiments/index_benchmark.py: columns vectors, search, ms and
    recall. Used in notebook 09.
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
    marks = {"exact": "o-", "IVF": "s--", "HNSW": "^:"}
    for name, part in table.groupby("search", sort=False):
        axes[0].plot(part["vectors"], part["ms"], marks[name], label=name)
        axes[1].plot(part["vectors"], part["recall"], marks[name], label=name)
    sizes = [1_000, 10_000, 100_000]
    for axis in axes:
        axis.set_xscale("log")
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.set_xlabel("vectors")
        axis.minorticks_off()
    axes[0].set_yscale("log")
    axes[0].set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    axes[0].minorticks_off()
    axes[0].set_title("milliseconds per question", fontsize=10)
    axes[1].set_ylim(0, 1.05)
    axes[1].set_title("recall of the ten nearest", fontsize=10)
    axes[0].legend()
    plt.show()
