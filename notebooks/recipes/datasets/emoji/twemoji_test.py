"""The drawings in the test style, and how a score counts them."""

from __future__ import annotations

import csv
from pathlib import Path

from PIL import Image

EMOJI = Path(__file__).parent
SIDE, ROW = 64, 32  # pixels per drawing, drawings per row


def unseen(names: list[str]) -> list[Image.Image]:
    """Return Twemoji's drawings of the things, on white, in the order of `names`:
    that of the labels of convnext-emoji."""
    sheet = Image.open(EMOJI / "twemoji.png").convert("RGBA")
    whole = Image.alpha_composite(Image.new("RGBA", sheet.size, "white"), sheet)
    whole = whole.convert("RGB")
    corners = [(at % ROW * SIDE, at // ROW * SIDE) for at in range(len(names))]
    return [whole.crop((x, y, x + SIDE, y + SIDE)) for x, y in corners]


def paraphrases() -> list[tuple[str, str]]:
    """Return (what is said of a thing, its name)."""
    with (EMOJI / "paraphrases.csv").open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["name"]) for row in csv.DictReader(file)]


def share_within(ranks: list[int], first: int) -> float:
    """Return the share of the ranks, counted from 0, among the `first`."""
    return sum(rank < first for rank in ranks) / len(ranks)
