"""Chapter 03: pictures beside their names, a reader's own too, and the patches of a
picture."""

from __future__ import annotations

from collections.abc import Sequence

from ..catalogue import NOTEBOOKS


def plot_names(images: Sequence, answers: Sequence[list[dict]]) -> None:
    """Draw pictures, one per row, and beside each the labels that a classifier gives.

    `images` are PIL pictures, `answers` what the image-classification pipeline returns
    for them: for each a list of dictionaries with `label` and `score`.
    """
    import matplotlib.pyplot as plt

    # A picture that stands upright gets a taller row, so that it does not shrink.
    heights = [min(2.4, 1.9 * image.height / image.width) for image in images]
    figure, grid = plt.subplots(len(images), 2, width_ratios=[2, 3], squeeze=False)
    figure.set_size_inches(6.5, sum(heights) + 0.3)
    grid[0, 0].get_gridspec().set_height_ratios(heights)
    rows = zip(images, answers, heights, grid, strict=True)
    for image, answer, height, (left, right) in rows:
        left.imshow(image)
        left.axis("off")
        places = range(len(answer))
        scores = [label["score"] for label in answer]
        bars = right.barh(places, scores, 0.7 * min(heights) / height)
        right.bar_label(bars, fmt="%.2f", padding=3)
        right.set_yticks(places, [label["label"] for label in answer])
        right.invert_yaxis()
        right.set(xlim=(0, 1.15), xticks=[0, 0.5, 1])
    grid[-1, 1].set_xlabel("score")
    plt.show()


def photograph_namer(classifier):
    """Return a function for `explore` that draws what a classifier sees.

    `classifier` is an image-classification pipeline. The function takes the name of a
    photograph of data/photographs, and what a reader has uploaded, which comes first.
    """
    from .. import photograph

    def name_it(photo, file):
        path = NOTEBOOKS / f"data/photographs/{photo}.jpg"
        image = photograph(bytes(file[0]["content"]) if file else path)
        plot_names([image], [classifier(image)])

    return name_it


def plot_patches(image, size: int) -> None:
    """Draw a square picture, the patches that it is cut into, and the middle one.

    `image` is an array (side, side, 3) of numbers from 0 to 1; `size` is the side of a
    patch in pixels.
    """
    import matplotlib.pyplot as plt

    side = image.shape[0]
    middle = side // size // 2 * size
    _, (left, right) = plt.subplots(1, 2, figsize=(3.6, 2.1), width_ratios=[2, 1])
    left.imshow(image)
    lines = [place - 0.5 for place in range(0, side + 1, size)]
    left.hlines(lines, -0.5, side - 0.5, color="white", linewidth=0.6)
    left.vlines(lines, -0.5, side - 0.5, color="white", linewidth=0.6)
    square = plt.Rectangle((middle - 0.5, middle - 0.5), size, size, fill=False)
    square.set(edgecolor="C1", linewidth=3, zorder=3)
    left.add_patch(square)
    count = side // size
    left.set_title(f"{count} by {count} patches", size=9)
    right.imshow(image[middle : middle + size, middle : middle + size])
    right.set_title(f"one of them,\n{size} by {size} pixels", size=9)
    for axes in (left, right):
        axes.axis("off")
    plt.show()
