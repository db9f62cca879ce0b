"""Chapter 10: maps of attention weights, of all heads, and of one head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


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
        picture = axes.imshow(found.T, vmin=0, vmax=1, cmap="viridis")
        axes.set(title=title, ylabel="head", yticks=range(0, found.shape[1], 2))
    rows[-1].set(xlabel="block", xticks=range(0, found.shape[0], 5))
    figure.colorbar(picture, ax=list(rows), label="mean weight")
    plt.show()


def plot_head(weights, tokens: Sequence[str]) -> None:
    """Draw where each token of a text looks, the first token in a column of its own.

    `weights` is one head's tensor (tokens, tokens), on any device; `tokens` are the
    texts of the tokens. The first column has its numbers written in, the rest a
    colour scale of their own.
    """
    import matplotlib.pyplot as plt
    import torch

    weights = weights.detach().cpu()
    rest = weights[:, 1:].clone()
    rest[torch.ones_like(weights, dtype=torch.bool).triu(1)[:, 1:]] = float("nan")
    size = len(tokens)
    figure, (left, right) = plt.subplots(
        1,
        2,
        figsize=(2.4 + 0.32 * size, 1.2 + 0.28 * size),
        width_ratios=[1.6, size - 1],
        sharey=True,
    )
    left.imshow(torch.zeros(size, 1), cmap="Greys", aspect="auto")
    for row, share in enumerate(weights[:, 0].tolist()):
        left.text(0, row, f"{share:.2f}", ha="center", va="center", size=9)
    left.set_xticks([0], [f"{tokens[0]} (first)"], rotation=60, ha="right")
    left.set_yticks(range(size), tokens)
    left.set_ylabel("token that looks")
    top = float(rest.nan_to_num().max())
    picture = right.imshow(rest, vmin=0, vmax=top, cmap="viridis", aspect="auto")
    right.set_xticks(range(size - 1), tokens[1:], rotation=60, ha="right")
    right.set_xlabel("token that is looked at")
    figure.colorbar(picture, ax=[left, right], label="weight")
    plt.show()
