"""Augmentation: emoji as a model might meet them, turned, recoloured, on a ground.

Every function takes and returns batches, and draws from torch's random numbers.
`force`, from 0 to 1, says how much is changed.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import (
    affine_grid,
    avg_pool2d,
    conv2d,
    grid_sample,
    interpolate,
)

from recipes.datasets.emoji.drawings import LARGE, SMALL, TRAINING_STYLES, load_style

STORED = 96  # pixels: larger than a model sees, so that a close look has detail


class TrainingDrawings:
    """All training drawings in memory, and batches of them, augmented anew."""

    def __init__(self, data: Path, names: list[str], weights: list[float]) -> None:
        number = {name: i for i, name in enumerate(names)}
        pixels, labels, shares = [], [], []
        for style in TRAINING_STYLES:
            for name, drawing in load_style(data, style, LARGE).items():
                if name not in number:
                    continue
                # Colours times opacity: what may be resized without dark rims.
                drawing = np.asarray(
                    Image.fromarray(drawing, "RGBA")
                    .convert("RGBa")
                    .resize((STORED, STORED), Image.Resampling.BOX)
                )
                pixels.append(torch.from_numpy(drawing.copy()).permute(2, 0, 1))
                labels.append(number[name])
                # Fluent's three variants are by the same artists.
                shares.append(0.5 if style.startswith("fluent") else 1.0)
        self.pixels, self.labels = torch.stack(pixels), torch.tensor(labels)
        # How often a drawing is shown: so that each thing is, by its weight.
        share = torch.tensor(shares)
        total = torch.zeros(len(names)).index_add(0, self.labels, share)
        self.weights = share / total[self.labels] * torch.tensor(weights)[self.labels]

    def batch(
        self, n: int, side: int, force: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return pictures (n, 3, side, side) between -1 and 1, and their labels."""
        at = torch.multinomial(self.weights, n, replacement=True)
        return augment(self.pixels[at].float().div_(255), side, force), self.labels[at]


def uniform(n: int, low: float, high: float) -> torch.Tensor:
    """Return n numbers between low and high."""
    return torch.empty(n).uniform_(low, high)


def bernoulli(n: int, share: float) -> torch.Tensor:
    """Return n booleans, of which about a `share` are true."""
    return torch.rand(n) < share


def transformed(drawing: torch.Tensor, side: int, force: float) -> torch.Tensor:
    """Turn, stretch, shift and mirror: from (n, 4, 96, 96) to (n, 4, side, side)."""
    n = len(drawing)
    angle = torch.randn(n) * math.radians(12) * force
    size = uniform(n, math.log(0.6) * force, math.log(1.15)).exp()
    ratio = (uniform(n, -0.2, 0.2) * force).exp()
    wide, high = 1 / (size * ratio), ratio / size
    wide = torch.where(bernoulli(n, 0.5), -wide, wide)
    slant = uniform(n, -0.15, 0.15) * force
    cos, sin = angle.cos(), angle.sin()
    room = (1 / size).clamp(min=1) - 1 + 0.12 * force
    across, down = uniform(n, -1, 1) * room, uniform(n, -1, 1) * room
    matrix = torch.stack(
        [
            torch.stack([cos * wide, (slant - sin) * high, across], -1),
            torch.stack([sin * wide, cos * high, down], -1),
        ],
        1,
    )
    if side < SMALL:  # else only every third pixel would count
        drawing = interpolate(drawing, size=SMALL, mode="area")
    grid = affine_grid(matrix, (n, 4, side, side), align_corners=False)
    return grid_sample(drawing, grid, align_corners=False)


