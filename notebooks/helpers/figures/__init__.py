"""Pictures that are drawn more than once, or whose drawing is not what a page teaches.

Each returns nothing and shows a plot: `common.py` has those of several chapters,
the other modules belong to the chapter in their first line. matplotlib is imported
where it is used, so that `import helpers` stays quick.
"""

from .common import plot_bars, plot_boxes, plot_matrix
from .sentiment import plot_sentiment, token_effects

__all__ = [
    "plot_bars",
    "plot_boxes",
    "plot_matrix",
    "plot_sentiment",
    "token_effects",
]
