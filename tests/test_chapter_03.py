"""Proves what notebook 03 claims: its widget answers a bad file with one line, and its
exercises refuse what only looks right.

The cells are taken from the notebook as it stands, so that the page is what is tested.
"""

import datetime

import ipywidgets
import pages
import pytest
import torch
from places import NOTEBOOKS
from verdicts import assert_pointer
from wrong_inputs import A_TEXT

from helpers import check, widgets
from helpers.exercises import chapter_03

CELLS = pages.page("03_picture_tasks")


# --- the widget -------------------------------------------------------------------


def upload(content):
    """Return what FileUpload holds when a reader has chosen a file."""
    return (
        {
            "name": "file",
            "type": "",
            "size": len(content),
            "content": memoryview(content),
            "last_modified": datetime.datetime(2026, 1, 1),
        },
    )


@pytest.fixture
def button(monkeypatch, pipe):
    """The page's widget, in the hands of a reader: its button for files."""
    monkeypatch.chdir(NOTEBOOKS)
    shown = []
    monkeypatch.setattr(widgets, "interactive", lambda: True)
    monkeypatch.setattr("IPython.display.display", shown.append)
    pages.run(CELLS, ["own"], {"classifier": pipe("image-classification")})
    return next(
        child
        for child in shown[-1].children
        if isinstance(child, ipywidgets.FileUpload)
    )


@pytest.mark.model
@pytest.mark.parametrize("content", [A_TEXT, b""])
def test_the_widget_answers_a_bad_file_with_one_line(
    content, button, capsys, record_fault
):
    capsys.readouterr()
    button.value = upload(content)
    said = capsys.readouterr().out.splitlines()
    assert said[-1].split("\x1b[2K")[-1].startswith("HelperError"), said
    assert "Traceback" not in "".join(said)
    record_fault("a file that is no picture", said[-1])


@pytest.mark.model
def test_the_widget_names_a_photograph(button, capsys):
    capsys.readouterr()
    button.value = upload((NOTEBOOKS / "data/photographs/cat.jpg").read_bytes())
    assert "Error" not in capsys.readouterr().out


# --- the exercises ----------------------------------------------------------------


@pytest.fixture(scope="module")
def given(pipe):
    """What the page gives to the checker of an exercise besides the answer."""
    return {
        "03.1": [],
        "03.2": [pipe("image-classification")],
        "03.3": [pipe("object-detection")],
        "03.4": [],
    }


def best_label(image, families, classifier):
    """Take the family of the likeliest label."""
    for found in classifier(image, top_k=classifier.model.config.num_labels):
        for name, labels in families.items():
            if found["label"] in labels:
                return name
    return None


def family_of(found, families, size=lambda labels: 1):
    """The family with the most score, divided by what `size` gives."""
    scores = {one["label"]: one["score"] for one in found}
    totals = {
        name: sum(scores.get(label, 0) for label in labels) / size(labels)
        for name, labels in families.items()
    }
    return max(totals, key=totals.get)


def only_five(image, families, classifier):
    """Take what the pipeline gives without being asked for more."""
    return family_of(classifier(image), families)


def by_mean(image, families, classifier):
    """Divide by the number of labels."""
    every = classifier(image, top_k=classifier.model.config.num_labels)
    return family_of(every, families, size=len)


def most_labels(image, families, classifier):
    """Do not look at the picture."""
    return max(families, key=lambda name: len(families[name]))


def no_unicorns(image, families, classifier):
    """Expect the model to know every label."""
    every = classifier(image, top_k=classifier.model.config.num_labels)
    scores = {one["label"]: one["score"] for one in every}
    totals = {
        name: sum(scores[label] for label in labels)
        for name, labels in families.items()
    }
    return max(totals, key=totals.get)


def surest_first(image, label, detector):
    """Keep the order of the detector."""
    boxes = [
        tuple(thing["box"].values())
        for thing in detector(image)
        if thing["label"] == label and thing["score"] >= 0.5
    ]
    return [image.crop(box) for box in boxes]


def any_score(image, label, detector):
    """Forget the threshold."""
    found = [thing | {"score": 1.0} for thing in detector(image)]
    return chapter_03.cut_out(image, label, lambda image: found)


