"""The exercises of notebook 04: for each its solution, then its checker."""

from __future__ import annotations

import math
import re

import numpy as np

from ..audio import RATE, sound
from ..catalogue import NOTEBOOKS
from . import Wrong, exercise

TOUR = NOTEBOOKS / "data" / "tour"


def clip(name: str) -> np.ndarray:
    """Return a recording of the tour, 16,000 samples per second."""
    return sound(TOUR / name)["raw"]


def transcribe(samples: np.ndarray, rate: int, listener) -> str:
    """The solution of 04.1: `sound` averages channels and resamples."""
    return listener(sound(samples, rate)["raw"])["text"].strip()


def recordings() -> dict[str, tuple[np.ndarray, int]]:
    """Return one recording in three forms: what it is, its samples and their rate."""
    import soxr

    cards = clip("cards.ogg")
    slow, quick = soxr.resample(cards, RATE, 8_000), soxr.resample(cards, RATE, 44_100)
    return {
        "one channel at 8,000 Hz": (slow, 8_000),
        "two channels at 44,100 Hz": (np.stack([quick, quick], axis=1), 44_100),
        "two channels, the voice in the second alone": (
            np.stack([np.zeros_like(cards), cards], axis=1),
            RATE,
        ),
    }


@exercise(
    "04.1",
    "sound(samples, rate) averages the channels and resamples to 16,000 Hz.",
    'listener(sound(samples, rate)["raw"])["text"]',
)
def check_transcribe(answer, listener) -> None:
    for what, (samples, rate) in recordings().items():
        found, expected = (
            answer(samples.copy(), rate),
            transcribe(samples, rate, listener),
        )
        if not isinstance(found, str):
            raise Wrong(f"Expected a text, got {found!r}.")
        if found.strip() != expected:
            raise Wrong(f"{what}: expected {expected!r}, got {found.strip()!r}.")


def word_errors(said: str, heard: str) -> float:
    """The solution of 04.2: the edit distance between two lists of words."""
    said, heard = (re.findall(r"[a-z0-9']+", text.lower()) for text in (said, heard))
    before = list(range(len(heard) + 1))
    for i, word in enumerate(said, start=1):
        row = [i]
        for j, other in enumerate(heard, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (word != other)))
        before = row
    return before[-1] / len(said)


@exercise(
    "04.2",
    "Let distance[i][j] be the fewest changes between the first i words said and the "
    "first j heard. distance[i][0] is i, and distance[0][j] is j.",
    "distance[i][j] is the least of: one above + 1, one to the left + 1, and the one "
    "above to the left, + 1 if the two words differ.",
    "Divide the last number by how many words were said. Lower case first, and leave "
    'the punctuation out: re.findall(r"[a-z0-9\']+", text.lower()).',
)
def check_word_errors(answer) -> None:
    for said, heard in [
        ("Good morning.", "good morning"),
        ("A pipeline is one idea.", "I've lined this one idea"),
        ("Open the door", "Open door"),
        ("Open the door", "Open up the red door"),
        ("one two three four", "two three four one"),
        ("nine", "Thank you."),
        ("nine", ""),
    ]:
        got, expected = answer(said, heard), word_errors(said, heard)
        if not math.isclose(got, expected, abs_tol=1e-6):
            raise Wrong(
                f"{said!r} heard as {heard!r}: expected {expected:.3f}, got {got}."
            )


def choose(rows: list[dict], data: str, most: int) -> str | None:
    """The solution of 04.3: what may be used, fits and was measured on the data."""
    fit = [
        row
        for row in rows
        if row["licence"]
        and "NC" not in row["licence"]
        and row["mb"] <= most
        and row["data"] == data
    ]
    return max(fit, key=lambda row: row["score"])["name"] if fit else None


def checkpoint(name: str, licence: str | None, mb: int, data: str, score: float):
    """Return one row of 04.3."""
    return {"name": name, "licence": licence, "mb": mb, "data": data, "score": score}


