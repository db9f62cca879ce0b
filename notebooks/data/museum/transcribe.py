"""Write down what is said in the museum's sounds, once: transcripts.jsonl.

    python transcribe.py         about 3 seconds a clip on two calm cores

The notebook finds a transcript by the sha256 of its sound and the name of the model,
so a changed sound, or another model, is transcribed again. What is there stays.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from helpers import model_for, sound
from helpers.errors import HelperError
from helpers.store import sha256

NAME = "whisper-tiny.en"  # in models/catalogue.toml
STORE = HERE / "transcripts.jsonl"


def main() -> None:
    from transformers import pipeline

    listen = pipeline(
        "automatic-speech-recognition", **model_for("automatic-speech-recognition")
    )
    done = {}
    if STORE.exists():
        rows = map(json.loads, STORE.read_text("utf-8").splitlines())
        done = {row["sha256"]: row for row in rows if row["model"] == NAME}
    kept = []
    for path in sorted((HERE / "sounds").iterdir()):
        digest = sha256(path)
        if digest not in done:
            try:
                clip = sound(path)
            except HelperError as error:
                print(f"{path.name}: skipped, {error}")
                continue
            text = listen(clip)["text"].strip()
            done[digest] = {"sha256": digest, "model": NAME, "text": text}
            print(f"{path.name}: {text}", flush=True)
            keep(done.values())  # so that an interrupted run loses one clip at most
        kept.append(done[digest])
    keep(kept)


def keep(rows) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    STORE.write_text("".join(lines), "utf-8")


if __name__ == "__main__":
    main()
