"""What the card of convnext-emoji says, measured again."""

from __future__ import annotations

import time
from pathlib import Path

from transformers import pipeline

from helpers.models import embedded
from recipes.datasets.emoji.twemoji_test import share_within, unseen


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return how often the classifier is right on Twemoji, which it never saw.

    Quick: on every fourth drawing. `data` is not needed.
    """
    classify = pipeline("image-classification", model=str(embedded("convnext-emoji")))
    names = list(classify.model.config.id2label.values())
    rows = list(zip(names, unseen(names), strict=True))[:: 4 if quick else 1]
    classify(rows[0][1])
    start = time.process_time()
    answers = [classify(picture, top_k=len(names)) for _, picture in rows]
    seconds = (time.process_time() - start) / len(rows)
    ranks = [
        [row["label"] for row in answer].index(name)
        for (name, _), answer in zip(rows, answers, strict=True)
    ]
    if quick:
        return {"top-1 on every fourth of the 447 things": share_within(ranks, 1)}
    return {
        "top-1 on Twemoji, 447 things": share_within(ranks, 1),
        "top-5 on Twemoji, 447 things": share_within(ranks, 5),
        # Of a core: other work on the machine does not count.
        "pictures per second and core": 1 / seconds,
    }
