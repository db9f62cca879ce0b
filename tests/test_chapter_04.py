"""Proves what notebook 04 claims beyond its own asserts: its table of costs is whole,
its wrong inputs end in one line, its widget takes a recording, its exercises point.

The cells are taken from the notebook as it stands, so that the page is what is tested.
"""

import datetime

import ipywidgets
import numpy as np
import pages
import pytest
import soxr
from places import NOTEBOOKS
from transformers import logging
from verdicts import assert_pointer
from wrong_inputs import A_TEXT, wav

from experiments import task_costs
from experiments.tables import read_table
from helpers import check, explore, sound, widgets
from helpers.exercises import chapter_04

CELLS = pages.page("04_sound_tasks")


@pytest.fixture(scope="module")
def listener(pipe):
    """The page's listener, which hears the same sound once: it takes two seconds."""
    task, heard = pipe("automatic-speech-recognition", dtype="float32"), {}

    def listen(audio):
        key = audio.tobytes(), audio.shape
        if key not in heard:
            heard[key] = task(audio)
        return heard[key]

    return listen


@pytest.fixture(scope="module")
def digits(pipe):
    return pipe("audio-classification")


# --- the table of costs ---------------------------------------------------------


def test_the_table_of_costs_has_all_thirteen_tasks():
    rows = read_table(task_costs.STORE)
    assert [row["task"] for row in rows] == ["libraries", *task_costs.TASKS]
    assert len(task_costs.TASKS) == 13
    for row in rows[1:]:
        assert int(row["parameters"]) > 1e6
        assert 0 < float(row["answer"]) < 20
        assert float(rows[0]["gb"]) < float(row["gb"]) < 2.5


@pytest.mark.model
def test_a_row_of_the_table_is_measured_again():
    stored = {row["task"]: row for row in read_table(task_costs.STORE)}
    again = task_costs.measure("text-to-speech")
    row = stored["text-to-speech"]
    assert again["parameters"] == int(row["parameters"])
    assert again["gb"] == pytest.approx(float(row["gb"]), rel=0.5)


# --- wrong inputs and the widget ------------------------------------------------


def test_an_outcome_is_one_short_line():
    source = pages.definitions(CELLS["wrong-def"])
    outcome = pages.run({"def": source}, ["def"], {})["outcome"]

    def fails(given):
        raise ValueError(f"not {given},\nand more\n" + "x" * 200)

    for run in (fails, lambda given: "a\n" * 100):
        assert len(outcome(run, 7)) <= 200
        assert "\n" not in outcome(run, 7)
    assert outcome(fails, 7).startswith("ValueError: not 7, and more")


UPLOADS = [
    (wav(chapter_04.clip("cards.ogg")), "", "heard: Eight of spades"),
    (A_TEXT, "LibsndfileError", ""),
    (wav(np.zeros(0, "float32")), "HelperError", ""),
]


@pytest.mark.model
@pytest.mark.parametrize(("content", "error", "title"), UPLOADS)
def test_the_widget_takes_a_recording_or_says_one_line(
    content, error, title, listener, pipe, monkeypatch, capsys, record_fault
):
    logging.set_verbosity_error()
    titles = []
    monkeypatch.setattr(
        "helpers.figures.chapter_04.plot_sound", lambda audio, text: titles.append(text)
    )
    names = {"listener": listener, "speaker": pipe("text-to-speech")}
    source = pages.definitions(CELLS["try"])
    draw = pages.run({"try": source}, ["try"], names)["draw"]
    shown = []
    monkeypatch.setattr(widgets, "interactive", lambda: True)
    monkeypatch.setattr("IPython.display.display", shown.append)
    explore(draw, text="Open the window.", file=lambda: ipywidgets.FileUpload())
    assert titles[0].startswith("heard: ")
    capsys.readouterr()
    shown[0].children[1].value = (
        {
            "name": "file",
            "type": "",
            "size": len(content),
            "content": memoryview(content),
            "last_modified": datetime.datetime(2026, 1, 1),
        },
    )
    said = capsys.readouterr().out
    if error:
        last = said.splitlines()[-1].split("\x1b[2K")[-1]
        assert last.startswith(error), said
        assert "Traceback" not in said
        record_fault("an upload that is no sound", last)
    else:
        assert titles[-1].startswith(title)


# --- the exercises --------------------------------------------------------------


def said(capsys):
    return capsys.readouterr().out.strip()


def at_that_rate(samples, rate):
    """Resample, and forget that a recording may have two channels."""
    return soxr.resample(samples, rate, 16_000)


def as_it_comes(text, other):
    """Forget that case and punctuation do not count."""
    return chapter_04.word_errors("x".join(text.split()), other)


def by_place(said, heard):
    """Compare word by word, so that one dropped word makes all that follow wrong."""
    pairs = zip(said.lower().split(), heard.lower().split(), strict=False)
    return sum(a.strip(".") != b.strip(".") for a, b in pairs) / len(said.split())


def best(rows, data, most):
    """The best score, whatever it was measured on."""
    kept = [row for row in rows if row["mb"] <= most and row["licence"] == "MIT"]
    return max(kept, key=lambda row: row["score"])["name"] if kept else None


