"""Word error rate, for the cards of the models that hear and speak."""

from __future__ import annotations

import functools

import jiwer
from transformers import pipeline
from transformers.models.whisper.english_normalizer import BasicTextNormalizer

from helpers.models import embedded
from recipes.common.digits import DIGITS

RATE = 16_000
NUMBERS = [*DIGITS, "ten", "eleven", "twelve"]


def normalise(text: str) -> str:
    """Return small letters without marks, small numbers as words: "10" is "ten".

    The library's EnglishTextNormalizer makes one number of several words ("ten two" is
    102), so its words are not those that the cards count.
    """
    words = BasicTextNormalizer()(text).split()
    return " ".join(
        NUMBERS[int(word)] if word.isdigit() and int(word) < len(NUMBERS) else word
        for word in words
    )


def word_error_rate(said: list[str], heard: list[str]) -> float:
    """Return wrong, missing and added words over words said, 0 for none.

    Both are normalised first, with the library's normaliser for Whisper.
    """
    return jiwer.wer([normalise(t) for t in said], [normalise(t) for t in heard])


@functools.cache
def listener():
    """Return the library's pipeline with the embedded Whisper."""
    return pipeline(
        "automatic-speech-recognition", model=str(embedded("whisper-tiny.en"))
    )


def heard_by_whisper(waves: list, prompt: str = "") -> list[str]:
    """Return what the embedded Whisper hears in waves of 16 kHz, one by one, each
    after the text `prompt`."""
    listen, options = listener(), {}
    if prompt:
        ids = listen.tokenizer.get_prompt_ids(prompt, return_tensors="pt")
        options["generate_kwargs"] = {"prompt_ids": ids}
    return [listen({"raw": w, "sampling_rate": RATE}, **options)["text"] for w in waves]
