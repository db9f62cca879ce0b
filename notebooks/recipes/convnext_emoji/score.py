"""What the card of convnext-emoji says, measured again."""

from __future__ import annotations

import time
from pathlib import Path

from transformers import pipeline

from helpers.models import embedded


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return how often the classifier is right on Twemoji, which it never saw."""
    from recipes.datasets.emoji.twemoji_test import found_in, unseen

    classify = pipeline("image-classification", model=str(embedded("convnext-emoji")))
    names = list(classify.model.config.id2label.values())
    pictures, ranks = unseen(names), []
    classify(pictures[0])
    start = time.process_time()
    answers = [classify(picture, top_k=len(names)) for picture in pictures]
    seconds = (time.process_time() - start) / len(pictures)
    for name, answer in zip(names, answers, strict=True):
        ranks.append([row["label"] for row in answer].index(name))
    return {
        "top-1 on Twemoji, 447 things": found_in(ranks, 1),
        "top-5 on Twemoji, 447 things": found_in(ranks, 5),
        # Of a core: other work on the machine does not count.
        "pictures a second of a core": 1 / seconds,
    }
