"""Chapter 08: pictures in a row."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill


def plot_pictures(
    images: Sequence, titles: Sequence[str] = (), every: int | None = None
) -> None:
    """Draw PIL pictures side by side, each below its title, if it has one, with a gap
    after `every` so many. Titles may be wider than their pictures where others are
    empty.

    Used in notebook 08.
    """
    import matplotlib.pyplot as plt

    width = 6.5 / len(images)
    named = sum(map(bool, titles)) or 1
    letters = int(13 * 6.5 / named)
    lines = [fill(title, letters, break_long_words=False) for title in titles]
    tall = max([line.count("\n") + 1 for line in lines if line], default=0)
    height = min(width, 1.0) + 0.2 * tall + 0.1
    shares = [1.0] * len(images)
    if every:  # a narrow empty column after each group but the last
        for place in range(len(images) - every, 0, -every):
            shares.insert(place, 0.4)
    options = {"figsize": (6.5, height), "width_ratios": shares, "squeeze": False}
    _, columns = plt.subplots(1, len(shares), **options)
    for column in columns[0]:
        column.axis("off")
    axes = [axis for axis, share in zip(columns[0], shares, strict=True) if share == 1]
    for axis, image in zip(axes, images, strict=True):
        axis.imshow(image)
    for axis, line in zip(axes, lines, strict=False):
        axis.set_title(line, fontsize=9)
    plt.show()
