"""What the card of SmolLM2-135M-Instruct says, measured again."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from transformers import pipeline

from helpers.models import embedded

QUICK = "tokens per second of one core's time"


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return the tokens per second of the library's pipeline, with its own settings.

    The quick part counts the processor's seconds in one thread, not the clock's, so
    that it comes out much alike while other programs run. What the card says of it
    leaves room besides, as cores that are shared have less of their caches each.
    """
    folder = str(embedded("SmolLM2-135M-Instruct"))
    generate = pipeline("text-generation", model=folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = {QUICK: fastest(generate, 12, time.process_time)}
    finally:
        torch.set_num_threads(threads)
    if not quick:
        speed = fastest(generate, 60, time.perf_counter)
        found = {"tokens per second, one sequence, two cores": speed} | found
    return found


def fastest(generate, count: int, clock) -> float:
    """Return tokens per second by a clock, the best of three texts."""
    options = {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False}
    times = []
    for _ in range(3):
        start = clock()
        generate("So today, I just feel like", **options)
        times.append(clock() - start)
    return count / min(times)
