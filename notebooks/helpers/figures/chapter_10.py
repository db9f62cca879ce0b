"""Chapter 10: maps of attention weights, and of all heads."""

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


def plot_head(
    looks: Sequence[tuple[list[str], object]], block: int, head: int, token: str
) -> None:
    """Draw one head's attention weights for several texts, side by side.

    Each of `looks` holds the tokens of a text and a tensor (blocks, heads, tokens,
    tokens) on the CPU, whose rows look and whose columns are looked at. The title says
    where `token` looks most.
    """
    import matplotlib.pyplot as plt

    figure, row = plt.subplots(1, len(looks), figsize=(6.5, 3.6))
    for axes, (tokens, maps) in zip(row, looks, strict=True):
        names = [name.replace("Ġ", "") for name in tokens]
        weights = maps[block, head]
        looking = weights[tokens.index(token)]
        best = int(looking.argmax())
        title = f"{token.strip('Ġ')} looks at {names[best]}: {looking[best]:.2f}"
        shown = weights.where(weights > 0, float("nan"))
        picture = axes.imshow(shown, vmin=0, vmax=1, cmap="viridis")
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("looked at")
    row[0].set_ylabel("token that looks")
    figure.colorbar(picture, ax=list(row), label="weight", shrink=0.7)
    plt.show()


def plot_heads(scores: Mapping[str, object]) -> None:
    """Draw one score in [0, 1] for every head of a model, one map per title. The three
    highest are written beside their places.

    `scores` gives for each title a tensor (blocks, heads) on the CPU.
    """
    import matplotlib.pyplot as plt

    figure, rows = plt.subplots(
        len(scores), 1, figsize=(6.5, 2.3 * len(scores)), sharex=True
    )
    for axes, (title, found) in zip(rows, scores.items(), strict=True):
        picture = axes.imshow(found.T, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        for place in found.flatten().argsort(descending=True)[:3].tolist():
            block, head = divmod(place, found.shape[1])
            value = f"{found[block, head]:.2f}"
            side, where = ("left", 0.7) if block < 4 else ("right", -0.7)
            axes.text(block + where, head, value, color="white", ha=side, va="center")
        axes.set(title=title, ylabel="head", yticks=range(found.shape[1]))
        axes.set_xticks(range(0, found.shape[0], 2))
        axes.tick_params(labelbottom=True)
    rows[-1].set(xlabel="block")
    figure.colorbar(picture, ax=list(rows), label="mean weight")
    plt.show()
