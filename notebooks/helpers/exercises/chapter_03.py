"""The exercises of notebook 03: for each its solution, then its checker."""

from __future__ import annotations

from collections import Counter

import torch
from PIL import Image

from ..catalogue import NOTEBOOKS
from . import Wrong, exercise


def count(found: list[dict], least: float) -> dict[str, int]:
    """The solution of 03.1: labels of the boxes that are sure enough, counted."""
    return dict(Counter(box["label"] for box in found if box["score"] >= least))


@exercise(
    "03.1",
    "Each box is a dictionary with a label and a score.",
    "Start with counts = {} and, for a box that is sure enough, set "
    "counts[label] = counts.get(label, 0) + 1.",
)
def check_count(answer) -> None:
    sure = [("dog", 0.9), ("dog", 0.5), ("apple", 0.4), ("dog", 0.2)]
    found = [{"label": label, "score": score, "box": {}} for label, score in sure]
    for boxes, least in [(found, 0.5), (found, 0.0), (found, 0.95), ([], 0.5)]:
        got, expected = dict(answer(list(boxes), least)), count(boxes, least)
        if got != expected:
            names = [(box["label"], box["score"]) for box in boxes]
            raise Wrong(
                f"For {names} and at least {least} expected {expected}, got {got}."
            )


def family(image: Image.Image, families: dict[str, list[str]], classifier) -> str:
    """The solution of 03.2: the scores of all labels, added up for each family."""
    every = classifier(image, top_k=classifier.model.config.num_labels)
    scores = {answer["label"]: answer["score"] for answer in every}
    totals = {
        name: sum(scores.get(label, 0) for label in labels)
        for name, labels in families.items()
    }
    return max(totals, key=totals.get)


def tempting(ranked: list[dict]) -> list[tuple[dict[str, list[str]], str]]:
    """Return families that look like another's win, each with what was overlooked.

    `ranked` are all labels of a classifier with their scores for one picture, the best
    first. A family of one label stands against one that has more together, against
    one that begins below the five best, and against one that is only large.
    """
    labels = [answer["label"] for answer in ranked]
    first, left = ranked[0]["score"], 0.9 * ranked[0]["score"]
    after, total = 1, 0.0
    while total < 1.1 * first and after < len(ranked):
        total, after = total + ranked[after]["score"], after + 1
    few = len(ranked)
    while few > 1 and (left := left - ranked[few - 1]["score"]) > 0:
        few -= 1
    found = []
    if total >= 1.1 * first:
        families = {"one": labels[:1], "more": [*labels[1:after], "unicorn"]}
        found.append((families, "Add up the scores of a family's labels."))
    if sum(answer["score"] for answer in ranked[5:]) > 1.1 * ranked[4]["score"]:
        families = {"fifth": labels[4:5], "rest": labels[5:]}
        found.append((families, "The pipeline gives five labels: ask for all of them."))
    if labels[few:]:
        families = {"many": labels[few:], "best": labels[:1]}
        found.append((families, "Many labels do not make a family likelier."))
    return found


@exercise(
    "03.2",
    "classifier(image, top_k=classifier.model.config.num_labels) gives the score of "
    "every label; without top_k there are five.",
    "Make a dictionary of label and score; scores.get(label, 0) is 0 for a label that "
    "the model does not know.",
)
def check_family(answer, classifier) -> None:
    every = classifier.model.config.num_labels
    for name in ("cat", "owl", "espresso"):
        image = Image.open(NOTEBOOKS / f"data/photographs/{name}.jpg")
        for families, why in tempting(classifier(image, top_k=every)):
            got = answer(image.copy(), {**families}, classifier)
            expected = family(image, families, classifier)
            if got != expected:
                sizes = {key: len(labels) for key, labels in families.items()}
                raise Wrong(
                    f"{name}.jpg, labels per family {sizes}: expected {expected!r}, "
                    f"got {got!r}. {why}"
                )


