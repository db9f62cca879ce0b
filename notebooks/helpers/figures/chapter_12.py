"""Chapter 12: a confusion matrix, and what the transfer experiment measured."""

from __future__ import annotations

from collections.abc import Sequence

from .common import plot_matrix

LOOKS = {  # of each method: a marker and a line
    "TF-IDF": ("o", ":"),
    "random weights": ("v", "-."),
    "frozen": ("s", "--"),
    "LoRA": ("D", "-"),
    "fine-tuned": ("^", "-"),
}


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
    lowest to the highest of them. The points of one size stand side by side in a band.
    """
    import matplotlib.pyplot as plt

    shape = {"sharex": True, "height_ratios": [3, 2], "layout": "constrained"}
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(7.5, 6.4), **shape)
    sizes = sorted(results.examples.unique())
    for place, (method, (mark, line)) in enumerate(LOOKS.items()):
        runs = results[results.method == method].groupby("examples")
        at = [band + 0.15 * (place - 2) for band in range(len(sizes))]
        for axes, column in ((upper, "accuracy"), (lower, "cpu_seconds")):
            low, mean, high = (runs[column].agg(how) for how in ("min", "mean", "max"))
            spread = [(mean - low).clip(0), (high - mean).clip(0)]
            look = {"color": f"C{place}", "marker": mark, "markersize": 7}
            axes.plot(at, mean, linestyle=line, linewidth=0.9, alpha=0.6, **look)
            axes.errorbar(at, mean, spread, capsize=3, ls="", label=method, **look)
    for axes in (upper, lower):
        axes.grid(axis="y", alpha=0.3)
        for band in range(0, len(sizes), 2):
            axes.axvspan(band - 0.5, band + 0.5, color="grey", alpha=0.12, lw=0)
    lower.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
    lower.set(xlabel="labelled requests", xlim=(-0.5, len(sizes) - 0.5))
    upper.axhline(1 / 8, color="black", linestyle=":")
    upper.annotate("chance", (len(sizes) - 0.52, 1 / 8 + 0.01), ha="right")
    upper.set(ylabel="test accuracy", ylim=(0, 1))
    lower.set_yscale("log")
    ticks = [0.01, 0.1, 1, 10, 100]
    lower.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    lower.set(ylabel="seconds of one core")
    handles, names = upper.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=5)
    plt.show()


def table_of_ways(results, ways: Sequence[str], examples: int):
    """Return a data frame with a row per way: accuracy per number of labelled
    examples, as mean (lowest–highest) of the draws, and what the way costs.

    The costs: weights that are trained; megabytes to store per task, four bytes per
    weight; and seconds of one core for `examples` labelled examples, the mean.
    """
    runs = results.groupby(["method", "examples"]).accuracy
    parts = runs.agg(["mean", "min", "max"]).map("{:.2f}".format)
    scores = parts["mean"] + " (" + parts["min"] + "–" + parts["max"] + ")"
    table = scores.unstack().loc[list(ways)]
    costs = results[results.examples == examples].groupby("method")
    table["trained"] = costs.trained.max()
    table["MB"] = (table["trained"] * 4 / 1e6).round(2)
    table["seconds"] = costs.cpu_seconds.mean().round(1)
    return table


def pixels_of(files: Sequence[str], size: int):
    """Return the pixels of pictures shrunk to size by size, a row of shares of 255
    per picture: a tensor (pictures, 3 * size * size)."""
    import torch
    from PIL import Image

    small = [Image.open(file).convert("RGB").resize((size, size)) for file in files]
    return torch.tensor([list(image.tobytes()) for image in small]) / 255