def unlicensed(rows, data, most):
    """Take what has no licence for free."""
    kept = [row for row in rows if row["data"] == data and row["mb"] <= most]
    kept = [row for row in kept if "NC" not in str(row["licence"])]
    return max(kept, key=lambda row: row["score"])["name"] if kept else None


def below(rows, data, most):
    """Leave out what has just as many megabytes as are allowed."""
    kept = [row for row in rows if row["mb"] < most]
    return chapter_04.choose(kept, data, most)


def choose_by_sorting(rows, data, most):
    """04.3 in another way, right as well."""
    for row in sorted(rows, key=lambda row: -row["score"]):
        free = row["licence"] and "NC" not in row["licence"]
        if free and row["data"] == data and row["mb"] <= most:
            return row["name"]
    return None


def word_errors_with_a_table(said, heard):
    """04.2 in another way, right as well."""
    clean = str.maketrans("", "", ".,!?")
    a, b = (text.lower().translate(clean).split() for text in (said, heard))
    table = np.zeros((len(a) + 1, len(b) + 1))
    table[:, 0], table[0, :] = range(len(a) + 1), range(len(b) + 1)
    for i in range(len(a)):
        for j in range(len(b)):
            table[i + 1, j + 1] = min(
                table[i, j + 1] + 1, table[i + 1, j] + 1, table[i, j] + (a[i] != b[j])
            )
    return table[-1, -1] / len(a)


WRONG = [
    ("04.2", lambda said, heard: 0.0, "expected 0.600"),
    ("04.2", as_it_comes, "expected"),
    ("04.2", by_place, "'one two three four' heard as"),
    ("04.2", lambda said, heard: 1 / 0, "It stopped with ZeroDivisionError"),
    ("04.3", best, "its score was measured on other data"),
    ("04.3", unlicensed, "without a licence nobody may use it"),
    ("04.3", below, "For SST-2 and at most 268 MB expected 'middle'"),
    ("04.3", lambda rows, data, most: "small", "is it the best score"),
]


@pytest.mark.parametrize(("number", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_a_pointer(capsys, number, answer, words):
    check(number, answer)
    out = said(capsys)
    assert_pointer(out, number, words)


def test_two_right_answers_are_accepted(capsys):
    for answer in (chapter_04.word_errors, word_errors_with_a_table):
        check("04.2", answer)
    for answer in (chapter_04.choose, choose_by_sorting):
        check("04.3", answer)
    lines = said(capsys).splitlines()
    assert lines == ["04.2: right."] * 2 + ["04.3: right."] * 2


@pytest.mark.model
def test_what_the_listener_must_be_given(capsys, listener):
    def by_hand(samples, rate):
        mono = samples if samples.ndim == 1 else samples.mean(axis=1)
        return listener(soxr.resample(mono, rate, 16_000).astype("float32"))["text"]

    def left(samples, rate):
        samples = samples if samples.ndim == 1 else samples[:, 0]
        return listener(sound(samples.copy(), rate)["raw"])["text"]

    wrong = {
        "one channel at 8,000 Hz: expected": lambda s, r: listener(s)["text"],
        "It stopped with": lambda s, r: listener(at_that_rate(s, r))["text"],
        "in the second alone": left,
        "Expected a text": lambda s, r: listener(sound(s, r)["raw"]),
    }
    for words, answer in wrong.items():
        check("04.1", answer, listener)
        out = said(capsys)
        assert out.startswith("04.1: not yet.") and words in out, out
    for answer in (by_hand, lambda s, r: chapter_04.transcribe(s, r, listener)):
        check("04.1", answer, listener)
        assert said(capsys) == "04.1: right."


@pytest.mark.model
def test_how_a_row_of_digits_may_be_cut(capsys, digits):
    def label(piece):
        return digits(piece.copy())[0]["label"]

    def exact_zeros(audio):
        """Cut where the numbers are 0, which no microphone gives."""
        loud = np.flatnonzero(audio)
        cut = np.split(loud, np.flatnonzero(np.diff(loud) > 3_200) + 1)
        return [label(audio[piece[0] : piece[-1] + 1]) for piece in cut]

    def no_twins(audio):
        """Drop a digit that is like the one before it."""
        found = chapter_04.spoken_digits(audio, digits)
        return [d for i, d in enumerate(found) if i == 0 or found[i - 1] != d]

    def smooth(audio):
        """Another way: a mean over 100 milliseconds, and the edges of what is loud."""
        level = np.convolve(np.abs(audio), np.ones(1_600) / 1_600, "same")
        edges = np.diff((level > 0.1 * level.max()).astype(int), prepend=0, append=0)
        ends = zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True)
        long = [(a, b) for a, b in ends if b - a > 1_600]
        return [label(audio[max(0, a - 800) : b + 800]) for a, b in long]

    for answer, words in (
        (exact_zeros, "with a faint noise"),
        (no_twins, "4 digits with pauses"),
        (lambda audio: label(audio), "Expected a list"),
    ):
        check("04.4", answer, digits)
        out = said(capsys)
        assert out.startswith("04.4: not yet.") and words in out, out
    for answer in (smooth, lambda audio: chapter_04.spoken_digits(audio, digits)):
        check("04.4", answer, digits)
        assert said(capsys) == "04.4: right."


def test_the_tour_lies_where_the_page_looks():
    for name in ("cards.ogg", "nine.wav", "five.wav"):
        assert (NOTEBOOKS / "data" / "tour" / name).exists()