def width_and_height(image, label, detector):
    """Take the right lower corner for a width and a height."""
    cut = chapter_03.cut_out(image, label, detector)
    return [one.resize((one.width + 1, one.height)) for one in cut]


def more_than(found, least):
    """Leave out a score that is exactly the least."""
    return chapter_03.count([box for box in found if box["score"] > least], 0)


def always_half(found, least):
    """Do not use the threshold that was given."""
    return chapter_03.count(found, 0.5)


def reshaped(patches, size, width):
    """Give the numbers the right shape as they come."""
    return patches.reshape(patches.shape[1] // size**2, -1, width)


def mirrored(patches, size, width):
    """Every number is there, left and right changed over."""
    return chapter_03.mend(patches, size, width).flip(-1)


WRONG = [
    ("03.1", more_than, "expected {'dog': 2}, got {'dog': 1}"),
    ("03.1", always_half, "expected"),
    ("03.1", lambda found: {}, "It stopped with TypeError"),
    ("03.2", best_label, "Add up the scores"),
    ("03.2", by_mean, "Add up the scores"),
    ("03.2", only_five, "gives five labels"),
    ("03.2", most_labels, "Many labels do not make a family likelier"),
    ("03.2", no_unicorns, "KeyError: 'unicorn'"),
    ("03.3", surest_first, "the surest is not always the first"),
    ("03.3", any_score, "below 0.5"),
    ("03.3", width_and_height, "A box is xmin"),
    ("03.4", lambda patches, size, width: patches, "make (3, 8, 8)"),
    ("03.4", lambda p, s, w: torch.zeros(3, 8, 8), "should be there once"),
    ("03.4", reshaped, "in another order"),
    ("03.4", mirrored, "in another order"),
]


@pytest.mark.model
@pytest.mark.parametrize(("number", "answer", "words"), WRONG)
def test_what_only_looks_right_gets_a_pointer(capsys, number, answer, words, given):
    capsys.readouterr()
    check(number, answer, *given[number])
    out = capsys.readouterr().out.strip()
    assert_pointer(out, number, words)


def grown(found, least):
    """A dictionary that grows."""
    counts = {}
    for box in found:
        if box["score"] >= least:
            counts[box["label"]] = counts.get(box["label"], 0) + 1
    return counts


def by_logits(image, families, classifier):
    """Softmax by hand, and the places of the labels."""
    model, places = classifier.model, classifier.model.config.label2id
    inputs = classifier.image_processor(image.convert("RGB"), return_tensors="pt")
    with torch.inference_mode():
        scores = model(**inputs.to(model.device)).logits[0].softmax(dim=0)

    def total(name):
        known = [places[label] for label in families[name] if label in places]
        return float(scores[known].sum())

    return max(families, key=total)


def by_array(image, label, detector):
    """Slices of an array instead of crops."""
    import numpy
    from PIL import Image

    array, cut = numpy.asarray(image), []
    for thing in sorted(detector(image), key=lambda thing: thing["box"]["xmin"]):
        if thing["label"] == label and not thing["score"] < 0.5:
            box = thing["box"]
            part = array[box["ymin"] : box["ymax"], box["xmin"] : box["xmax"]]
            cut.append(Image.fromarray(part))
    return cut


def by_fold(patches, size, width):
    """The inverse of unfold, as torch has it."""
    height = len(patches) * size * size // width
    fold = torch.nn.functional.fold
    return fold(patches.T[None], (height, width), size, stride=size)[0]


RIGHT = [
    ("03.1", chapter_03.count),
    ("03.1", grown),
    ("03.2", chapter_03.family),
    ("03.2", by_logits),
    ("03.3", chapter_03.cut_out),
    ("03.3", by_array),
    ("03.4", chapter_03.mend),
    ("03.4", by_fold),
]


@pytest.mark.model
@pytest.mark.parametrize(("number", "answer"), RIGHT)
def test_right_answers_are_accepted_however_they_are_written(
    capsys, number, answer, given
):
    capsys.readouterr()
    check(number, answer, *given[number])
    assert capsys.readouterr().out.strip() == f"{number}: right."
