"""Measure what the card and the catalogue say of minilm-nli.

    python score.py                   the quick part: texts in this repository
    python score.py --data FOLDER     all of it; FOLDER holds ag_news/test.csv
                                      (class,title,description), sst2/ and clinc150/

Every score goes through the library's own pipeline. None of the texts were trained on.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import torch
from transformers import pipeline

from helpers.catalogue import NOTEBOOKS

HERE = Path(__file__).resolve().parent

from helpers.models import embedded

# The topics lie among the series' data, where a page reads them too.
OURS = {"topics": NOTEBOOKS / "data", "feelings": HERE, "requests": HERE}
NEWS = ["world", "sports", "business", "science and technology"]
HELD_OUT_DOMAINS = ("home", "auto_and_commute")  # train.py leaves their labels out
# What a file is, for somebody who does not have it.
FILES = {
    "ag_news/test.csv": "AG News' test set: class,title,description, 7,600 rows",
    "sst2/train.tsv": "SST-2's training sentences: sentence, label",
    "clinc150/data_full.json": "CLINC150: data_full.json and domains.json",
}


def classifier():
    """Return the library's zero-shot pipeline with this model."""
    return pipeline("zero-shot-classification", model=str(embedded("minilm-nli")))


def read(name: str) -> list[tuple[str, str]]:
    """Return the (text, label) pairs of a file of our own."""
    with (OURS[name] / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def accuracy(model, rows: list[tuple[str, str]], labels: list[str], **options) -> float:
    """Return how often the first label is the right one."""
    order = sorted(rows, key=lambda row: len(row[0]))  # like lengths, little padding
    answers = model([text for text, _ in order], labels, **options)
    pairs = zip(answers, order, strict=True)
    return sum(a["labels"][0] == label for a, (_, label) in pairs) / len(rows)


def independent(model, rows: list[tuple[str, str]]) -> dict[str, float]:
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


def needed(data: Path, name: str) -> Path:
    """Return a file's path, or say what to put there."""
    path = data / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. Put there {FILES[name]}.")
    return path


def news(data: Path) -> list[tuple[str, str]]:
    """Return AG News' test set: title and description, and one of NEWS."""
    path = needed(data, "ag_news/test.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row and row[0].isdigit()]
    return [(f"{row[1]} {row[2]}", NEWS[int(row[0]) - 1]) for row in rows]


def reviews(data: Path) -> list[tuple[str, str]]:
    """Return the sentences of SST-2 that train.py holds out."""
    needed(data, "sst2/train.tsv")
    from recipes.minilm_nli import train as recipe

    _, kept = recipe.held_out_reviews(data)
    names = ["negative", "positive"]
    return [(recipe.typed(text), names[int(label)]) for text, label in kept]


def requests(data: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the test requests of CLINC150's two held-out domains."""
    folder = needed(data, "clinc150/data_full.json").parent
    domains = json.loads((folder / "domains.json").read_text("utf-8"))
    rows = json.loads((folder / "data_full.json").read_text("utf-8"))["test"]
    return {
        domain: [(t, i.replace("_", " ")) for t, i in rows if i in domains[domain]]
        for domain in HELD_OUT_DOMAINS
    }


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return every measure by the name that the card and the catalogue give it.

    quick: only what needs no other data, some seconds. Raises FileNotFoundError where
    a set is not in `data`.
    """
    model, scores = classifier(), {}
    if not quick:
        data = data or Path("data")
        files = [needed(data, name) for name in FILES]
        assert len(files) == len(FILES)
        scores["accuracy on AG News"] = accuracy(model, news(data), NEWS, batch_size=64)
    for name in OURS:
        rows = read(name)
        labels = sorted({label for _, label in rows})
        scores[f"accuracy on {len(rows)} {name} of our own"] = accuracy(
            model, rows, labels, batch_size=32
        )
    for name, value in independent(model, read("topics")).items():
        scores[f"multi_label on the topics: {name}"] = value
    if not quick:
        scores["accuracy on 900 held-out sentences of SST-2"] = accuracy(
            model, reviews(data), ["negative", "positive"], batch_size=32
        )
        both = requests(data)
        right = sum(
            accuracy(model, rows, sorted({i for _, i in rows}), batch_size=64)
            * len(rows)
            for rows in both.values()
        )
        scores["accuracy on 30 held-out intents of CLINC150"] = right / sum(
            map(len, both.values())
        )
    return scores


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    arguments = parser.parse_args()
    measured = measure(quick=arguments.data is None, data=arguments.data)
    for name, value in measured.items():
        print(f"{name}: {value:.3f}")


if __name__ == "__main__":
    main()
