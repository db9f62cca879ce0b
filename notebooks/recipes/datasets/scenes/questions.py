"""Questions about composed scenes, whose answers are known exactly.

Seven kinds. Each has wordings for training and others, held out, for the test: a model
that passes has not merely learned sentences by heart.
"""

from __future__ import annotations

import random
import re

from recipes.datasets.scenes.compose import (
    GROUNDS,
    NAMES,
    NUMBERS,
    Scene,
    counted,
    listed,
    plural,
)

APART = 0.2  # of the width: who is further left must be plain to see
KINDS = ("what", "count", "side", "where", "ground", "there", "describe")
PLACES = {"left": (0.0, 0.36), "middle": (0.42, 0.58), "right": (0.64, 1.0)}
PROMPT = "Describe the picture."  # what the task describe-image asks

TRAINING_WORDINGS = {
    "what": [
        "What is in the picture?",
        "What things are in this picture?",
        "What do you see?",
        "Name everything in the picture.",
        "List the things in this image.",
        "Which objects are there?",
        "What can be seen in the image?",
        "Tell me what is in this picture.",
        "What objects are in the scene?",
        "Name the things that you see.",
        "What is drawn here?",
        "What is this?",
    ],
    "count": [
        "How many {many} are there?",
        "How many {many} do you see?",
        "Count the {many}.",
        "How many {many} are in the picture?",
        "What is the number of {many}?",
        "How many {many} does the picture show?",
        "Tell me how many {many} there are.",
        "In this image, how many {many} are there?",
        "How many {many}?",
    ],
    "side": [
        "Which is further {side}, the {a} or the {b}?",
        "Which is more to the {side}: the {a} or the {b}?",
        "What is on the {side}, the {a} or the {b}?",
        "Which one is {side} of the other, the {a} or the {b}?",
        "Is the {a} or the {b} further to the {side}?",
        "Between the {a} and the {b}, which is on the {side}?",
    ],
    "where": [
        "Where is the {a}?",
        "Where do you see the {a}?",
        "Where in the picture is the {a}?",
        "Is the {a} on the left, in the middle or on the right?",
    ],
    "ground": [
        "What colour is the ground?",
        "What color is the background?",
        "Which colour is the ground?",
        "What is the colour of the background?",
        "Name the colour of the ground.",
        "The ground is what colour?",
        "What colour is behind the things?",
        "Tell me the color of the ground.",
        "What color is the ground?",
    ],
    "there": [
        "Is there {one} in the picture?",
        "Do you see {one}?",
        "Can you see {one} here?",
        "Does the picture have {one}?",
        "Is there {one}?",
        "Are there any {many}?",
    ],
    "describe": [
        PROMPT,
        PROMPT,
        "Describe this image in one sentence.",
        "Write a caption.",
        "Describe what you see.",
        "What does the picture show?",
        "Give a short description of the scene.",
    ],
}
TEST_WORDINGS = {
    "what": [
        "Which things can you see in this scene?",
        "List everything that is drawn in the picture.",
        "What is shown here?",
        "Tell me all the objects in the image.",
    ],
    "count": [
        "How many {many} can you count in the scene?",
        "Please count the {many} in this image.",
        "Say how many {many} you can see.",
        "How many {many} are drawn here?",
    ],
    "side": [
        "Of the {a} and the {b}, which stands further to the {side}?",
        "Which of the two is more on the {side}, the {a} or the {b}?",
        "Say which is on the {side}, the {a} or the {b}.",
    ],
    "where": ["Where can the {a} be found?", "Say where the {a} is."],
    "ground": [
        "What colour does the ground have?",
        "Which color do you see in the background?",
        "In what colour is the ground painted?",
        "Say the colour of the background.",
    ],
    "there": [
        "Is {one} shown in this scene?",
        "Does the image show {one}?",
        "Can you find {one} in it?",
    ],
    "describe": [PROMPT],
}


def sentence(scene: Scene) -> str:
    """Return "The picture shows a cat and two dogs on an orange ground."."""
    ground = counted(f"{scene.ground} ground", 1)
    return f"The picture shows {listed(scene)} on {ground}."


def pairs(scene: Scene) -> list[tuple[str, str]]:
    """Return the pairs (left, right) of things that are there once, well apart."""
    once = [thing for thing in scene.in_order() if scene.count(thing.name) == 1]
    least = APART * scene.size
    return [(a.name, b.name) for a in once for b in once if b.x - a.x >= least]


def ask(
    scene: Scene,
    kind: str,
    rng: random.Random,
    wordings: dict[str, list[str]] = TRAINING_WORDINGS,
) -> tuple[str, str] | None:
    """Return (question, answer) of a kind, or None where a scene does not allow it."""
    there = scene.names()
    absent = rng.choice([name for name in NAMES if name not in there])
    if kind == "what":
        answer = listed(scene)
        return rng.choice(wordings[kind]), f"{answer[0].upper()}{answer[1:]}."
    if kind == "ground":
        return rng.choice(wordings[kind]), f"{scene.ground.capitalize()}."
    if kind == "describe":
        return rng.choice(wordings[kind]), sentence(scene)
    if kind in ("count", "there"):
        missing = rng.random() < (0.2 if kind == "count" else 0.5)
        name = absent if missing else rng.choice(there)
        if kind == "count" and not missing and rng.random() < 0.6:
            name = max(there, key=scene.count)  # more often two and three
        question = rng.choice(wordings[kind])
        question = question.format(many=plural(name), one=counted(name, 1))
        if kind == "there":
            return question, "No." if missing else "Yes."
        return question, f"{NUMBERS[scene.count(name)].capitalize()}."
    if kind == "where":
        once = [thing for thing in scene.things if scene.count(thing.name) == 1]
        possible = [
            (thing.name, place)
            for thing in once
            for place, (first, last) in PLACES.items()
            if first <= thing.x / scene.size <= last
        ]
        if not possible:
            return None
        name, place = rng.choice(possible)
        answer = "In the middle." if place == "middle" else f"On the {place}."
        return rng.choice(wordings[kind]).format(a=name), answer
    possible = pairs(scene)
    if not possible:
        return None
    left, right = rng.choice(possible)
    a, b = (left, right) if rng.random() < 0.5 else (right, left)
    side = rng.choice(("left", "right"))
    question = rng.choice(wordings[kind]).format(a=a, b=b, side=side)
    return question, f"The {left if side == 'left' else right}."


def parts(answer: str) -> list[str]:
    """Return the parts of an answer, in lower case and in order of the alphabet."""
    plain = answer.strip().rstrip(".").lower()
    return sorted(re.split(r", (?:and )?| and ", plain))


def right(answer: str, expected: str) -> bool:
    """Return whether an answer is exact; a list may come in any order."""
    return parts(answer) == parts(expected)


DESCRIBED = re.compile(r"The picture shows (.+) on an? (\w+) ground\.")


def describes(answer: str, scene: Scene) -> bool:
    """Return whether a sentence is grammatical and names every thing, and no other.

    Grammatical is checked by the form that was learned: article and name, or number
    and plural, joined by commas and "and"; numbers and colour need not be right.
    """
    match = DESCRIBED.fullmatch(answer.strip())
    if match is None or match[2] not in GROUNDS:
        return False
    known = {
        counted(name, count): name for name in NAMES for count in range(1, len(NUMBERS))
    }
    said = parts(match[1])
    return all(part in known for part in said) and (
        {known[part] for part in said} == set(scene.names())
    )
