"""A reader's own photograph, whatever a camera made of it.

The library's pipelines open a picture by its path, turn it as the camera was held and
make it RGB. What they leave to chance is here: grey pictures of more than eight bits,
which they cut to white, and files that cannot be read.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import HelperError


def photograph(source: str | Path | bytes) -> Image.Image:
    """Return a photograph as the pipelines want it: RGB, eight bits, upright.

    `source` is the path of a file or, from an upload, its bytes. Of an animation it is
    the first picture. Raises HelperError where it cannot be read: no such file, not a
    picture, one of a kind that Pillow does not know, cut off, or too large.
    """
    name = "The upload" if isinstance(source, bytes) else Path(source).name
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        with Image.open(BytesIO(data)) as opened:
            return _eight_bits(ImageOps.exif_transpose(opened)).convert("RGB")
    except UnidentifiedImageError:
        heic = data[4:10] in (b"ftyphe", b"ftypmi")  # how such a file begins
        why = "it is HEIC, which Pillow does not know" if heic else "it is no picture"
    except Image.DecompressionBombError:
        why = "it has too many pixels"
    except OSError as error:
        why = error.strerror or str(error).split(" (")[0]
    raise HelperError(
        f"{name} cannot be read: {why}. Expected a whole picture, such as JPEG or PNG."
    )


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a grey picture of more than eight bits as one of eight."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image, dtype=np.float64)
    top = values.max(initial=0.0)
    # Whole numbers have 8 or 16 bits, fractions go from 0 to 1.
    full = 1 if image.mode == "F" and top <= 1 else 255 if top <= 255 else 65_535
    return Image.fromarray((values / full * 255).clip(0, 255).astype(np.uint8))
