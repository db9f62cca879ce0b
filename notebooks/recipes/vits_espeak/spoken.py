"""The speech that vits-espeak learns from: texts spoken by espeak-ng, and their times.

`make(data, work)` writes waves, log-mel spectrograms and, for each line, its letters,
how long each lasts and which phonemes it stands for; `SpokenLines(work)` reads them.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers.audio_utils import mel_filter_bank

from recipes.common.espeak import Espeak
from recipes.datasets import intents
from recipes.vits_espeak.letter_alignment import Aligner, letter_starts, words_of
from recipes.vits_espeak.tokenizer import new_tokenizer

SEED = 0
RATE, HOP, WINDOW, MELS = 16_000, 256, 1024, 80  # Whisper hears 16 kHz too
# Whisper reads espeak-ng's own voice with 19 to 24 words wrong of 100 at its usual
# settings, and with 7 to 8 when words stand a little apart and are spoken slowly.
VOICE = {"voice": "en-us", "speed": 130, "pitch": 40, "range_": 50, "gap": 2}
SENTENCES, STRINGS = 5000, 5000
WORDS = 8000  # different words from which the letters' phonemes are counted
QUIET = 16  # frames of silence at both ends, a quarter of a second
CHUNKS = 300  # kinds of phonemes that one letter can stand for
HELD_OUT = 100  # lines
FRAMES = 5000  # a batch, in frames of 16 ms


def mel_of(wave: torch.Tensor) -> torch.Tensor:
    """Return the log-mel spectrogram, (..., samples) to (..., MELS, frames)."""
    spectrum = torch.stft(
        wave, WINDOW, HOP, window=torch.hann_window(WINDOW), return_complex=True
    ).abs()
    bank = mel_filter_bank(
        WINDOW // 2 + 1, MELS, 0, RATE / 2, RATE, norm="slaney", mel_scale="slaney"
    )
    mel = torch.from_numpy(bank.T).float() @ spectrum
    return torch.log(mel.clamp(min=1e-5))[..., :-1]


def sentences(data: Path) -> list[str]:
    """Return requests and questions of 3 to 16 words, in a random order."""
    table = intents.clinc150(data)
    found = [text for split in ("train", "oos_train") for text, _ in table[split]]
    found += [text for text, _ in intents.banking77(data)]
    found = sorted({line for line in found if 3 <= len(line.split()) <= 16})
    random.shuffle(found)
    return found[:SENTENCES]


def word_strings() -> list[str]:
    """Return strings of words, drawn by how often they are used.

    Raises FileNotFoundError without the package wordfreq.
    """
    try:
        from wordfreq import top_n_list, zipf_frequency
    except ImportError as error:
        raise FileNotFoundError(
            "The package wordfreq is not here: python -m pip install wordfreq"
        ) from error
    words = [w for w in top_n_list("en", 40_000) if w.isascii() and w.isalpha()]
    words = [w for w in words if len(w) > 1 or w in "ai"]
    # Rare words are drawn more often than they are used: they need the practice.
    weights = [10 ** (0.45 * zipf_frequency(w, "en")) for w in words]
    strings = []
    for _ in range(STRINGS):
        picked = random.choices(words, weights, k=random.randint(4, 9))
        mark = random.choices(" .?!", [6, 2, 1, 1])[0].strip()
        if len(picked) > 5 and random.random() < 0.3:
            picked[random.randint(1, 4)] += ","
        strings.append(" ".join(picked) + mark)
    return strings


def aligned(
    texts: list[str], say: Callable[[str], tuple[np.ndarray, list[tuple]]]
) -> list[tuple[str, np.ndarray, list[int], list[str]]]:
    """Return (text, sound, sample where each letter begins, its phonemes) of the texts
    that espeak reads as they are written."""
    spoken = []
    for line in texts:
        sound, events = say(line)
        if words := words_of(line, events, len(sound)):
            spoken.append((line, sound, words))
    pairs = {
        (line[first:last], tuple(p for p, _ in phonemes))
        for line, _, words in spoken
        for first, last, phonemes, _ in words
    }
    aligner = Aligner()
    aligner.fit(random.sample(sorted(pairs), min(WORDS, len(pairs))))
    lines = []
    for line, sound, words in spoken:
        if found := letter_starts(line, words, aligner, len(sound)):
            lines.append((line, sound, *found))
    print(f"{len(lines)} lines of {len(spoken)}", flush=True)
    return lines


def framed(
    sound: np.ndarray, starts: list[int], rate: int
) -> tuple[np.ndarray, list[int]] | None:
    """Return a wave at RATE with silence at both ends and how many frames each letter
    lasts, the silences too; None where the letters do not fit into the sound."""
    import soxr

    wave = soxr.resample(sound.astype(np.float32) / 32768, rate, RATE)
    frames = len(wave) // HOP
    edges = [round(start * RATE / rate / HOP) for start in starts] + [frames]
    for i in range(1, len(edges)):  # each letter lasts a frame at least
        edges[i] = max(edges[i], edges[i - 1] + 1)
    if edges[0] > 2 or edges[-1] > frames + 8:
        return None
    edges[0] = 0
    silence = np.zeros(QUIET * HOP, np.float32)
    body = np.zeros(edges[-1] * HOP, np.float32)
    body[: len(wave[: len(body)])] = wave[: len(body)]
    durations = [QUIET, *np.diff(edges).tolist(), QUIET]
    return np.concatenate([silence, body, silence]), durations


def make(data: Path, work: Path) -> None:
    """Speak all texts; write waves.npy, mels.npy and lines.json, the last one last."""
    espeak, tokenizer = Espeak(**VOICE), new_tokenizer()
    read = tokenizer.backend_tokenizer.normalizer.normalize_str
    texts = [read(line) for line in sentences(data) + word_strings()]
    lines = aligned(texts, espeak.say)
    names = [name for *_, phonemes in lines for name in phonemes]
    counts = Counter(sorted(name for name in names if name))
    kinds = [name for name, _ in counts.most_common(CHUNKS - 2)]
    number = {name: i for i, name in enumerate(["", *kinds])}
    waves, mels, out = [], [], []
    for line, sound, starts, phonemes in lines:
        fitted = framed(sound, starts, espeak.rate)
        if fitted is None:
            continue
        wave, durations = fitted
        numbers = [0, *(number.get(p, CHUNKS - 1) for p in phonemes), 0]
        ids = tokenizer(line)["input_ids"]
        out.append({"ids": ids, "durations": durations, "phonemes": numbers})
        waves.append((wave * 32767).astype(np.int16))
        mels.append(mel_of(torch.from_numpy(wave)).half().numpy())
    np.save(work / "waves.npy", np.concatenate(waves))
    np.save(work / "mels.npy", np.concatenate(mels, axis=1))
    (work / "lines.json").write_text(json.dumps(out), "utf-8")
    hours = sum(len(wave) for wave in waves) / RATE / 3600
    print(f"{len(out)} lines, {hours:.2f} hours", flush=True)


class SpokenLines:
    """The spoken lines that `make` wrote. Some are held out."""

    def __init__(self, work: Path) -> None:
        self.lines = json.loads((work / "lines.json").read_text("utf-8"))
        self.mels = np.load(work / "mels.npy", mmap_mode="r")
        self.waves = np.load(work / "waves.npy", mmap_mode="r")
        sizes = [sum(line["durations"]) for line in self.lines]
        self.ends = np.cumsum(sizes)
        self.starts = self.ends - sizes
        some = torch.from_numpy(self.mels[:, ::97].astype(np.float32))
        self.mean, self.scale = some.mean().item(), some.std().item()
        order = list(range(len(self.lines)))
        random.Random(SEED).shuffle(order)
        self.train, self.held = order[:-HELD_OUT], order[-HELD_OUT:]

    def mel(self, start: int, end: int) -> torch.Tensor:
        """Return the frames from `start` to `end`, (MELS, frames), near 0 and 1."""
        mel = torch.from_numpy(self.mels[:, start:end].astype(np.float32))
        return (mel - self.mean) / self.scale

    def wave(self, start: int, end: int) -> torch.Tensor:
        """Return the samples of the frames from `start` to `end`, from -1 to 1."""
        wave = self.waves[start * HOP : end * HOP].astype(np.float32)
        return torch.from_numpy(wave / 32767)

    def epoch(self) -> list[list[int]]:
        """Return all training lines in batches of similar length, in a random order."""
        order = self.train[:]
        random.shuffle(order)
        chosen = sorted(
            order, key=lambda i: self.ends[i] - self.starts[i] + random.gauss(0, 15)
        )
        batch, batches = [], []
        for i in chosen:
            longest = max(self.ends[j] - self.starts[j] for j in [*batch, i])
            if batch and longest * (len(batch) + 1) > FRAMES:
                batches.append(batch)
                batch = []
            batch.append(i)
        # What is left over, some of the longest lines, is not read in this epoch.
        random.shuffle(batches)
        return batches or [batch]

    def collate(self, batch: list[int]) -> dict[str, torch.Tensor]:
        """Return lines padded to one length: ids, durations, phonemes (lines, letters)
        and mels (lines, MELS, frames)."""

        def padded(rows: list) -> torch.Tensor:
            return pad_sequence([torch.as_tensor(row) for row in rows], True)

        out = {
            key: padded([self.lines[i][key] for i in batch])
            for key in ("ids", "durations", "phonemes")
        }
        mels = [self.mel(self.starts[i], self.ends[i]).T for i in batch]
        return out | {"mels": padded(mels).transpose(1, 2)}