def cut_out(image: Image.Image, label: str, detector) -> list[Image.Image]:
    """The solution of 03.3: boxes of one label, sorted by their left side, cropped."""
    found = [
        thing["box"]
        for thing in detector(image)
        if thing["label"] == label and thing["score"] >= 0.5
    ]
    sides = ("xmin", "ymin", "xmax", "ymax")
    boxes = sorted(tuple(box[side] for side in sides) for box in found)
    return [image.crop(box) for box in boxes]


def thing(label: str, score: float, *corners: int) -> dict:
    """Return what the pipeline says of one thing."""
    sides = ("xmin", "ymin", "xmax", "ymax")
    return {"label": label, "score": score, "box": dict(zip(sides, corners))}


# What a detector may find in a picture of 60 by 40 pixels, for the label "cup".
FOUND = [
    ([thing("plate", 0.9, 0, 0, 9, 9)], "Nothing of that label is there."),
    ([thing("cup", 0.4, 0, 0, 9, 9)], "A score of 0.4 is below 0.5."),
    ([thing("cup", 0.9, 5, 10, 35, 30)], "A box is xmin, ymin, xmax, ymax."),
    (
        [thing("cup", 0.9, 40, 0, 60, 10), thing("cup", 0.6, 0, 5, 10, 40)],
        "From left to right: the surest is not always the first.",
    ),
]


@exercise(
    "03.3",
    "detector(image) gives the list of things; image.crop takes the box as a tuple "
    "(left, top, right, bottom).",
    "Sort the boxes by their xmin before you crop.",
)
def check_cut_out(answer, detector) -> None:
    grid = torch.arange(40 * 60).reshape(40, 60) % 251
    picture = Image.fromarray(grid.to(torch.uint8).numpy()).convert("RGB")
    scene = Image.open(NOTEBOOKS / "data/scenes/strawberries.png").convert("RGB")
    trials = [
        (picture, "cup", lambda *given, found=found, **options: list(found), why)
        for found, why in FOUND
    ]
    for label in sorted({one["label"] for one in detector(scene)}):
        trials.append((scene, label, detector, "Look at the boxes of each label."))
    for image, label, model, why in trials:
        got, expected = answer(image, label, model), cut_out(image, label, model)
        if len(got) != len(expected):
            raise Wrong(
                f"For {label!r} expected {len(expected)} of them, got {len(got)}. {why}"
            )
        for ours, theirs in zip(expected, got, strict=True):
            if not isinstance(theirs, Image.Image):
                raise Wrong("Expected pictures: image.crop makes one of a box.")
            if ours.size != theirs.size or ours.tobytes() != theirs.tobytes():
                raise Wrong(
                    f"For {label!r} a picture of {ours.size} pixels was expected, and "
                    f"{theirs.size} or another place was cut out. {why}"
                )


def mend(patches: torch.Tensor, size: int, width: int) -> torch.Tensor:
    """The solution of 03.4: name all five sides, then bring them into order."""
    grid = patches.reshape(-1, width // size, patches.shape[1] // size**2, size, size)
    return grid.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)


@exercise(
    "03.4",
    "How many channels? patches.shape[1] // size**2. One patch is "
    "patches[i].reshape(channels, size, size).",
    "Patch i lies in row i // (width // size) and column i % (width // size): fill "
    "torch.zeros(channels, height, width) with one slice after the other.",
)
def check_mend(answer) -> None:
    random = torch.Generator().manual_seed(0)
    for channels, height, width, size in [(3, 8, 8, 4), (3, 8, 12, 2), (1, 6, 3, 3)]:
        pixels = torch.rand(1, channels, height, width, generator=random)
        patches = torch.nn.functional.unfold(pixels, size, stride=size)[0].T
        got, pixels = answer(patches.clone(), size, width), pixels[0]
        shape = tuple(getattr(got, "shape", ()))
        if shape != tuple(pixels.shape):
            raise Wrong(
                f"{len(patches)} patches of {size} and a width of {width} make "
                f"{tuple(pixels.shape)}, got {shape}."
            )
        if sorted(got.flatten().tolist()) != sorted(pixels.flatten().tolist()):
            raise Wrong("Every number of the patches should be there once.")
        if not torch.equal(got, pixels):
            raise Wrong(
                "The numbers are all there, in another order: patches go row by "
                "row, and a patch is its first channel, then the next."
            )
