"""A reader's own photograph, whatever a camera made of it.

The library's pipelines open a picture by its path, turn it as the camera was held and
make it RGB. What they leave to chance is here: more than eight bits, and a file that
cannot be read. Taught in notebook 03.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import HelperError

if TYPE_CHECKING:
    from PIL.Image import Image

# How a file of these kinds begins, from the fifth byte on; Pillow reads none of them.
UNREAD = {b"ftyphei": "HEIC", b"ftypmif": "HEIC", b"ftyphev": "HEIC"}
TO_DO = "Save it as JPEG or PNG and try again."


def photograph(source: str | Path | bytes) -> Image:
    """Return a photograph as the pipelines want it: RGB, eight bits, upright.

    `source` is the path of a file or, from an upload, its bytes. Of an animation it
    is the first picture. Raises HelperError where there is no such file, where it is
    no picture, one of a kind that Pillow cannot read, or one that is cut off.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = "The upload" if isinstance(source, bytes) else Path(source).name
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        with Image.open(BytesIO(data)) as opened:
            opened.load()
            return _eight_bits(ImageOps.exif_transpose(opened)).convert("RGB")
    except UnidentifiedImageError:
        kind = UNREAD.get(data[4:11])
        why = f"is {kind}, for which there is no reader" if kind else "is no picture"
        raise HelperError(f"{name} {why}. {TO_DO}") from None
    except Image.DecompressionBombError:
        most = Image.MAX_IMAGE_PIXELS * 2 // 1_000_000
        raise HelperError(
            f"{name} has more than {most} million pixels. Make it smaller and try "
            "again."
        ) from None
    except OSError as error:
        if isinstance(error, (FileNotFoundError, IsADirectoryError, PermissionError)):
            raise HelperError(f"{name} cannot be opened: {error.strerror}.") from None
        why = str(error).split(" (")[0]
        raise HelperError(f"{name} cannot be read whole: {why}. {TO_DO}") from None


def _eight_bits(image: Image) -> Image:
    """Return a grey picture of more than eight bits as one of eight.

    Pillow's own conversion cuts at 255, which leaves a white picture.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    import numpy as np
    from PIL import Image

    values = np.asarray(image, dtype=np.float64)
    top = values.max(initial=0.0)
    # Whole numbers have 8 or 16 bits, fractions go from 0 to 1.
    full = 1.0 if image.mode == "F" and top <= 1 else 255.0 if top <= 255 else 65_535.0
    return Image.fromarray((values / full * 255).clip(0, 255).astype(np.uint8))