OFFERS = [
    checkpoint("small", "MIT", 90, "SST-2", 0.889),
    checkpoint("middle", "Apache-2.0", 268, "SST-2", 0.911),
    checkpoint("large", "MIT", 1_400, "SST-2", 0.964),
    checkpoint("free for study", "CC BY-NC 4.0", 200, "SST-2", 0.95),
    checkpoint("found somewhere", None, 120, "SST-2", 0.94),
    checkpoint("other data", "MIT", 100, "our own tweets", 0.99),
    checkpoint("share alike", "CC BY-SA 4.0", 150, "AG News", 0.80),
]


@exercise(
    "04.3",
    "Go through the rows and keep those of which all four are true: there is a "
    "licence, it has no NC, `mb` is small enough, and `data` is the data asked for.",
    'max(kept, key=lambda row: row["score"])["name"], or None where nothing is kept.',
)
def check_choose(answer) -> None:
    reasons = {
        "found somewhere": "without a licence nobody may use it",
        "free for study": "NC forbids the use in a shop",
        "other data": "its score was measured on other data",
        "large": "it is larger than what fits",
    }
    for data, most in [
        ("SST-2", 300),
        ("SST-2", 268),
        ("SST-2", 2_000),
        ("SST-2", 100),
        ("AG News", 300),
        ("AG News", 100),
    ]:
        found = answer([dict(row) for row in OFFERS], data, most)
        expected = choose(OFFERS, data, most)
        if found != expected:
            why = reasons.get(found, "is it the best score among what is left?")
            raise Wrong(
                f"For {data} and at most {most} MB expected {expected!r}, "
                f"got {found!r}: {why}."
            )


def spoken_digits(audio: np.ndarray, digits) -> list[str]:
    """The solution of 04.4: cut where it is quiet for long enough, ask about each."""
    frames = np.abs(audio[: len(audio) // 320 * 320]).reshape(-1, 320).max(axis=1)
    loud = np.flatnonzero(frames > 0.05 * frames.max())  # of 20 milliseconds each
    pieces = np.split(loud, np.flatnonzero(np.diff(loud) > 10) + 1)
    cut = [audio[320 * piece[0] : 320 * (piece[-1] + 1)] for piece in pieces]
    return [digits(one)[0]["label"] for one in cut]


def row_of(names: list[str], pause: float, noise: float) -> np.ndarray:
    """Return clips one after another, with a pause before, between and after them."""
    chance = np.random.default_rng(len(names))
    quiet = np.zeros(int(pause * RATE), "float32")
    parts = [quiet]
    for name in names:
        parts += [clip(f"{name}.wav"), quiet]
    audio = np.concatenate(parts)
    return (audio + noise * chance.normal(size=len(audio))).astype("float32")


@exercise(
    "04.4",
    "Cut the sound into frames of 20 milliseconds: audio[:n].reshape(-1, 320). A frame "
    "is loud where its largest number is above a twentieth of the whole sound's.",
    "numpy.flatnonzero gives the places of the loud frames; a new digit begins where "
    "two of them are more than ten frames apart: numpy.split cuts there.",
    'Ask about each piece: digits(piece)[0]["label"].',
)
def check_spoken_digits(answer, digits) -> None:
    names = ["five", "nine"]
    label = {name: digits(clip(f"{name}.wav"))[0]["label"] for name in names}
    for row, pause, noise in [
        (["five"], 0.4, 0.0),
        (["nine", "five", "nine"], 0.5, 0.0),
        (["five", "nine", "nine", "five"], 0.4, 0.002),
        (["nine", "nine"], 0.7, 0.002),
    ]:
        found = answer(row_of(row, pause, noise))
        expected = [label[name] for name in row]
        if not isinstance(found, (list, tuple)):
            raise Wrong(f"Expected a list of labels, got {found!r}.")
        if list(found) != expected:
            faint = ", with a faint noise in the pauses" if noise else ""
            raise Wrong(
                f"{len(row)} digits with pauses of {pause} seconds{faint}: expected "
                f"{expected}, got {list(found)}."
            )
