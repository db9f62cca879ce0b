"""What the card of efficientnet-lite0 says, measured again."""

from __future__ import annotations

import time
from pathlib import Path

from transformers import pipeline

from helpers.models import embedded
from recipes.datasets.photographs import photographs


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return how often the classifier is right on photographs that ImageNet has a
    name for, and how fast it is on all."""
    classify = pipeline(
        "image-classification", model=str(embedded("efficientnet-lite0")), device="cpu"
    )
    test = photographs("test")
    classify(str(test[0].path))
    start = time.process_time()
    answers = [classify(str(photograph.path), top_k=5) for photograph in test]
    seconds = (time.process_time() - start) / len(test)
    first, among = [], []
    for photograph, answer in zip(test, answers, strict=True):
        if photograph.classes:
            right = [row["label"] in photograph.classes for row in answer]
            first.append(right[0])
            among.append(any(right))
    return {
        f"top-1 on {len(first)} photographs of our own": sum(first) / len(first),
        f"top-5 on {len(first)} photographs of our own": sum(among) / len(among),
        # Of a core: other work on the machine does not count.
        "photographs per second of one core": 1 / seconds,
    }
