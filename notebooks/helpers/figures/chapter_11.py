"""Chapter 11: the way down a loss, two curves of a training, and nine runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence


def plot_descent(
    paths: Mapping[str, Sequence[tuple[float, float]]],
    loss: Callable,
    best: tuple[float, float],
) -> None:
    """Draw paths over a loss of two numbers, one map per path.

    `paths` gives for each title the places (w, b), drawn until one leaves the map;
    `loss(w, b)` takes floats; `best` is where the loss is lowest, marked by a cross,
    and a square marks the start.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    across, up = np.linspace(-2, 4, 60), np.linspace(-1, 5, 60)
    height = [[float(loss(float(w), float(b))) for w in across] for b in up]
    figure, row = plt.subplots(1, len(paths), figsize=(6.5, 2.6), sharey=True)
    for axes, (title, path) in zip(row, paths.items(), strict=True):
        levels = [0, 1, 2, 5, 10, 20, 50, 100]
        picture = axes.contourf(
            across, up, height, levels, cmap="cividis", norm="symlog", extend="max"
        )
        out = [abs(w - 1) > 3 or abs(b - 2) > 3 for w, b in path]
        shown = path[: out.index(True) + 1] if True in out else path
        axes.plot(*zip(*shown, strict=True), "o-", color="white", ms=3, lw=1)
        axes.plot(*path[0], "s", color="white", ms=7)
        axes.plot(*best, "x", color="C5", ms=9, mew=2.5)
        axes.set(title=title, xlabel="w", xlim=(-2, 4), ylim=(-1, 5))
        axes.title.set_fontsize(10)
    row[0].set_ylabel("b")
    bar = figure.colorbar(picture, ax=list(row), label="loss", ticks=levels)
    bar.set_ticklabels([str(level) for level in levels])
    plt.show()


def plot_curves(
    epochs: Sequence[int], curve: Sequence[tuple[float, float]], ylim=None
) -> None:
    """Draw the loss on rows that are trained on and on held-out ones, per epoch.

    `curve` holds pairs (trained on, held out), one per number of `epochs`.
    """
    import matplotlib.pyplot as plt

    trained_on, held_out = zip(*curve, strict=True)
    _, axes = plt.subplots(figsize=(6.5, 2.8))
    axes.plot(epochs, held_out, "s--", color="C5", label="held out")
    axes.plot(epochs, trained_on, "o-", color="C0", label="trained on")
    lowest = held_out.index(min(held_out))
    axes.annotate(
        "lowest",
        (epochs[lowest], held_out[lowest]),
        xytext=(0, 14),
        textcoords="offset points",
        ha="center",
        arrowprops={"arrowstyle": "-"},
    )
    axes.set(xlabel="epochs", ylabel="loss", xticks=list(epochs), ylim=ylim)
    axes.legend()
    plt.show()


def plot_scaling(runs) -> None:
    """Draw held-out loss against operations: one map per amount of text, one line per
    size of model.

    `runs` is the table of `experiments/scaling.csv`.
    """
    import matplotlib.pyplot as plt

    amounts = sorted(runs.characters.unique())
    figure, row = plt.subplots(1, len(amounts), figsize=(6.5, 3.6), sharey=True)
    looks = dict(zip(sorted(runs.parameters.unique()), ["C1", "C2", "C0"], strict=True))
    marks = dict(zip(looks, "o^s", strict=True))
    for axes, amount in zip(row, amounts, strict=True):
        part = runs[runs.characters == amount]
        for (size, width), run in part.groupby(["parameters", "width"]):
            name = f"{width} wide ({size / 1e6:.1f} million)"
            axes.loglog(
                run.flop,
                run.held_out_loss,
                color=looks[size],
                marker=marks[size],
                ms=4,
                label=name,
            )
        share = round(amounts[-1] / amount)
        axes.set_title(
            f"1/{share} of the text" if share > 1 else "all the text", size=10
        )
        axes.set_xticks([1e10, 1e11, 1e12], ["10", "100", "1,000"])
        axes.set_yticks([4, 4.5, 5, 5.5], ["4.0", "4.5", "5.0", "5.5"])
        axes.minorticks_off()
        axes.set(xlim=(9e9, 1.6e12), ylim=(3.6, 5.9))
    row[0].set_ylabel("held-out loss")
    figure.supxlabel("operations, in billions", fontsize=10)
    handles, names = row[0].get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        title="width (and parameters) of the model",
        loc="outside upper center",
        ncols=3,
    )
    plt.show()
