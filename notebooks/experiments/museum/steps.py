"""What each step of notebook 09 is worth: the later questions, answered in four ways.

    python -m experiments.museum.steps    # in notebooks/; four minutes on two cores

writes steps.csv beside it, four rows per question (those of `later`, and before them
the question about the peas, which notebook 09 asks in the same four ways): from all
texts that the search found or from the nearest sentence alone; without help or with the
system message and the four examples (`HELP`). `answer` is what was written, `against`
what the check of notebook 09 has against it, empty where it passes. Reading's verdicts
on the answers are in data/museum/verdicts.csv; notebook 09 counts both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from transformers import Pipeline

from experiments.tables import write_table

from .answers import bare_chat, chat_of, questions
from .collection import MUSEUM
from .measure import NEAR, Answerer, loaded

STORE = Path(__file__).with_suffix(".csv")
KINDS = ("all texts", "one sentence")
HELP: dict[str, Callable] = {"none": bare_chat, "message, examples": chat_of}
RESULTS = ["right", "not right", "made up", "stopped"]
TOKENS = 64  # enough for a whole sentence, also without help


def texts_of(question: str, answerer: Answerer) -> dict[str, dict]:
    """Return the two kinds of evidence for a question, as rows for the check."""
    results = answerer.museum.ask(question, limit=3)
    rows = [row for result in results for row in result["evidence"]]
    everything = "\n".join(row["text"] for row in rows)
    nearest = answerer.evidence(question)[0]
    together = nearest | {"text": everything, "whole": everything}
    return dict(zip(KINDS, (together, nearest), strict=True))


def write_chats(chats: Sequence[list[dict]], writer: Pipeline) -> list[str]:
    """Return the answer to each chat, greedily decoded, in one line."""
    writer.tokenizer.padding_side = "left"
    order = sorted(range(len(chats)), key=lambda place: len(str(chats[place])))
    sorted_chats = [chats[place] for place in order]
    options = {"max_new_tokens": TOKENS, "do_sample": False, "batch_size": 9}
    answers = [""] * len(chats)
    for place, made in zip(order, writer(sorted_chats, **options), strict=True):
        said = made[0]["generated_text"][-1]["content"]
        answers[place] = " ".join(said.split())
    return answers


def table() -> pd.DataFrame:
    """Return the answers to the 20 later questions. `result` is "right" or "not right"
    by reading's verdict, "made up" where no record answers the question."""
    rows = pd.read_csv(STORE).fillna("")
    verdicts = pd.read_csv(MUSEUM / "verdicts.csv")
    rows = rows[rows["use"] == "later"].merge(verdicts, how="left")
    rows["result"] = "not right"
    rows.loc[rows["verdict"] == "right", "result"] = "right"
    rows.loc[rows["kind"] != "answer", "result"] = "made up"
    return rows


def count(rows: pd.DataFrame, rules: dict[str, list[str]]) -> pd.DataFrame:
    """Return how many of each result there are under some rules, a row for each name in
    `rules`. "stopped" is an answer with one of the rules' signs against it."""
    found = {}
    for name, signs in rules.items():
        stopped = [any(sign in text for sign in signs) for text in rows["against"]]
        found[name] = rows["result"].mask(stopped, "stopped").value_counts()
    return pd.DataFrame(found, RESULTS).fillna(0).astype(int).T


def main() -> None:
    """Write and check the answers to the questions; write the table."""
    asked = [*questions("tune")[:1], *questions("later")]
    names = [row["question"] for row in asked]
    table = []
    with tempfile.TemporaryDirectory() as folder:
        answerer = loaded(folder)
        found = [texts_of(name, answerer) for name in names]
        for texts in KINDS:
            rows = [each[texts] for each in found]
            for help, chat in HELP.items():
                chats = [chat(q, row["text"]) for q, row in zip(names, rows)]
                written = write_chats(chats, answerer.writer)
                for question, row, answer in zip(asked, rows, written, strict=True):
                    against = answerer.problems(question["question"], row, answer)
                    if row["cosine"] < NEAR:
                        against.append("not near")
                    made = {name: question[name] for name in ("use", "kind")}
                    made |= {"question": question["question"], "texts": texts}
                    made |= {"help": help, "answer": answer}
                    table.append(made | {"against": "; ".join(against)})
    write_table(STORE, table)


if __name__ == "__main__":
    main()
