"""Chapter 12: a confusion matrix, and what the transfer experiment measured."""

from __future__ import annotations

from collections.abc import Sequence

from .common import plot_matrix

MARKS = {"TF-IDF": "o", "frozen": "s", "fine-tuned": "^", "random weights": "v"}


def plot_confusion(truth, answers, labels: Sequence[str]) -> None:
    """Draw how many texts of each label (rows) got each answer (columns).

    `truth` and `answers` are tensors of the numbers of labels, one number per text.
    The accuracy is the title.
    """
    size = len(labels)
    counts = (truth * size + answers).bincount(minlength=size**2).view(size, size)
    names = {"xlabel": "what the model says", "ylabel": "label"}
    names["title"] = f"accuracy {(truth == answers).float().mean():.3f}"
    plot_matrix(counts, labels, labels, "requests", "%.0f", **names)


def plot_transfer(results) -> None:
    """Draw accuracy and seconds against the number of labelled examples.

    `results` is a data frame with the columns method, examples, seed, accuracy (a
    share) and cpu_seconds. A point is the mean over the seeds, its bar goes from the
    lowest to the highest of them.
    """
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.6))
    for place, (method, mark) in enumerate(MARKS.items()):
        runs = results[results.method == method].groupby("examples")
        for axes, column in ((left, "accuracy"), (right, "cpu_seconds")):
            low, mean, high = (runs[column].agg(how) for how in ("min", "mean", "max"))
            spread = [(mean - low).clip(0), (high - mean).clip(0)]
            look = {"marker": mark, "capsize": 3, "color": f"C{place}"}
            beside = mean.index * 1.07 ** (place - 1.5)  # so that no bar hides another
            axes.errorbar(beside, mean, yerr=spread, label=method, **look)
    sizes = sorted(results.examples.unique())
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.set_xlabel("labelled requests")
        axes.grid(alpha=0.3)
    left.axhline(1 / 8, color="black", linestyle=":")
    at = {"textcoords": "offset points", "ha": "right"}
    left.annotate("chance", (sizes[-1], 1 / 8), (0, 3), **at)
    left.set(ylabel="test accuracy", ylim=(0, 1))
    right.set_yscale("log")
    ticks = [0.01, 0.1, 1, 10, 100]
    right.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    right.set(ylabel="seconds of one core")
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=5)
    plt.show()
