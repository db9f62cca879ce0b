"""What the card of whisper-digits says, measured again."""

from __future__ import annotations

from pathlib import Path

from transformers import pipeline

from helpers.models import embedded
from recipes.common.digits import DIGITS
from recipes.datasets import prepare


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return the accuracy on a voice made by another model of this series and, where
    `data` holds fsdd/, on speakers held out, with a new model trained on the others.

    Raises FileNotFoundError without fsdd/ or espeak-ng.
    """
    if not quick:
        prepare.ready("fsdd", data)
    listen = pipeline("audio-classification", model=str(embedded("whisper-digits")))
    speak = pipeline("text-to-speech", model=str(embedded("vits-espeak")))
    right = 0
    for digit, word in enumerate(DIGITS):
        made = speak(word)
        sound = {"raw": made["audio"].squeeze(), "sampling_rate": made["sampling_rate"]}
        right += listen(sound)[0]["label"] == str(digit)
    found = {"accuracy on ten digits spoken by vits-espeak": right / len(DIGITS)}
    if quick:
        return found
    from recipes.whisper_digits import train

    (score,) = train.hold_out(data, [("lucas", "nicolas")]).values()
    return {"accuracy on lucas and nicolas, held out of four": score} | found
