"""Answer the questions that were set aside for measuring, as notebook 09 answers them.

    python -m experiments.museum.measure         # in notebooks/; a minute on two cores
    python -m experiments.museum.measure later   # the 20 that were written afterwards
    python -m experiments.museum.measure tune    # the other 26

writes measure.csv (or later.csv, tune.csv) beside it: each question with its kind, the
cosine of the nearest sentence, whether that sentence holds the answer, how the question
was answered, the answer and its record. Notebook 09 defines `evidence`, `problems` and
`answer`, for one question at a time, in the open; here they stand once more, for many
at once, and a test says that both do the same.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import Pipeline, pipeline

from experiments.tables import write_table
from helpers import model_for

from .answers import by_cosine, questions, sentences_of, stems, write
from .collection import MUSEUM
from .search import Museum

STORE = Path(__file__).with_suffix(".csv")
NEAR, QUOTE = 0.32, 0.5  # chosen on the 26 questions of tune.csv
ANSWERS = "This example answers the question: {}"
SETS = {"measure": "first test", "later": "second test"}


class Answerer:
    """The four steps of notebook 09: retrieve, write, check, cite.

    `writer` is a text-generation pipeline with a chat model, `judge` a
    zero-shot-classification pipeline, that is, an entailment model.
    """

    def __init__(self, museum: Museum, writer: Pipeline, judge: Pipeline) -> None:
        self.museum, self.writer, self.judge = museum, writer, judge

    def evidence(self, question: str, things: int = 3) -> list[dict[str, Any]]:
        """Return sentences of the best things' records, nearest first."""
        rows = []
        for result in self.museum.ask(question, limit=things):
            rows += sentences_of(self.museum.records_of(result["thing"]))
        return by_cosine(question, rows, self.museum.reader)

    def believed(self, text: str, sentence: str, template: str = "{}") -> float:
        """Return how surely a sentence follows from a text, 0 to 1."""
        options = {"hypothesis_template": template, "multi_label": True}
        return self.judge(text, [sentence], **options)["scores"][0]

    def problems(self, question: str, row: dict[str, Any], sentence: str) -> list[str]:
        """Return what speaks against a sentence; nothing if it passes."""
        words, asked = stems(sentence), stems(question)
        found = [f"new: {stem}" for stem in sorted(words - stems(row["whole"]))]
        if not (words & asked and words - asked and sentence.endswith(".")):
            found.append("says nothing")
        if self.believed(row["text"], sentence) < 0.5:
            found.append("not entailed")
        if self.believed(sentence, question, ANSWERS) < 0.5:
            found.append("no answer")
        return found

    def answer(self, asked: Sequence[str], tries: int = 2) -> list[dict[str, str]]:
        """Return for each question {"question", "cosine", "nearest", "how", "answer",
        "record"}; `nearest` is the nearest sentence, `cosine` its own."""
        table = {}
        found = {question: self.evidence(question) for question in asked}
        best = {q: rows[0]["cosine"] if rows else 0 for q, rows in found.items()}
        for q, rows in found.items():
            quoted = best[q] >= QUOTE
            first = ("quoted", rows[0]["text"], rows[0]["id"]) if quoted else None
            table[q] = first or ("refused", "", "")
        for turn in range(tries):
            left = [q for q in found if best[q] >= NEAR and turn < len(found[q])]
            left = [q for q in left if table[q][0] != "written"]
            rows = [found[q][turn] for q in left]
            written = write(left, [row["text"] for row in rows], self.writer)
            for q, row, sentence in zip(left, rows, written, strict=True):
                if not self.problems(q, row, sentence):
                    table[q] = ("written", sentence, row["id"])
        names = ("how", "answer", "record")
        near = {q: rows[0]["text"] if rows else "" for q, rows in found.items()}
        return [
            {"question": q, "cosine": round(best[q], 3), "nearest": near[q]}
            | dict(zip(names, table[q], strict=True))
            for q in asked
        ]


def loaded(folder: str) -> Answerer:
    """Return an Answerer over the embedded models and a museum in a folder."""
    tasks = {
        "feature-extraction": (),
        "zero-shot-image-classification": ("drawings",),
        "image-classification": ("drawings",),
        "automatic-speech-recognition": (),
    }
    readers = [pipeline(task, **model_for(task, *how)) for task, how in tasks.items()]
    museum = Museum(folder, *readers)
    museum.fill(pd.read_csv(MUSEUM / "records.csv", keep_default_na=False))
    task = "text-generation"
    writer = pipeline(task, **model_for(task), dtype=torch.float32)
    task = "zero-shot-classification"
    return Answerer(museum, writer, pipeline(task, **model_for(task)))


def holds(question: dict[str, Any], text: str) -> bool:
    """Return whether a text has the words of a question's answer, if it has one."""
    pattern = question["accept"]
    return bool(pattern and re.search(pattern, text, re.IGNORECASE))


def table() -> pd.DataFrame:
    """Return the answers to the 35 and the 20 in one table, with the name of their
    `set`, reading's `verdict` where there is one, whether the `rule` takes the answer,
    and the `outcome`: how it was answered, and whether that is right."""
    parts = [pd.read_csv(STORE.with_stem(use)).assign(set=SETS[use]) for use in SETS]
    rows = pd.concat(parts).merge(pd.read_csv(MUSEUM / "verdicts.csv"), how="left")
    rows = rows.fillna("")
    rows["rule"] = [holds(row, row["answer"]) for row in rows.to_dict("records")]
    rows["outcome"] = "refused"
    for how in ("written", "quoted"):
        given, right = rows["how"] == how, rows["verdict"] == "right"
        rows.loc[given & right, "outcome"] = f"{how}, right"
        rows.loc[given & ~right, "outcome"] = f"{how}, not right"
    return rows


def main(use: str = "measure") -> None:
    """Answer the questions of one use and write the table."""
    asked = questions(use)
    with tempfile.TemporaryDirectory() as folder:
        found = loaded(folder).answer([row["question"] for row in asked])
    rows = [
        {name: row[name] for name in ("question", "kind", "accept")}
        | {"cosine": made["cosine"], "holds": int(holds(row, made["nearest"]))}
        | {name: made[name] for name in ("how", "answer", "record")}
        for row, made in zip(asked, found, strict=True)
    ]
    for row in rows:
        print(*row.values(), sep=" | ")
    print(Counter((row["kind"], row["how"]) for row in rows))
    write_table(STORE.with_stem(use), rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
