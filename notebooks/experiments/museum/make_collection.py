"""Draw the museum's pictures and speak its sounds: what records.csv lists.

    python -m experiments.museum.make_collection DRAWINGS    # in notebooks/; a minute

Needs flite 2.2 and espeak-ng 1.51. DRAWINGS is the folder emoji-drawings that
recipes/datasets/emoji/drawings.py fills: emoji art in several styles, from packages
on npm. The notes, what is said in the sounds (spoken.csv) and the records themselves
were written by people and are not made here.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from PIL import Image

from experiments.museum.collection import MUSEUM
from experiments.tables import read_table

SIZE = 96  # pixels: what a list of results shows
COLOURS = 48  # in a PNG's palette: emoji are flat, and the file stays below 3 KB
RATE = 16_000  # what the speech models take
LOUD = 0.5  # the peak of each clip
QUIET = RATE // 10  # samples of silence before and after, as a recording has
SMALLER = 0.93  # of 1; Whisper reads these clips as well as larger ones


def picture(drawing: np.ndarray) -> bytes:
    """Return a drawing (128, 128, 4) on white as a small PNG."""
    image = Image.fromarray(drawing, "RGBA")
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image).convert("RGB")
    image = image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    image = image.quantize(COLOURS, dither=Image.Dither.NONE)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def spoken(text: str, voice: str) -> np.ndarray:
    """Return a text as sound (samples,), said by flite, espeak-ng or our own voice."""
    if voice == "vits-espeak":
        made = our_voice()(text)
        samples, rate = np.squeeze(made["audio"]), made["sampling_rate"]
    else:
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            command = ["flite", "-voice", voice, "-t", text, "-o", file.name]
            if voice.startswith("en-"):
                command = ["espeak-ng", "-v", voice, "-w", file.name, text]
            subprocess.run(command, check=True)
            samples, rate = soundfile.read(file.name, dtype="float32")
    samples = soxr.resample(samples, rate, RATE)
    return np.pad(samples * LOUD / np.abs(samples).max(), QUIET)


@cache
def our_voice():
    """Return the series' own voice, a pipeline for the task text-to-speech."""
    from transformers import pipeline

    from helpers import model_for

    return pipeline("text-to-speech", **model_for("text-to-speech"))


def write(to: Path, samples: np.ndarray) -> None:
    """Write a clip as Opus, about 3 KB per second."""
    options = {"format": "OGG", "subtype": "OPUS", "compression_level": SMALLER}
    soundfile.write(to, samples, RATE, **options)


def draw_and_speak(drawings: Path, records: list[dict[str, str]]) -> None:
    """Write the files of all records that have one and are not broken on purpose."""
    texts = {row["id"]: row for row in read_table(MUSEUM / "spoken.csv")}
    things = json.loads((drawings / "things.json").read_text("utf-8"))
    names = {thing["code"]: thing["name"] for thing in things}
    styles: dict[str, dict[str, np.ndarray]] = {}
    for record in records:
        if record["source"] == "note" or record["origin"] == "broken on purpose":
            continue
        to = MUSEUM / record["file"]
        if record["source"] == "picture":
            style, code = record["origin"].split()
            if style not in styles:
                with np.load(drawings / f"{style}.npz") as store:
                    pairs = zip(store["names"].tolist(), store["large"], strict=True)
                    styles[style] = dict(pairs)
            to.write_bytes(picture(styles[style][names[code]]))
        else:
            row = texts[record["id"]]
            write(to, spoken(row["text"], row["voice"]))


def break_some() -> None:
    """Write a picture that stops in the middle, one that is none, a clip of silence and
    an empty one; the file of p153 is missing altogether."""
    whole = (MUSEUM / "pictures" / "p001.png").read_bytes()
    (MUSEUM / "pictures" / "p151.png").write_bytes(whole[: len(whole) // 2])
    (MUSEUM / "pictures" / "p152.png").write_text("this is no picture\n", "utf-8")
    write(MUSEUM / "sounds" / "s061.ogg", np.zeros(2 * RATE, dtype="float32"))
    (MUSEUM / "sounds" / "s062.ogg").write_bytes(b"")


def main() -> None:
    """Make the museum's pictures and sounds, and say how large they are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("drawings", type=Path, help="the folder emoji-drawings")
    drawings = parser.parse_args().drawings
    for name in ("pictures", "sounds"):
        (MUSEUM / name).mkdir(exist_ok=True)
    draw_and_speak(drawings, read_table(MUSEUM / "records.csv"))
    break_some()
    for name in ("pictures", "sounds"):
        sizes = [path.stat().st_size for path in (MUSEUM / name).iterdir()]
        print(
            f"{name}: {len(sizes)} files, {sum(sizes) / 1e3:.0f} KB, "
            f"the largest {max(sizes) / 1e3:.1f} KB"
        )


if __name__ == "__main__":
    main()
