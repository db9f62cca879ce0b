"""What a chat server takes for several clients at once. Used in notebook 13."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI


def timed_answer(client: OpenAI, model: str, tokens: int) -> tuple[float, float, int]:
    """Return the seconds to the first piece of an answer and to its end, and how many
    pieces came, about one per token."""
    start, arrived = time.perf_counter(), []
    stream = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Tell a story about a fox."}],
        max_tokens=tokens,
        temperature=0,
        stream=True,
    )
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            arrived.append(time.perf_counter() - start)
    arrived = arrived or [time.perf_counter() - start]  # an answer without a word
    return arrived[0], arrived[-1], len(arrived)


def ask_together(
    client: OpenAI, model: str, clients: int, tokens: int = 24
) -> dict[str, float]:
    """Return what `clients` clients get who ask at the same moment: the `first` seconds
    of the one who waits longest, and the tokens `per_second` of all together."""
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        jobs = [
            pool.submit(timed_answer, client, model, tokens) for _ in range(clients)
        ]
        answers = [job.result() for job in jobs]
    seconds = time.perf_counter() - start
    return {
        "clients": clients,
        "first": max(first for first, _, _ in answers),
        "per_second": sum(pieces for _, _, pieces in answers) / seconds,
    }
