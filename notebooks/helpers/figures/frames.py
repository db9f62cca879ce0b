"""What a widget shows to a reader without a kernel: the same picture for other values.

`make run` draws them, and the page's script (book/_static/frames.js) exchanges them;
nothing of it is stored in a notebook.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from html import escape
from itertools import product

from ..errors import HelperError

MOST = 24  # pictures per widget
ALT = "@@ALT@@"  # `make run` puts the cell's own alt text here


def small_png(data: bytes, colours: int) -> str:
    """Return a PNG in so many colours as base64: a plot hardly shows it, and takes a
    third of the room."""
    from PIL import Image

    written = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").quantize(colours).save(
        written, "PNG", optimize=True
    )
    return base64.b64encode(written.getvalue()).decode()


def _shown(draw: Callable, values: dict) -> str:
    """Return what `draw(**values)` shows, as HTML: its pictures and what it prints."""
    from IPython.utils.capture import capture_output

    with capture_output() as caught:
        draw(**values)
    parts = []
    for output in caught.outputs:
        if "image/png" in output.data:
            data = output.data["image/png"]
            raw = base64.b64decode(data) if isinstance(data, str) else data
            said = ", ".join(f"{n} {v}" for n, v in values.items())
            alt = f"{ALT} Here: {escape(said, quote=True)}."
            parts.append(
                f'<img src="data:image/png;base64,{small_png(raw, 64)}" alt="{alt}">'
            )
    if caught.stdout.strip():
        parts.append(f"<pre>{escape(caught.stdout.rstrip())}</pre>")
    return "".join(parts)


def frames(draw: Callable, first: dict, grid: dict[str, list]) -> str:
    """Return HTML with a menu per control and what `draw` shows for each choice.

    `first` holds the value of every control in the picture above; `grid` the values
    that the page offers, for some of them. The first choice is left out, as it is the
    picture above. Without a script nothing of this is seen. Raises HelperError where
    `grid` names no control, or makes more pictures than a page should carry.
    """
    if unknown := set(grid) - set(first):
        raise HelperError(f"frames: no control {sorted(unknown)}, only {list(first)}.")
    choices = {
        name: [first[name], *(v for v in values if v != first[name])]
        for name, values in grid.items()
    }
    combinations = list(product(*choices.values()))
    if len(combinations) > MOST:
        raise HelperError(f"frames: {len(combinations)} pictures, at most {MOST}.")
    menus = "".join(
        f"<label>{escape(name.replace('_', ' '))} <select>"
        + "".join(f"<option>{escape(str(value))}</option>" for value in values)
        + "</select></label>"
        for name, values in choices.items()
    )
    pictures = []
    for values in combinations[1:]:
        key = escape(json.dumps([str(value) for value in values]), quote=True)
        shown = _shown(draw, first | dict(zip(choices, values, strict=True)))
        pictures.append(f'<div class="frame" data-values="{key}" hidden>{shown}</div>')
    return f'<div class="frames" hidden>{menus}{"".join(pictures)}</div>'
