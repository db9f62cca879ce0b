"""What a reader may give to a model by mistake, or from another corner of the world.

One table each for texts, pictures and sounds. An odd input must be answered; a wrong
one must end in an error whose words say what is wrong.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from PIL import Image

RATE = 16_000  # samples per second
A_TEXT = b"I am neither a picture nor a sound."  # the content of a wrong file

# --- texts ----------------------------------------------------------------------

SCRIPTS = ["今日は良い天気です。", "Завтра будет дождь.", "كرة القدم", "🙂🙂", " "]
LONG = "word " * 10_000
NOT_TEXTS = ["", "   ", None, 7]  # for a task that needs something to read
WITH_NONE = ["A man is eating food.", None]

# --- pictures -------------------------------------------------------------------


def clear_where_white(picture: Image.Image) -> Image.Image:
    """Return a picture with an opacity of 0 where it is white."""
    clear = picture.convert("RGBA")
    clear.putalpha(picture.convert("L").point(lambda light: 255 * (light < 255)))
    return clear


def sixteen_bits(picture: Image.Image) -> Image.Image:
    """Return a picture in 65,536 greys."""
    light = np.asarray(picture.convert("L")).astype(np.uint16)
    return Image.fromarray(light * 257)


ODD_PICTURES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "grey": lambda picture: picture.convert("L"),
    "black and white": lambda picture: picture.convert("1"),
    "palette": lambda picture: picture.quantize(32),
    "transparent": clear_where_white,
    "grey with opacity": lambda picture: picture.convert("LA"),
    "sixteen bits": sixteen_bits,
    "printer's colours": lambda picture: picture.convert("CMYK"),
    "12 megapixels": lambda picture: picture.resize((4000, 3000)),
    "3 by 900": lambda picture: picture.resize((3, 900)),
    "one pixel": lambda picture: picture.resize((1, 1)),
    "nothing but opacity 0": lambda picture: Image.new("RGBA", (90, 90)),
}


class Wrong(NamedTuple):
    """A wrong input: what it is, how it is made in a folder, and what must be said."""

    what: str
    make: Callable[[Path], str]
    error: type[Exception]
    words: str  # a regular expression


def text_file(name: str) -> Callable[[Path], str]:
    """Return a maker of a text under the name of something else."""

    def make(folder: Path) -> str:
        (folder / name).write_bytes(A_TEXT)
        return str(folder / name)

    return make


def half_a_picture(folder: Path) -> str:
    """Write the first half of a drawing's bytes; return the path."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    whole = io.BytesIO()
    Image.fromarray(noise).save(whole, "PNG")
    path = folder / "half.png"
    path.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    return str(path)


NO_PICTURES = [
    Wrong(
        "a text file named .png",
        text_file("text.png"),
        OSError,
        r"cannot identify image file .*text\.png",
    ),
    Wrong("a picture cut in half", half_a_picture, OSError, "truncated"),
    Wrong(
        "a picture that is not there",
        lambda folder: str(folder / "nowhere.png"),
        ValueError,
        r"(?s)Incorrect image source.*nowhere\.png",
    ),
    Wrong(
        "the address of a picture while offline",
        lambda folder: "http://127.0.0.1:9/elephant.png",  # nobody listens there
        Exception,
        "(?i)connect|refused|network",
    ),
]

# --- sounds ---------------------------------------------------------------------

# Samples, samples per second, and what `helpers.sound` must say.
NO_SOUNDS = [
    (np.array([0.1, np.nan, 0.2], "float32"), RATE, "1 values that are NaN"),
    (np.zeros(0, "float32"), RATE, r"of shape \(0,\)"),
    (np.zeros((2, 3, 4), "float32"), RATE, r"of shape \(2, 3, 4\)"),
    (np.zeros(10, "float32"), None, "the rate None"),
    (np.zeros(10, "float32"), -1, "the rate -1"),
]
NO_SOUND_FILES = [
    ("a text file named .wav", text_file("note.wav")),
    ("a sound that is not there", lambda folder: str(folder / "absent.wav")),
]


def wav(samples: np.ndarray) -> bytes:
    """Return the bytes of a WAV file, as a reader uploads it."""
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV")
    return file.getvalue()