def recoloured(drawing: torch.Tensor, force: float) -> torch.Tensor:
    """Turn hues, change saturation, contrast and brightness; some become grey."""
    n = len(drawing)
    colour, opacity = drawing[:, :3], drawing[:, 3:]
    hue = torch.where(
        bernoulli(n, 0.1 * force),
        uniform(n, -math.pi, math.pi),
        torch.randn(n) * math.radians(12) * force,
    )
    # A turn about the grey axis, after Rodrigues.
    third, cross = torch.full((3, 3), 1 / 3), 1 / math.sqrt(3)
    skew = torch.tensor([[0, -cross, cross], [cross, 0, -cross], [-cross, cross, 0]])
    cos, sin = hue.cos()[:, None, None], hue.sin()[:, None, None]
    turn = cos * torch.eye(3) + (1 - cos) * third + sin * skew
    keep = torch.where(
        bernoulli(n, 0.1 * force), torch.zeros(n), uniform(n, -0.6, 0.5) * force + 1
    )
    grey = torch.tensor([0.299, 0.587, 0.114]).expand(3, 3)
    keep = keep[:, None, None]
    matrix = (keep * torch.eye(3) + (1 - keep) * grey) @ turn
    contrast = (uniform(n, -0.4, 0.3) * force + 1)[:, None, None]
    matrix = matrix * contrast * (uniform(n * 3, -0.15, 0.15) * force + 1).view(n, 3, 1)
    shift = uniform(n, -0.15, 0.15)[:, None, None] * force + (1 - contrast) / 2
    flat = matrix @ colour.flatten(2) + shift * opacity.flatten(2)
    colour = torch.minimum(flat.view_as(colour).clamp(min=0), opacity)
    return torch.cat([colour, opacity], 1)


def grounds(n: int, side: int, force: float) -> torch.Tensor:
    """Return what is behind the things, (n, 3, side, side): white, black, a colour, a
    gradient or waves of two."""
    first, second = torch.rand(2, n, 3, 1, 1)
    white = bernoulli(n, 1 - 0.6 * force)
    first[white], second[white] = 1, 1
    black = ~white & bernoulli(n, 0.15)
    first[black], second[black] = 0, 0
    one = bernoulli(n, 0.5)
    second[one] = first[one]
    line = torch.linspace(-1, 1, side)
    angle = uniform(n, 0, 2 * math.pi)[:, None, None]
    along = angle.cos() * line[None, None, :] + angle.sin() * line[None, :, None]
    waves = (along * uniform(n, 3, 25)[:, None, None]).sin()
    along = torch.where(bernoulli(n, 0.4)[:, None, None], waves, along)
    share = (along[:, None] + 1.4) / 2.8
    return first * (1 - share) + second * share


def augment(drawing: torch.Tensor, side: int, force: float = 1) -> torch.Tensor:
    """Return the drawings as a look at them might be, (n, 3, side, side), -1 to 1."""
    n = len(drawing)
    drawing = recoloured(transformed(drawing, side, force), force)
    picture = drawing[:, :3] + (1 - drawing[:, 3:]) * grounds(n, side, force)
    # A random filter changes texture and leaves shape (Xu et al., 2021).
    some = bernoulli(n, 0.2 * force).nonzero().flatten()
    if k := len(some):
        filters = torch.randn(k * 3, 3, 3, 3) / math.sqrt(27) * 1.4
        part = picture[some]
        other = conv2d(part.reshape(1, k * 3, side, side), filters, padding=1, groups=k)
        other = other.view(k, 3, side, side)
        other = (other - other.mean((2, 3), keepdim=True)) / (
            other.std((2, 3), keepdim=True) + 1e-3
        )
        other = other * part.std((2, 3), keepdim=True) + part.mean((2, 3), keepdim=True)
        share = uniform(k, 0.2, 0.9)[:, None, None, None]
        picture[some] = (share * part + (1 - share) * other).clamp(0, 1)
    soft = bernoulli(n, 0.1 * force)
    picture[soft] = avg_pool2d(picture[soft], 3, 1, 1)
    rough = bernoulli(n, 0.1 * force)
    picture[rough] += torch.randn_like(picture[rough]) * 0.06
    for i in bernoulli(n, 0.25 * force).nonzero().flatten().tolist():
        wide, high = torch.randint(side // 8, side * 7 // 16, (2,)).tolist()
        left, top = torch.randint(-side // 8, side * 7 // 8, (2,)).tolist()
        box = picture[i, :, max(top, 0) : top + high, max(left, 0) : left + wide]
        box.copy_(torch.rand(3, 1, 1).expand_as(box))
    return picture.clamp_(0, 1).mul_(2).sub_(1)
