"""What the card of vits-espeak says, measured again."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from transformers import pipeline

from helpers.models import embedded

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from wer import RATE, heard_by_whisper, word_error_rate


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return how much of fifteen sentences Whisper reads back, and the speed."""
    sentences = (HERE / "sentences.txt").read_text("utf-8").splitlines()
    speak = pipeline("text-to-speech", model=str(embedded("vits-espeak")))
    speak("warm up")
    start = time.perf_counter()
    waves = [speak(sentence)["audio"].squeeze() for sentence in sentences]
    seconds = time.perf_counter() - start
    wrong = word_error_rate(sentences, heard_by_whisper(waves))
    return {
        "1 - word error rate of the embedded Whisper on 15 sentences": 1 - wrong,
        "seconds of sound a second": sum(len(w) for w in waves) / RATE / seconds,
    }
