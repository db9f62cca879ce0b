"""What the card of SmolLM2-135M-Instruct says, measured again."""

from __future__ import annotations

import time
from pathlib import Path

from transformers import pipeline

from helpers.models import embedded


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return the tokens a second of the library's pipeline, in float32.

    Not a quick part: a busy machine would make the suite fail.
    """
    if quick:
        return {}
    generate = pipeline(
        "text-generation",
        model=str(embedded("SmolLM2-135M-Instruct")),
        dtype="float32",
    )
    options = {"max_new_tokens": 60, "min_new_tokens": 60, "do_sample": False}
    times = []
    for _ in range(3):
        start = time.perf_counter()
        generate("So today, I just feel like", **options)
        times.append(time.perf_counter() - start)
    return {"tokens a second, one sequence, two cores": 60 / min(times)}
