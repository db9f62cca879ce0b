"""What the card of all-MiniLM-L6-v2 says, measured again."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn.functional import cosine_similarity
from transformers import pipeline

from helpers.models import embedded


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return how near two sentences are that mean the same, and how far two others,
    by the mean of the output vectors. That is quick, and needs no data."""
    extract = pipeline(
        "feature-extraction", model=str(embedded("all-MiniLM-L6-v2")), framework="pt"
    )
    texts = [
        "a man is eating food",
        "somebody is having a meal",
        "the stock market fell",
    ]
    food, meal, market = (torch.tensor(extract(text)[0]).mean(dim=0) for text in texts)
    near = cosine_similarity(food, meal, dim=0).item()
    far = cosine_similarity(food, market, dim=0).item()
    return {
        "cosine of two sentences that mean the same": near,
        "1 - cosine of two that have nothing in common": 1 - far,
    }
