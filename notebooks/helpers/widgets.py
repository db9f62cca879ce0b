"""One widget for every notebook, with a static figure of the same thing above it.

A widget is created only where somebody is there to use it, so that none is ever
stored in a notebook or left behind by a test.
"""

from __future__ import annotations

from collections.abc import Callable

from .figures.frames import frames as frames_of
from .session import frames_to_draw, interactive


def explore(draw: Callable, **controls) -> None:
    """Call `draw` with the first value of each control; below, controls to change them.

    `draw(**values)` shows a plot or prints. A control is named like the argument that
    it sets: a text gives a box to type in, True or False a check box, a tuple (first,
    lowest, highest) a slider of its numbers' type, a list a menu that begins with its
    first entry, and a function of no arguments any other widget, whose first value is
    None. An error in `draw` becomes one line below the controls; in the first picture
    it is raised. Taught in notebook 01, section "Try it".
    """
    first = {name: _first(control) for name, control in controls.items()}
    draw(**first)
    if frames := frames_to_draw():
        from IPython.display import HTML, display

        display(HTML(frames_of(draw, first, frames)))
    if not interactive():
        return
    import ipywidgets
    from IPython.display import display

    boxes = {name: _widget(name, control) for name, control in controls.items()}
    picture = ipywidgets.Output()

    def redraw(change) -> None:
        # Replace what is shown only when the new picture is ready.
        picture.clear_output(wait=True)
        with picture:
            try:
                draw(**{name: box.value for name, box in boxes.items()})
            except Exception as error:  # noqa: BLE001 (whatever the reader typed)
                said = (str(error).splitlines() or [""])[0]
                print(f"{type(error).__name__}: {said}")

    for box in boxes.values():
        box.observe(redraw, names="value")
    display(ipywidgets.VBox([*boxes.values(), picture]))


def _first(control):
    """Return the value that a control begins with."""
    if callable(control):
        return None
    return control[0] if isinstance(control, (tuple, list)) else control


def _widget(name: str, control):
    """Return the widget of a control, described by the argument's name."""
    import ipywidgets as w

    if callable(control):
        return control()
    look = {"description": name.replace("_", " ")}
    look["style"] = {"description_width": "7em"}
    if isinstance(control, list):
        return w.Dropdown(options=control, **look)
    if isinstance(control, bool):
        return w.Checkbox(value=control, **look)
    look |= {"continuous_update": False, "layout": {"width": "90%"}}
    if isinstance(control, str):
        return w.Text(value=control, **look)
    first, low, high = control
    if isinstance(first, int):
        return w.IntSlider(value=first, min=low, max=high, **look)
    step = (high - low) / 100
    return w.FloatSlider(value=first, min=low, max=high, step=step, **look)
