"""SST-2: reading it, the sentences that are held out, and its writing undone.

minilm-sst2 and minilm-nli hold out the same 900 sentences, so that neither has seen
what the other is measured on.
"""

from __future__ import annotations

import csv
import random
import re
from pathlib import Path

from recipes.datasets import prepare

SEED = 0
HELD_OUT = 900  # whole sentences, the size of GLUE's validation set
ENDS = (" .", " !", " ?", " ''")  # of a whole sentence
COLUMNS = ("sentence", "label")

Pair = tuple[str, int]


def load(data: Path, *, exact: bool = False) -> list[Pair]:
    """Return (text, label) pairs of all phrases and sentences in DATA/sst2: 0 is
    negative, 1 positive. `exact` and errors as in `prepare.ready`."""
    folder, pairs = prepare.ready("sst2", data, exact=exact), []
    for name in ("train.tsv", "validation.tsv"):
        if not (folder / name).is_file():
            continue  # the Hub has both in one
        with (folder / name).open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            pairs += [(row["sentence"].strip(), int(row["label"])) for row in rows]
    return pairs


def split(
    pairs: list[Pair], held_out: int | None = None
) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs to train on, and HELD_OUT whole sentences that are held out.

    SST-2 lists a sentence's phrases beside it, so a random split would leak: no phrase
    that is a part of a held-out sentence is trained on. Which sentences are drawn
    depends on the order of `pairs`.
    """
    # A whole sentence is a part of no other text.
    candidates = [p for p in pairs if p[0].endswith(ENDS) and len(p[0].split()) > 5]
    everything = "\n".join(sorted({text for text, _ in pairs}))
    whole = [p for p in candidates if everything.count(p[0]) == 1]
    kept = random.Random(SEED).sample(whole, held_out or HELD_OUT)
    texts = "\n".join(f" {text} " for text, _ in kept)
    return [p for p in pairs if f" {p[0]} " not in texts], kept


def detokenized(text: str, brackets: bool = True) -> str:
    """Return a text as people type it: "don't", not "do n't".

    `brackets` also turns -lrb- and -rrb-, which SST-2 has for (), back into them.
    """
    text = re.sub(r" (n't|'s|'re|'ve|'ll|'d|'m)\b", r"\1", text)
    text = re.sub(r" ([.,!?;:%])", r"\1", text)
    if brackets:
        text = text.replace("-lrb- ", "(").replace(" -rrb-", ")")
    return text.replace("`` ", '"').replace(" ''", '"')


def from_hub(folder: Path) -> None:
    """Write the Hub's training set, which holds both files, as train.tsv."""
    from datasets import load_dataset

    rows = load_dataset(prepare.source("sst2")["hub"], split="train")
    with (folder / "train.tsv").open("w", encoding="utf-8", newline="") as file:
        file.write("\t".join(COLUMNS) + "\n")
        file.writelines(f"{row['sentence'].strip()}\t{row['label']}\n" for row in rows)
