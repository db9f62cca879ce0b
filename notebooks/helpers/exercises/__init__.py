"""Exercises that check themselves, and a quiz at the end of each chapter.

`chapter_01.py` beside this file holds the exercises of notebook 01: for each, a
solution and the small function that checks an answer against it. `quiz_01.toml`
holds the questions. No network, no widget: everything works on a static page too.
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ..errors import HelperError

HERE = Path(__file__).resolve().parent


class Wrong(Exception):
    """Raised by a checker: what is wrong, as a pointer to what to look at."""


@dataclass
class Exercise:
    """One exercise: its checker raises Wrong, or any error of the answer's own."""

    checker: Callable
    hints: tuple[str, ...]
    hints_given: int = 0


EXERCISES: dict[str, Exercise] = {}


def exercise(number: str, *hints: str) -> Callable:
    """Register the decorated function as the checker of exercise `number`."""

    def register(checker: Callable) -> Callable:
        EXERCISES[number] = Exercise(checker, hints)
        return checker

    return register


def _find(number: str) -> Exercise:
    """Return an exercise, loading its chapter; HelperError for an unknown one."""
    chapter = number.split(".")[0] if isinstance(number, str) else ""
    if (HERE / f"chapter_{chapter}.py").exists():
        importlib.import_module(f"{__name__}.chapter_{chapter}")
    if number not in EXERCISES:
        known = ", ".join(sorted(EXERCISES)) or "none in this chapter"
        raise HelperError(f"There is no exercise {number!r}. There are: {known}.")
    return EXERCISES[number]


def check(number: str, answer: object = ..., *given: object) -> None:
    """Print whether an answer is right, wrong (with a pointer) or still missing.

    `answer` is what the exercise asks for, `...` while it is unanswered; `given` is
    what the checker needs besides, such as a pipeline. An answer that raises is a
    wrong answer: nothing is raised here but HelperError for an unknown exercise.
    """
    checker = _find(number).checker
    if answer is ... or answer is None:
        print(f"{number}: not answered yet. hint({number!r}) helps.")
        return
    try:
        checker(answer, *given)
    except Wrong as wrong:
        print(f"{number}: not yet. {wrong}")
    except Exception as error:  # noqa: BLE001 (whatever the reader wrote)
        said = (str(error).splitlines() or [""])[0]
        print(f"{number}: not yet. It stopped with {type(error).__name__}: {said}")
    else:
        print(f"{number}: right.")


def hint(number: str) -> None:
    """Print the next hint of an exercise; after the last, the first again."""
    found = _find(number)
    place = found.hints_given % len(found.hints)
    found.hints_given += 1
    print(f"{number}, hint {place + 1} of {len(found.hints)}: {found.hints[place]}")


def questions(chapter: str) -> list[dict]:
    """Return a chapter's questions: `ask`, and `options` of `text`, `right`, `why`."""
    path = HERE / f"quiz_{chapter}.toml"
    if not path.exists():
        raise HelperError(f"There is no quiz for chapter {chapter!r}.")
    return tomllib.loads(path.read_text("utf-8"))["question"]


def quiz(chapter: str) -> None:
    """Show a chapter's questions; a click on an option tells whether it is right.

    Plain HTML, so that it works in JupyterLab, in Colab and on a static page.
    """
    from IPython.display import HTML, display

    parts = []
    for number, question in enumerate(questions(chapter), start=1):
        parts.append(f"<p><b>{number}. {escape(question['ask'])}</b></p>")
        for option in question["options"]:
            verdict = "Right" if option.get("right") else "Wrong"
            parts.append(
                f"<details><summary>{escape(option['text'])}</summary>"
                f"<p><b>{verdict}.</b> {escape(option['why'])}</p></details>"
            )
    display(HTML("\n".join(parts)))
