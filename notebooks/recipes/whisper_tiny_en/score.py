"""What the card of whisper-tiny.en says, measured again."""

from __future__ import annotations

import hashlib
import io
import tarfile
import wave
from pathlib import Path

import numpy as np

from recipes.common.speech_scores import heard_by_whisper, word_error_rate

SOURCE = "pocketsphinx-5.1.1.tar.gz"
SHA256 = "675778b309a22dfc9b7d37f7621976bba491d2a5f8c59696bd77fd6d07271355"
NAME = "1 - word error rate on 25 recorded words"
APART, AT_ONCE = f"{NAME}, in six clips", f"{NAME}, in one"
AFTER = f"{NAME}, in six clips, each prompted with what was heard before it"
FOLDER = "pocketsphinx-5.1.1/test/data"


def recordings(archive: Path) -> tuple[list[np.ndarray], list[str]]:
    """Return waves of 16 kHz and what is said in them."""
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"{archive.name} is not the file it should be: wrong sha256")
    waves, said = [], []
    with tarfile.open(archive) as tar:

        def read(name: str) -> bytes:
            return tar.extractfile(f"{FOLDER}/{name}").read()

        for line in read("cards/cards.transcription").decode().splitlines():
            words, name = line.rsplit("(", 1)
            said.append(words.replace("<s>", "").replace("</s>", "").strip())
            with wave.open(io.BytesIO(read(f"cards/{name.rstrip(')')}.wav"))) as file:
                waves.append(file.readframes(file.getnframes()))
        said.append("go forward ten meters")
        waves.append(read("goforward.raw"))
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
    the package's source."""
    if quick:
        return {}
    if data is None or not (data / SOURCE).exists():
        raise FileNotFoundError(f"{SOURCE}, the package's source, in DATA")
    waves, said = recordings(data / SOURCE)
    heard = heard_by_whisper([*waves, np.concatenate(waves)])
    return {
        APART: 1 - word_error_rate(said, heard[:-1]),
        AFTER: 1 - word_error_rate(said, one_after_the_other(waves)),
        AT_ONCE: 1 - word_error_rate([" ".join(said)], heard[-1:]),
    }
