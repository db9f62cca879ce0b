"""The sentences that labels are put into, by kind of text."""

from __future__ import annotations

import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent

ANY = ["This example is {}."] * 4 + ["This is {}.", "It is {}.", "{}", "Label: {}."]
TEMPLATES = {
    "topic": [
        "This text is about {}.",
        "The topic is {}.",
        "This is about {}.",
        "It deals with {}.",
        "The subject of this text is {}.",
        "This news is about {}.",
    ],
    "feeling": [
        "The author feels {}.",
        "This person expresses {}.",
        "The emotion is {}.",
        "It sounds like {}.",
        "The feeling in this text is {}.",
    ],
    "verdict": [
        "The sentiment is {}.",
        "This review is {}.",
        "The opinion is {}.",
        "What the author says is {}.",
    ],
    "request": [
        "The request is about {}.",
        "The user asks about {}.",
        "The intent is {}.",
        "This is about {}.",
        "The person wants {}.",
    ],
    "kind": [
        "It describes {}.",
        "This text is about {}.",
        "It is a kind of {}.",
        "What is meant is {}.",
    ],
}
NOT = ["This example is not {}.", "This is not {}.", "This text is not about {}."]


def label_table() -> dict:
    """Return labels.toml: `topic`, a list of topics, and `sets`, names of labels."""
    return tomllib.loads((HERE / "labels.toml").read_text("utf-8"))
