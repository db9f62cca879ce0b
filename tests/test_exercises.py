"""Proves that exercises tell right from wrong and missing, and that a quiz explains.

The solved ones are proved by the notebooks in solutions/, whose output is compared;
wrong and right answers to each chapter's exercises are in test_chapter_*.py.
"""

import importlib
import signal
import sys

import nbformat
import pytest
from places import NOTEBOOKS, PATHS

from helpers import check, exercises, hint, quiz
from helpers.errors import HelperError


def said(capsys):
    return capsys.readouterr().out.strip()


for chapter in sorted(exercises.HERE.glob("chapter_*.py")):
    importlib.import_module(f"helpers.exercises.{chapter.stem}")


@pytest.mark.parametrize("number", sorted(exercises.EXERCISES))
@pytest.mark.parametrize("nothing", [..., None])
def test_an_unanswered_exercise_never_raises(capsys, number, nothing):
    check(number, nothing)
    assert said(capsys) == f"{number}: not answered yet. hint('{number}') helps."


def test_hints_come_one_after_another(capsys):
    exercises.EXERCISES["01.2"].hints_given = 0
    for _ in range(3):
        hint("01.2")
    first, second, again = said(capsys).splitlines()
    assert first.startswith("01.2, hint 1 of 2")
    assert second.startswith("01.2, hint 2 of 2")
    assert again == first


@pytest.mark.parametrize("number", ["01.9", "99.1", "", 7.7, None])
def test_an_unknown_exercise_is_said(number):
    with pytest.raises(HelperError, match="There is no exercise"):
        check(number, 1)


def test_an_unknown_quiz_is_said():
    with pytest.raises(HelperError, match="no quiz for chapter '77'"):
        quiz("77")


@pytest.mark.parametrize("path", sorted(exercises.HERE.glob("quiz_*.toml")))
def test_a_quiz_has_five_questions_and_a_reason_for_each_option(path):
    asked = exercises.questions(path.stem.removeprefix("quiz_"))
    assert len(asked) == 5
    for question in asked:
        right = [option for option in question["options"] if option.get("right")]
        assert len(right) == 1, question["ask"]
        assert len(question["options"]) >= 3
        assert all(option["why"] for option in question["options"])
    places = {
        [bool(o.get("right")) for o in question["options"]].index(True)
        for question in asked
    }
    assert len(places) > 1, "the right answer always stands in the same place"


@pytest.mark.parametrize("path", [p for p in PATHS if p.parent.name == "solutions"])
def test_every_exercise_of_a_chapter_is_solved(path):
    chapter = NOTEBOOKS / path.name
    outputs = "".join(
        output.get("text", "")
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
    )
    source = chapter.read_text("utf-8")
    for number in exercises.EXERCISES:
        if path.name.startswith(number[:2]):
            assert f'check(\\"{number}\\"' in source
            assert f"{number}: right." in outputs


def leaves():
    sys.exit(3)


def never_ends():
    while True:
        pass


class Odd:
    """An answer that fails wherever it is touched."""

    def __iter__(self):
        raise RecursionError("so deep")

    def __repr__(self):
        raise ValueError("no picture of it")


@pytest.mark.parametrize(
    ("what", "answer", "words"),
    [
        ("exits", lambda values: leaves(), "It stopped with SystemExit: 3"),
        ("returns something odd", lambda values: Odd(), "RecursionError: so deep"),
        ("is something odd", Odd(), "TypeError"),
        ("raises what is no Exception", lambda values: 1 / 0, "ZeroDivisionError"),
        ("wants other arguments", dict, "TypeError"),
    ],
)
def test_whatever_an_answer_does_is_one_line(capsys, what, answer, words, record_fault):
    check("01.2", answer)
    out = said(capsys)
    assert out.startswith("01.2: not yet. ")
    assert words in out
    assert "\n" not in out
    record_fault(f"an answer to an exercise {what}", out)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarm clock")
def test_an_answer_that_never_ends_is_stopped(capsys, monkeypatch, record_fault):
    monkeypatch.setattr(exercises, "SECONDS", 0.5)
    check("01.2", lambda values: never_ends())
    out = said(capsys)
    assert "It stopped with TimeoutError: no end after 0.5 s" in out
    record_fault("an answer to an exercise never ends", out)


def test_a_forgotten_argument_is_named(capsys):
    check("01.3", lambda texts: [])
    assert "Call it as the page does: check('01.3', answer, classifier)" in said(capsys)


@pytest.mark.parametrize("number", ["1.1", 1.1, "01.1", " 1.1"])
def test_a_number_is_understood(capsys, number):
    hint(number)
    assert said(capsys).startswith("01.1, hint ")


@pytest.mark.parametrize("chapter", [1, "1", "01"])
def test_a_chapter_is_understood(chapter):
    assert exercises.questions(chapter) == exercises.questions("01")
