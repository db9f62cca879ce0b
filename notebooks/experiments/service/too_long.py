"""What a chat server says to more tokens than its model knows: writes too_long.csv.

In notebooks/: `python -m experiments.service.too_long`, two minutes of two calm cores.
`transformers serve` is asked for 24 tokens after prompts of several lengths, and
nobody gives up. What it costs are the server's processor seconds, which are about the
same on a busy machine. Used in notebook 13.
"""

from __future__ import annotations

from pathlib import Path

import psutil
from openai import APIStatusError, OpenAI

from experiments.tables import read_table, write_table

TABLE = Path(__file__).with_name("too_long.csv")
WORDS = (5, 2000, 9000)
MINUTES = 15  # to wait for an answer


def main() -> None:
    from helpers import model_for, setup

    from .processes import running, serve, stop_all

    setup()
    name, rows = model_for("text-generation")["model"], []
    address = serve("transformers", "serve", name, "--dtype", "float32")
    server = psutil.Process(running[address][1].pid)
    wait = {"timeout": 60 * MINUTES, "max_retries": 0}
    client = OpenAI(base_url=f"{address}/v1", api_key="none", **wait)

    def ask(words: int) -> tuple[int, int, str]:
        """Return the status, the tokens of the prompt and the answer."""
        prompt = [{"role": "user", "content": "word " * words}]
        options = {"model": name, "max_tokens": 24, "temperature": 0}
        try:
            said = client.chat.completions.create(messages=prompt, **options)
        except APIStatusError as error:
            return error.status_code, 0, str(error)
        return 200, said.usage.prompt_tokens, said.choices[0].message.content

    ask(1)  # the first request prepares much
    for words in WORDS:
        before = sum(server.cpu_times()[:2])
        status, tokens, answer = ask(words)
        used = round(sum(server.cpu_times()[:2]) - before, 1)
        row = {"prompt_tokens": tokens, "status": status, "processor_seconds": used}
        rows.append(row | {"answer": " ".join(answer.split())})
        print(rows[-1], flush=True)
    stop_all()
    write_table(TABLE, rows)


def table() -> list[dict[str, str]]:
    """Return what came."""
    return read_table(TABLE)


if __name__ == "__main__":
    main()
