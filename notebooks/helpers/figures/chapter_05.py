"""Chapter 05: thresholds, names, a few labelled examples, photographs."""

from __future__ import annotations

from collections.abc import Sequence


def plot_thresholds(answers) -> None:
    """Draw what a threshold keeps and declines, for competing and independent scores,
    with the shares at 0.5 and a dot where both are alike.

    `answers` is a frame with a row per answer: its scores `competing` and
    `independent`, whether it is `right`, and whether any label `fits` the text. Used in
    notebook 05.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    limits = np.linspace(0, 1, 101)
    figure, both = plt.subplots(1, 2, sharey=True, figsize=(7.5, 3.6))
    right, fits = answers["right"].to_numpy(), answers["fits"].to_numpy()
    for axes, name in zip(both, ["competing", "independent"], strict=True):
        given = answers[name].to_numpy()[:, None] >= limits
        found = given[right & fits].sum(axis=0) / fits.sum()
        axes.plot(limits, found, label="something fits: right answer kept")
        declined = 1 - given[~fits].mean(axis=0)
        axes.plot(limits, declined, "--", label="nothing fits: declined")
        axes.axvline(0.5, color="grey", linestyle=":")
        # Each number stands where its own curve is not: one falls, the other rises.
        for share, x, side in (
            (found[50], 0.52, "left"),
            (declined[50], 0.48, "right"),
        ):
            axes.text(x, share + 0.025, f"{share:.2f}", ha=side, fontsize=11)
        place = int(np.argmin(abs(found - declined)))
        alike = (found[place] + declined[place]) / 2
        axes.plot(limits[place], alike, "ko", markersize=7)
        axes.annotate(  # below both curves, where nothing else is
            f"both {alike:.2f}\nat {limits[place]:.2f}",
            (limits[place], alike),
            xytext=(0.7, 0.08),
            arrowprops={"arrowstyle": "-", "shrinkB": 4},
            ha="center",
            fontsize=11,
        )
        axes.set(title=f"{name} scores", xlabel="threshold", ylim=(0, 1.04))
    both[0].set_ylabel("share of the texts")
    lines, names = both[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=2, fontsize=10)
    plt.show()


def plot_bias(scores) -> None:
    """Draw a score per name and sentence as a coloured number, and each name's mean,
    the lowest on top.

    `scores` is a frame of sentences (rows) and names (columns). Used in notebook 05.
    """
    from textwrap import fill

    import matplotlib.pyplot as plt

    table = scores.T.assign(mean=scores.mean()).sort_values("mean")
    _, axes = plt.subplots(figsize=(7.5, 5))
    image = axes.imshow(table, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for row, values in enumerate(table.to_numpy()):
        for column, value in enumerate(values):
            colour = "black" if value > 0.5 else "white"
            place = {"ha": "center", "va": "center", "color": colour}
            axes.text(column, row, f"{value:.2f}", fontsize=10, **place)
    titles = [fill(form.format("…"), 13) for form in table.columns]
    axes.set_xticks(range(len(titles)), titles, fontsize=9)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(table)), table.index)
    axes.axvline(len(titles) - 1.5, color="white", linewidth=4)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.figure.colorbar(image, label="score of positive")
    plt.show()


def plot_few_shot(draws, without: dict[str, dict[str, float]]) -> None:
    """Draw accuracy against examples per label, a panel per set of texts: a dot per
    draw, a line for the mean, and level lines for what needs no examples.

    `draws` is a frame with `set`, `examples` and `accuracy`, a row per draw; `without`
    holds the accuracy of each way without examples, by set and way. Used in notebook
    05.
    """
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(without), sharey=True, figsize=(7.5, 3.4))
    for axes, (name, ways) in zip(panels, without.items(), strict=True):
        some = draws[draws["set"] == name]
        means = some.groupby("examples")["accuracy"].mean()
        axes.plot(some["examples"], some["accuracy"], "o", color="C4", markersize=4)
        axes.plot(means, label="few examples: embeddings, logistic regression")
        for (way, share), line in zip(ways.items(), ["--", ":"], strict=True):
            axes.axhline(share, linestyle=line, color="black", label=f"none: {way}")
        axes.set_xticks(means.index)
        axes.set(title=name, xlabel="examples per label", ylim=(0, 1.04))
    panels[0].set_ylabel("accuracy")
    lines, names = panels[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=3, fontsize=9)
    plt.show()


def plot_photographs(images: Sequence, answers: Sequence[list[dict]]) -> None:
    """Draw pictures side by side, each below its likeliest label and its score.

    `answers` are those of a pipeline, the best label first. Used in notebook 05.
    """
    import matplotlib.pyplot as plt

    _, places = plt.subplots(1, len(images), figsize=(7.5, 1.9))
    for image, answer, axes in zip(images, answers, places, strict=True):
        axes.imshow(image)
        axes.axis("off")
        axes.set_anchor("N")  # so that all titles stand at one height
        best = answer[0]
        axes.set_title(f"{best['label']}\n{best['score']:.3f}", fontsize=10)
    plt.show()
