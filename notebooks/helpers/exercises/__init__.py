"""Exercises that check themselves, and a quiz at the end of each chapter.

`chapter_01.py` beside this file holds the exercises of notebook 01: for each, a
solution and the small function that checks an answer against it. `quiz_01.toml`
holds the questions. No network, no widget: everything works on a static page too.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import signal
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ..errors import HelperError

HERE = Path(__file__).resolve().parent
SECONDS = 120  # that an answer may take
GRADES_VARIABLE = "LEARN_TRANSFORMERS_GRADES"  # names a file for the verdicts


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


def _two_digits(chapter: object) -> str:
    """Return a chapter as the series writes it: 1, "1" and "01" are "01"."""
    return str(chapter).strip().zfill(2)


def _find(number: object) -> tuple[str, Exercise]:
    """Return an exercise's number as the page writes it, and the exercise, loading
    its chapter; HelperError for an unknown one."""
    chapter, dot, rest = str(number).partition(".")
    proper = _two_digits(chapter) + dot + rest
    if (HERE / f"chapter_{_two_digits(chapter)}.py").exists():
        importlib.import_module(f"{__name__}.chapter_{_two_digits(chapter)}")
    if proper not in EXERCISES:
        here = [name for name in EXERCISES if name.startswith(_two_digits(chapter))]
        known = ", ".join(sorted(here)) or "01.1 and so on, a chapter and a number"
        raise HelperError(f"There is no exercise {number!r}. There are: {known}.")
    return proper, EXERCISES[proper]


@contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in an answer that does not end. Only where Python has an
    alarm clock, which is not on Windows and not outside the main thread."""
    main = threading.current_thread() is threading.main_thread()
    if not (main and hasattr(signal, "setitimer")):
        yield
        return

    def ring(*_) -> None:
        raise TimeoutError(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check(number: str, answer: object = ..., *given: object) -> None:
    """Print whether an answer is right, wrong (with a pointer) or still missing.

    `answer` is what the exercise asks for, `...` while it is unanswered; `given` is
    what the checker needs besides, such as a pipeline. Whatever the answer does
    (raise, exit, never end), it is a wrong answer: nothing is raised here but
    HelperError for an unknown exercise, and what a reader's Ctrl-C raises.
    """
    number, found = _find(number)
    verdict, said = _judge(number, found, answer, *given)
    print(f"{number}: {said}")
    if place := os.environ.get(GRADES_VARIABLE):  # grading.py reads it
        with open(place, "a", encoding="utf-8") as file:
            line = {"exercise": number, "verdict": verdict, "said": said}
            file.write(json.dumps(line) + "\n")


def _judge(number: str, found: Exercise, answer: object, *given) -> tuple[str, str]:
    """Return the verdict on an answer (right, wrong or missing), and what to say."""
    if answer is ... or answer is None:
        return "missing", f"not answered yet. hint({number!r}) helps."
    wanted = list(inspect.signature(found.checker).parameters)
    if 1 + len(given) != len(wanted):
        how = ", ".join([f"{number!r}", "answer", *wanted[1:]])
        return "wrong", f"not yet. Call it as the page does: check({how})."
    try:
        with _time_limit(SECONDS):
            found.checker(answer, *given)
    except Wrong as wrong:
        return "wrong", f"not yet. {wrong}"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 (whatever the reader wrote)
        said = (str(error).splitlines() or [""])[0]
        return "wrong", f"not yet. It stopped with {type(error).__name__}: {said}"
    return "right", "right."


def hint(number: str) -> None:
    """Print the next hint of an exercise; after the last, the first again."""
    number, found = _find(number)
    place = found.hints_given % len(found.hints)
    found.hints_given += 1
    print(f"{number}, hint {place + 1} of {len(found.hints)}: {found.hints[place]}")


def questions(chapter: str) -> list[dict]:
    """Return a chapter's questions: `ask`, and `options` of `text`, `right`, `why`."""
    path = HERE / f"quiz_{_two_digits(chapter)}.toml"
    if not path.exists():
        there = ", ".join(
            sorted(p.stem.removeprefix("quiz_") for p in HERE.glob("quiz_*"))
        )
        raise HelperError(
            f"There is no quiz for chapter {chapter!r}. There are: {there}."
        )
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
