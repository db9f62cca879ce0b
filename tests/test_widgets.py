"""Proves that `explore` shows its first picture always, and controls only to a person.

The controls are moved here as a reader would move them; no browser is needed.
"""

import ipywidgets
import pytest

from helpers import explore, widgets

CONTROLS = {
    "text": "a",
    "flag": True,
    "many": (3, 1, 5),
    "heat": (1.0, 0.1, 2.0),
    "pick": [5, 6],
    "file": ipywidgets.FileUpload,
}
FIRST = {"text": "a", "flag": True, "many": 3, "heat": 1.0, "pick": 5, "file": None}


@pytest.fixture
def shown(monkeypatch):
    """Let somebody be there, and return what is displayed."""
    seen = []
    monkeypatch.setattr(widgets, "interactive", lambda: True)
    monkeypatch.setattr("IPython.display.display", seen.append)
    return seen


def test_without_a_reader_there_is_the_first_picture_alone(monkeypatch):
    monkeypatch.setattr(widgets, "interactive", lambda: False)
    monkeypatch.setattr(widgets, "_widget", None)  # would raise if it were called
    drawn = []
    explore(lambda **values: drawn.append(values), **CONTROLS)
    assert drawn == [FIRST]


def test_each_control_redraws_with_its_value(shown):
    drawn = []
    explore(lambda **values: drawn.append(values), **CONTROLS)
    *boxes, _ = shown[0].children
    kinds = [type(box).__name__ for box in boxes]
    assert kinds == [
        *["Text", "Checkbox", "IntSlider", "FloatSlider", "Dropdown", "FileUpload"]
    ]
    for box, value in zip(boxes, ["b", False, 5, 0.5, 6], strict=False):
        box.value = value
    changed = {"text": "b", "flag": False, "many": 5, "heat": 0.5, "pick": 6}
    assert drawn[-1] == changed | {"file": ()}
    assert len(drawn) == 6


def test_an_error_while_drawing_is_one_line(shown, capsys, record_fault):
    def draw(text):
        if not text:
            raise ValueError("Type a sentence.\nIt is empty.")

    explore(draw, text="a")
    shown[0].children[0].value = ""
    said = capsys.readouterr().out
    assert "It is empty" not in said  # after the codes that clear what was there
    assert said.endswith("ValueError: Type a sentence.\n")
    record_fault("a widget's box left empty", said)


def test_an_error_in_the_first_picture_is_raised():
    with pytest.raises(ZeroDivisionError):
        explore(lambda n: 1 / n, n=[0])
