"""Plots that several chapters draw: bars, a matrix of numbers, boxes in a picture."""

from __future__ import annotations

from collections.abc import Sequence


def plot_bars(
    labels: Sequence[str],
    values: Sequence[float],
    intervals: Sequence[tuple[float, float]] | None = None,
    xlabel: str = "score",
    xlim: tuple[float, float] | None = (0, 1),
    fmt: str = "%.2f",
) -> None:
    """Draw one horizontal bar per label, the first on top, its value beside it.

    `intervals` holds (low, high) per label, drawn as a line with ends; `xlim=None` lets
    matplotlib choose the axis, and a value is written as `fmt` says.
    """
    import matplotlib.pyplot as plt

    height = 0.8 + 0.34 * len(labels)
    _, axes = plt.subplots(figsize=(6.5, height))
    error = None
    if intervals is not None:
        error = [
            [value - low for value, (low, _) in zip(values, intervals, strict=True)],
            [high - value for value, (_, high) in zip(values, intervals, strict=True)],
        ]
    rows = range(len(labels))
    bars = axes.barh(rows, values, xerr=error, capsize=3, color="C0")
    axes.bar_label(bars, fmt=fmt, padding=4)
    axes.set_yticks(rows, labels)
    axes.invert_yaxis()
    axes.set(xlabel=xlabel)
    if xlim is not None:
        axes.set_xlim(xlim[0], xlim[1] + 0.1 * (xlim[1] - xlim[0]))
    plt.show()


def plot_matrix(
    values,
    rows: Sequence[str],
    columns: Sequence[str],
    label: str,
    fmt: str | None = "%.2f",
    limits: tuple[float, float] | None = None,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
) -> None:
    """Draw a matrix of numbers as colours, with a colour bar and its labels.

    `values` is a tensor or array (rows, columns) on any device; `label` says what the
    colour means; `fmt=None` leaves the numbers out of the cells; `limits` fixes the
    lowest and the highest colour; `xlabel` and `ylabel` name the axes.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    array = np.asarray(values.cpu() if hasattr(values, "cpu") else values, dtype=float)
    low, high = limits or (array.min(), array.max())
    size = (2.4 + 0.5 * len(columns), 1.2 + 0.38 * len(rows))
    _, axes = plt.subplots(figsize=size)
    image = axes.imshow(array, cmap="viridis", vmin=low, vmax=high, aspect="auto")
    turn = {"rotation": 45, "ha": "right"} if max(map(len, columns)) > 3 else {}
    axes.set_xticks(range(len(columns)), columns, **turn)
    axes.set_yticks(range(len(rows)), rows)
    axes.spines[:].set_visible(False)
    if fmt is not None:
        middle = (low + high) / 2
        for row in range(array.shape[0]):
            for column in range(array.shape[1]):
                value = array[row, column]
                colour = "black" if value > middle else "white"
                text = fmt % value
                axes.text(
                    column, row, text, ha="center", va="center", color=colour, size=9
                )
    axes.figure.colorbar(image, label=label)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    plt.show()


def plot_boxes(image, objects: Sequence[dict], title: str = "") -> None:
    """Draw a picture and a numbered box around each object that a detector found.

    `image` is a PIL picture; `objects` are dictionaries with `label`, `score` and
    `box` (`xmin`, `ymin`, `xmax`, `ymax` in pixels), as the object-detection pipeline
    gives them. The names stand beside the picture, so that they cover nothing.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    shape = 4.2 * image.height / image.width
    _, axes = plt.subplots(figsize=(6.5, max(shape, 0.3 + 0.28 * len(objects))))
    axes.imshow(image)
    axes.axis("off")
    axes.set_title(title)
    lines = []
    for number, found in enumerate(objects, start=1):
        box, colour = found["box"], f"C{(number - 1) % 8}"
        width, height = box["xmax"] - box["xmin"], box["ymax"] - box["ymin"]
        corner = (box["xmin"], box["ymin"])
        axes.add_patch(Rectangle(corner, width, height, fill=False, color=colour, lw=2))
        # Left and right by turns: two boxes around one thing keep both their numbers.
        place = ("xmin", "left") if number % 2 else ("xmax", "right")
        axes.text(
            box[place[0]],
            box["ymin"],
            str(number),
            color="white",
            size=9,
            ha=place[1],
            va="bottom",
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5},
        )
        lines.append(f"{number}  {found['label']}  {found['score']:.2f}")
    axes.annotate(
        "\n".join(lines) or "nothing found",
        (1.03, 1),
        xycoords="axes fraction",
        va="top",
        linespacing=1.6,
    )
    plt.show()
