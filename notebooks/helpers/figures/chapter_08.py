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
    figure = plt.figure(figsize=(6.5, height))
    groups = len(images) // (every or len(images))
    each = len(images) // groups
    grid = figure.add_gridspec(1, groups, wspace=0.2)
    inner = [part.subgridspec(1, each).subplots(squeeze=False)[0] for part in grid]
    axes = [axis for group in inner for axis in group]
    for axis, image in zip(axes, images, strict=True):
        axis.imshow(image)
        axis.axis("off")
    for axis, line in zip(axes, lines, strict=False):
        axis.set_title(line, fontsize=9)
    plt.show()
