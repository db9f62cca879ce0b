"""Widgets, each with a static figure of the same thing above it.

A widget is created only where somebody is there to use it, so that none is ever
stored in a notebook or left behind by a test.
"""

from __future__ import annotations

from .figures import plot_sentiment
from .session import interactive


def explore_sentiment(classifier, text: str) -> None:
    """Draw a sentence's tokens and scores; below, a box to type another one.

    `classifier` is a sentiment pipeline. Taught in notebook 01, section "Try it".
    """
    plot_sentiment(classifier, text)
    if not interactive():
        return
    import ipywidgets
    from IPython.display import display

    box = ipywidgets.Text(value=text, description="Sentence", continuous_update=False)
    box.layout.width = "90%"
    picture = ipywidgets.Output()

    def redraw(change) -> None:
        # Replace what is shown only when the new picture is ready.
        picture.clear_output(wait=True)
        with picture:
            if change["new"].strip():
                plot_sentiment(classifier, change["new"])
            else:
                print("Type a sentence and press Enter.")

    box.observe(redraw, names="value")
    display(ipywidgets.VBox([box, picture]))
