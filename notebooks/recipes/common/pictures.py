"""Pictures as the models of this series see them: squares of values from -1 to 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from transformers import BaseImageProcessor, ViTImageProcessorPil


def as_pixels(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """Return RGB pictures of one size as (n, 3, height, width), from -1 to 1."""
    arrays = np.stack([np.asarray(picture) for picture in pictures])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 127.5 - 1


def on_white(drawings: Sequence[np.ndarray]) -> torch.Tensor:
    """Return drawings of one size, uint8 (height, width, 4) each, on white: (n, 3,
    height, width) from -1 to 1."""
    pixels = torch.from_numpy(np.stack(drawings)).permute(0, 3, 1, 2) / 255
    return (pixels[:, :3] * pixels[:, 3:] + 1 - pixels[:, 3:]) * 2 - 1


def square_processor(
    size: int, kind: type[BaseImageProcessor] = ViTImageProcessorPil, **settings
) -> BaseImageProcessor:
    """Return an image processor that resizes to a square of `size` pixels and gives
    values from -1 to 1."""
    return kind(
        size={"height": size, "width": size},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        **settings,
    )
