"""What a chat server takes for several clients at once: writes load.csv.

In notebooks/, with the machine to yourself: `python -m experiments.service.load`, a
minute. `transformers serve` answers 1, 2, 4 and 8 clients at once, one by one as it
comes, then with continuous batching. Used in notebook 13.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from openai import OpenAI

from experiments.tables import read_table, write_table

TABLE = Path(__file__).with_name("load.csv")
# Two more options limit the memory that continuous batching reserves.
BATCHING = ["--continuous-batching", "--cb-num-blocks", "64"]
BATCHING += ["--cb-max-batch-tokens", "256"]
SERVERS = {"one by one": [], "continuous batching": BATCHING}


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


def seconds_to_first_piece(client: OpenAI, model: str) -> float:
    """Return how long a client waits for the first piece of an answer."""
    return timed_answer(client, model, 2)[0]


def ask_together(
    client: OpenAI, model: str, clients: int, tokens: int = 24
) -> dict[str, float]:
    """Return what `clients` clients get who ask at the same moment: the seconds until
    the `first` token of the one who waits longest and until the `last` token of all,
    and `per_second`, the tokens of all together divided by the latter."""
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
        "last": seconds,
        "per_second": sum(pieces for _, _, pieces in answers) / seconds,
    }


def main() -> None:
    from helpers import model_for, setup

    from .processes import serve, stop_all

    setup()
    name, rows = model_for("text-generation")["model"], []
    for server, options in SERVERS.items():
        address = serve("transformers", "serve", name, "--dtype", "float32", *options)
        client = OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        ask_together(client, name, 1, tokens=2)  # the first request prepares much
        for clients in (1, 2, 4, 8):
            found = ask_together(client, name, clients)
            rounded = {key: round(value, 2) for key, value in found.items()}
            rows.append({"server": server} | rounded)
            print(rows[-1], flush=True)
        stop_all()
    write_table(TABLE, rows)


def table() -> list[dict[str, str | float]]:
    """Return what was measured, the numbers as numbers."""
    return [
        {
            "server": row["server"],
            "clients": int(row["clients"]),
            "first": float(row["first"]),
            "last": float(row["last"]),
            "per_second": float(row["per_second"]),
        }
        for row in read_table(TABLE)
    ]


if __name__ == "__main__":
    main()
