"""What the card of vits-espeak says, measured again."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from transformers import pipeline

from helpers.models import embedded
from recipes.common.speech_scores import RATE, heard_by_whisper, word_error_rate

HERE = Path(__file__).resolve().parent
SPEED = "seconds of sound a second of one core's time"
ERRORS = "1 - word error rate of the embedded Whisper on 15 sentences"


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return how much of fifteen sentences Whisper reads back, which takes a minute
    and is left out where it is to be `quick`, and the speed, by the processor's clock
    in one thread, so that other programs do not count."""
    sentences = (HERE / "sentences.txt").read_text("utf-8").splitlines()
    speak = pipeline("text-to-speech", model=str(embedded("vits-espeak")))
    speak("warm up")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    start = time.process_time()
    waves = [speak(sentence)["audio"].squeeze() for sentence in sentences]
    seconds = time.process_time() - start
    torch.set_num_threads(threads)
    found = {SPEED: sum(len(wave) for wave in waves) / RATE / seconds}
    if quick:
        return found
    return {ERRORS: 1 - word_error_rate(sentences, heard_by_whisper(waves))} | found
