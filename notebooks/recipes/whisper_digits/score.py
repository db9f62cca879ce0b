"""What the card of whisper-digits says, measured again."""

from __future__ import annotations

from pathlib import Path

from transformers import pipeline

from helpers.models import embedded

HERE = Path(__file__).resolve().parent
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return the accuracy on a voice made by another model of this series and, where
    `data` holds fsdd/, on speakers held out, with a new model trained on the others."""
    listen = pipeline("audio-classification", model=str(embedded("whisper-digits")))
    speak = pipeline("text-to-speech", model=str(embedded("vits-espeak")))
    right = 0
    for digit, word in enumerate(WORDS):
        made = speak(word)
        sound = {"raw": made["audio"].squeeze(), "sampling_rate": made["sampling_rate"]}
        right += listen(sound)[0]["label"] == str(digit)
    found = {"accuracy on ten digits spoken by vits-espeak": right / len(WORDS)}
    if quick:
        return found
    if data is None or not (data / "fsdd").is_dir():
        raise FileNotFoundError("the clips of FSDD in DATA/fsdd")
    from recipes.whisper_digits import train

    (score,) = train.check(data / "fsdd", [("lucas", "nicolas")]).values()
    return {"accuracy on lucas and nicolas, held out of four": score} | found
