"""Chapter 12: what the transfer experiment measured."""

from __future__ import annotations

MARKS = {"TF-IDF": "o", "frozen": "s", "fine-tuned": "^", "random weights": "v"}


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
            axes.errorbar(mean.index, mean, yerr=spread, label=method, **look)
    sizes = sorted(results.examples.unique())
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.set_xlabel("labelled requests")
        axes.grid(alpha=0.3)
    left.axhline(1 / 8, color="black", linestyle=":")
    left.annotate("chance", (sizes[0], 1 / 8), (0, 3), textcoords="offset points")
    left.set(ylabel="test accuracy", ylim=(0, 1))
    right.set_yscale("log")
    ticks = [0.01, 0.1, 1, 10, 100]
    right.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    right.set(ylabel="seconds of one core")
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=5)
    plt.show()
