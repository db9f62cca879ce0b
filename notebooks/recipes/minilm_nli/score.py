"""What the card of minilm-nli says, measured again.

Every score goes through the library's own pipeline. None of the texts were trained on.
"""

from __future__ import annotations

import csv
from pathlib import Path

import torch
from transformers import pipeline

from helpers.catalogue import NOTEBOOKS
from helpers.models import embedded
from recipes.datasets import intents, prepare, sst2
from recipes.minilm_nli.sets import typed

HERE = Path(__file__).resolve().parent
# The topics lie among the series' data, where a page reads them too.
OURS = {"topics": NOTEBOOKS / "data", "feelings": HERE, "requests": HERE}
NEWS = ["world", "sports", "business", "science and technology"]
VERDICTS = ["negative", "positive"]

Row = tuple[str, str]  # a text and its label


def classifier():
    """Return the library's zero-shot pipeline with this model."""
    return pipeline("zero-shot-classification", model=str(embedded("minilm-nli")))


def read(name: str) -> list[Row]:
    """Return the (text, label) pairs of a file of our own."""
    with (OURS[name] / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def accuracy(model, rows: list[Row], labels: list[str], **options) -> float:
    """Return how often the first label is the right one."""
    order = sorted(rows, key=lambda row: len(row[0]))  # like lengths, little padding
    answers = model([text for text, _ in order], labels, **options)
    pairs = zip(answers, order, strict=True)
    return sum(a["labels"][0] == label for a, (_, label) in pairs) / len(rows)


def independent(model, rows: list[Row]) -> dict[str, float]:
    """Return what `multi_label=True` says of right labels and of wrong ones."""
    labels = sorted({label for _, label in rows})
    right, wrong = [], []
    for (_, truth), answer in zip(
        rows, model([text for text, _ in rows], labels, multi_label=True), strict=True
    ):
        for label, score in zip(answer["labels"], answer["scores"], strict=True):
            (right if label == truth else wrong).append(score)
    r, w = torch.tensor(right), torch.tensor(wrong)
    above = (r[:, None] > w).float().mean() + 0.5 * (r[:, None] == w).float().mean()
    return {
        "AUROC": above.item(),
        "right labels above 0.5": (r > 0.5).float().mean().item(),
        "wrong labels below 0.5": (w < 0.5).float().mean().item(),
    }


def news(data: Path) -> list[Row]:
    """Return AG News' test set: title and description, and one of NEWS."""
    path = prepare.ready("ag_news", data) / "test.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row and row[0].isdigit()]
    return [(f"{row[1]} {row[2]}", NEWS[int(row[0]) - 1]) for row in rows]


def reviews(data: Path) -> list[Row]:
    """Return the sentences of SST-2 that the recipe holds out."""
    _, kept = sst2.split(sst2.load(data, exact=True))
    return [(typed(text), VERDICTS[label]) for text, label in kept]


def requests(data: Path) -> list[list[Row]]:
    """Return the test requests of each of CLINC150's held-out domains."""
    domains, rows = intents.domains(data), intents.clinc150(data)["test"]
    return [
        [(text, i.replace("_", " ")) for text, i in rows if i in domains[domain]]
        for domain in intents.HELD_OUT_DOMAINS
    ]


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return every measure by the name that the card and the catalogue give it.

    quick: only what needs no other data, some seconds. Raises FileNotFoundError where
    a set is not in `data`, before anything is measured.
    """
    if not quick:
        both, film, articles = requests(data), reviews(data), news(data)
    model, scores = classifier(), {}
    for name in OURS:
        rows = read(name)
        labels = sorted({label for _, label in rows})
        scores[f"accuracy on {len(rows)} {name} of our own"] = accuracy(
            model, rows, labels, batch_size=32
        )
    for name, value in independent(model, read("topics")).items():
        scores[f"multi_label on the topics: {name}"] = value
    if quick:
        return scores
    scores["accuracy on 900 held-out sentences of SST-2"] = accuracy(
        model, film, VERDICTS, batch_size=32
    )
    shares = [
        accuracy(model, rows, sorted({i for _, i in rows}), batch_size=64) * len(rows)
        for rows in both
    ]
    scores["accuracy on 30 held-out intents of CLINC150"] = sum(shares) / sum(
        map(len, both)
    )
    on_news = accuracy(model, articles, NEWS, batch_size=64)
    return {"accuracy on AG News": on_news} | scores
