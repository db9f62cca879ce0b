"""What the card of whisper-tiny.en says, measured again."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from recipes.common.speech_scores import heard_by_whisper, word_error_rate
from recipes.datasets import prepare

NAME = "1 - word error rate on 25 recorded words"
APART, AT_ONCE = f"{NAME}, in six clips", f"{NAME}, in one"
AFTER = f"{NAME}, in six clips, each prompted with what was heard before it"


def recordings(folder: Path) -> tuple[list[np.ndarray], list[str]]:
    """Return waves of 16 kHz and what is said in them; `folder` is the data set's."""
    cards = next(folder.rglob("cards.transcription"))
    waves, said = [], []
    for line in cards.read_text("utf-8").splitlines():
        words, name = line.rsplit("(", 1)
        said.append(words.replace("<s>", "").replace("</s>", "").strip())
        with wave.open(str(cards.with_name(f"{name.rstrip(')')}.wav"))) as file:
            waves.append(file.readframes(file.getnframes()))
    said.append("go forward ten meters")
    waves.append((cards.parent.parent / "goforward.raw").read_bytes())
    waves = [np.frombuffer(data, "<i2").astype("float32") / 32768 for data in waves]
    return waves, said


def one_after_the_other(waves: list[np.ndarray]) -> list[str]:
    """Return what is heard in each, with all that was heard before it as the prompt,
    as its authors' program goes through a long recording."""
    heard = []
    for recording in waves:
        before = " ".join(text.strip() for text in heard)
        heard += heard_by_whisper([recording], prompt=before)
    return heard


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return the share of words heard right: of the six recordings one by one, one
    after the other, and of all of them behind each other, 12 seconds. `data` holds
    pocketsphinx/; without it, to be quick, nothing is measured."""
    if quick:
        return {}
    waves, said = recordings(prepare.ready("pocketsphinx", data))
    heard = heard_by_whisper([*waves, np.concatenate(waves)])
    return {
        APART: 1 - word_error_rate(said, heard[:-1]),
        AFTER: 1 - word_error_rate(said, one_after_the_other(waves)),
        AT_ONCE: 1 - word_error_rate([" ".join(said)], heard[-1:]),
    }
