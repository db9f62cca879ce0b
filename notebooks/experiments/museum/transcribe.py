"""Write down what is said in the museum's sounds, once: transcripts.jsonl.

    python -m experiments.museum.transcribe    # in notebooks/; a minute on two cores

The notebook finds a transcript by the sha256 of its sound, so a changed sound is
transcribed again. What is there, of the same model, this recipe leaves as it is.

Whisper looks at 30 seconds, however short the clip. No clip here is longer than six,
so its encoder is cut to ten seconds, which takes a third of the time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import torch

from experiments.museum.collection import MUSEUM
from helpers import model_for, sound
from helpers.errors import HelperError
from helpers.store import sha256

NAME = "whisper-tiny.en"  # in models/catalogue.toml
STORE = MUSEUM / "transcripts.jsonl"
WINDOW = 10  # seconds
BATCH = 6


def listener() -> Callable[[list[dict]], list[str]]:
    """Return a function from a list of clips to a list of texts."""
    from transformers import AutoProcessor, WhisperForConditionalGeneration

    folder = model_for("automatic-speech-recognition")["model"]
    processor = AutoProcessor.from_pretrained(folder)
    extract = type(processor.feature_extractor)(chunk_length=WINDOW)
    model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    encoder = model.model.encoder
    positions = model.config.max_source_positions * WINDOW // 30
    weights = encoder.embed_positions.weight[:positions].detach().clone()
    encoder.embed_positions = torch.nn.Embedding.from_pretrained(weights)
    model.config.max_source_positions = positions

    def listen(clips: list[dict]) -> list[str]:
        sounds = [clip["raw"] for clip in clips]
        features = extract(sounds, sampling_rate=16_000, return_tensors="pt")
        made = model.generate(features["input_features"], max_new_tokens=60)
        texts = processor.batch_decode(made, skip_special_tokens=True)
        return [text.strip() for text in texts]

    return listen


def keep(rows: Iterable[dict[str, str]]) -> None:
    """Write the transcripts, one row of JSON per line."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    STORE.write_text("".join(lines), "utf-8")


def main() -> None:
    """Transcribe each sound that has no transcript of this model yet."""
    done = {}
    if STORE.exists():
        rows = map(json.loads, STORE.read_text("utf-8").splitlines())
        done = {row["sha256"]: row for row in rows if row["model"] == NAME}
    order, todo = [], []
    for path in sorted((MUSEUM / "sounds").iterdir()):
        digest = sha256(path)
        try:
            clip = sound(path)
        except HelperError as error:
            print(f"{path.name}: skipped, {error}")
            continue
        if abs(clip["raw"]).max() < 0.01:
            print(f"{path.name}: skipped, silence")
            continue
        order.append(digest)
        if digest not in done:
            todo.append((path.name, digest, clip))
    listen = listener() if todo else None
    for start in range(0, len(todo), BATCH):
        batch = todo[start : start + BATCH]
        texts = listen([clip for _, _, clip in batch])
        for (name, digest, _), text in zip(batch, texts, strict=True):
            print(f"{name}: {text}", flush=True)
            done[digest] = {"sha256": digest, "model": NAME, "text": text}
        keep(done.values())  # so that an interrupted run loses one batch at most
    keep(done[digest] for digest in order)


if __name__ == "__main__":
    main()
