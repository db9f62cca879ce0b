"""Chapter 10: maps of attention weights, and of all heads."""

from __future__ import annotations

from collections.abc import Mapping


def plot_weights(maps: Mapping[str, object]) -> None:
    """Draw attention weights side by side, as squares of one colour scale.

    `maps` gives for each title a tensor (tokens, tokens) on the CPU, whose rows look
    and whose columns are looked at; a weight of exactly 0 stays white.
    """
    import matplotlib.pyplot as plt

    figure, row = plt.subplots(1, len(maps), figsize=(6.5, 2.4), sharey=True)
    for axes, (title, weights) in zip(row, maps.items(), strict=True):
        shown = weights.where(weights > 0, float("nan"))
        picture = axes.imshow(shown, vmin=0, vmax=1, cmap="viridis")
        places = range(len(weights))
        axes.set_xticks(places, [place + 1 for place in places])
        axes.set_yticks(places, [place + 1 for place in places])
        axes.set(title=title, xlabel="looked at")
    row[0].set_ylabel("token that looks")
    figure.colorbar(picture, ax=list(row), label="weight")
    plt.show()


def plot_heads(scores: Mapping[str, object]) -> None:
    """Draw one score in [0, 1] for every head of a model, one map per title.

    `scores` gives for each title a tensor (blocks, heads) on the CPU.
    """
    import matplotlib.pyplot as plt

    figure, rows = plt.subplots(
        len(scores), 1, figsize=(6.5, 1.8 * len(scores)), sharex=True
    )
    for axes, (title, found) in zip(rows, scores.items(), strict=True):
        picture = axes.imshow(found.T, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        axes.set(title=title, ylabel="head", yticks=range(0, found.shape[1], 2))
    rows[-1].set(xlabel="block", xticks=range(0, found.shape[0], 2))
    figure.colorbar(picture, ax=list(rows), label="mean weight")
    plt.show()
