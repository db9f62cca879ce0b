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
    figure, both = plt.subplots(1, 2, sharey=True, figsize=(7.5, 3.3))
    right, fits = answers["right"].to_numpy(), answers["fits"].to_numpy()
    for axes, name in zip(both, ["competing", "independent"], strict=True):
        given = answers[name].to_numpy()[:, None] >= limits
        found = given[right & fits].sum(axis=0) / fits.sum()
        axes.plot(limits, found, label="something fits: right answer given")
        declined = 1 - given[~fits].mean(axis=0)
        axes.plot(limits, declined, "--", label="nothing fits: declined")
        axes.axvline(0.5, color="grey", linestyle=":")
        # Each number stands where its own curve is not: one falls, the other rises.
        for share, x, side in (
            (found[50], 0.52, "left"),
            (declined[50], 0.48, "right"),
        ):
            axes.text(x, share + 0.02, f"{share:.2f}", ha=side, fontsize=9)
        place = int(np.argmin(abs(found - declined)))
        alike = (found[place] + declined[place]) / 2
        axes.plot(limits[place], alike, "ko", markersize=6)
        said = f"dot: {alike:.2f} at {limits[place]:.2f}"
        axes.text(limits[place], 0.97, said, ha="center", va="center", fontsize=9)
        axes.set(title=f"{name} scores", xlabel="threshold", ylim=(0, 1.02))
    both[0].set_ylabel("share of the texts")
    lines, names = both[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=2, fontsize=9)
    plt.show()


def plot_bias(scores) -> None:
    """Draw a score per name and sentence as markers, and each name's mean as a bar.

    `scores` is a frame of sentences (rows) and names (columns). Used in notebook 05.
    """
    import matplotlib.pyplot as plt

    scores = scores[scores.mean().sort_values().index]
    figure, axes = plt.subplots(figsize=(6.5, 4.4))
    for (form, row), marker in zip(scores.iterrows(), "osD^v", strict=False):
        label = form.format("…")
        axes.plot(row, scores.columns, marker, markersize=5, alpha=0.8, label=label)
    axes.plot(scores.mean(), scores.columns, "k|", markersize=16, label="mean")
    axes.set(xlabel="score of positive", xlim=(0, 1))
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    plt.show()


def plot_few_shot(draws) -> None:
    """Draw accuracy against examples per label: a dot per draw, a line for the mean.

    `draws` is a frame with `examples`, `few-shot` and other columns, which are drawn
    dashed, a row per draw. Used in notebook 05.
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=(6.5, 3))
    means = draws.groupby("examples").mean()
    axes.plot(draws["examples"], draws["few-shot"], "o", color="C4", markersize=4)
    axes.plot(means["few-shot"], label="few-shot: embeddings, logistic regression")
    for name, line in zip(means.columns.drop("few-shot"), [":", "--"], strict=True):
        axes.plot(means[name], line, label=f"no examples: {name}")
    axes.set_xticks(means.index)
    axes.set(xlabel="labelled examples per label", ylabel="accuracy on the others")
    axes.set_ylim(0, 1)
    axes.legend(loc="lower right", fontsize=9)
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
