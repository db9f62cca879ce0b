"""What the card of marian-en-fr-ui says, measured again.

The test is the French of two whole packages that no training pair comes from. What
training has as well, whatever its case and punctuation, is taken out of it.
"""

from __future__ import annotations

import csv
from pathlib import Path

import torch
from sacrebleu.metrics import CHRF
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from helpers.catalogue import MODELS
from helpers.store import cache_folder
from recipes.datasets import prepare
from recipes.marian_en_fr_ui.corpus import HERE, SEEN, digest, load, placeholders

PUBLISHED = MODELS / "marian-en-fr-ui"

# What a reader of the interface must understand; the first is what the card names.
REQUIRED = {
    "Save the file": ["Enregistrer le fichier", "Sauvegarder le fichier"],
    "This field is required.": ["Ce champ est obligatoire.", "Ce champ est requis."],
    "Are you sure you want to close this notebook?": [
        f"{ask} fermer ce {thing} ?"
        for ask in ("Êtes-vous sûr de vouloir", "Voulez-vous vraiment")
        for thing in ("notebook", "carnet", "bloc-notes")
    ],
}


class Translator:
    """The model as a function of many texts, shortest first, in batches."""

    def __init__(self, folder: Path = PUBLISHED) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()

    @torch.no_grad()
    def __call__(self, texts: list[str], batch: int = 32) -> list[str]:
        """Return the translations of texts, in their order."""
        answers = [""] * len(texts)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            inputs = self.tokenizer(
                [texts[i] for i in rows],
                return_tensors="pt",
                padding=True,
                truncation=True,
            )
            made = self.model.generate(**inputs)
            texts_made = self.tokenizer.batch_decode(made, skip_special_tokens=True)
            for i, text in zip(rows, texts_made, strict=True):
                answers[i] = text
        return answers


def test_set(archives: Path) -> dict[str, str]:
    """Return {English: French} of the two test packages, without what was seen."""
    seen = set(SEEN.read_text("ascii").split())
    pairs = {}
    for of_package in load("test", archives).values():
        for english, french in of_package:
            if digest(english) not in seen:
                pairs.setdefault(english, french)
    return pairs


def chrf(answers: list[str], references: list[str]) -> float:
    """Return chrF (Popović, 2015), from 0 to 100."""
    return CHRF().corpus_score(answers, [references]).score


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return the measures by name, higher is better: chrF from 0 to 100, shares from
    0 to 1. The two test packages lie in `data`/archives or are fetched into the cache.

    Raises FileNotFoundError where they cannot be had.
    """
    translate = Translator()
    answers = translate(list(REQUIRED))
    right = [a in good for a, good in zip(answers, REQUIRED.values(), strict=True)]
    with (HERE / "sentences.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    own = translate([row["english"] for row in rows])
    scores = {
        "required sentences translated rightly": sum(right) / len(right),
        f"chrF on {len(rows)} sentences of our own": chrf(
            own, [row["french"] for row in rows]
        ),
    }
    if quick:
        return scores
    archives = (data or Path()) / prepare.ARCHIVES
    pairs = test_set(archives if archives.is_dir() else cache_folder() / "wheels")
    answers = dict(zip(pairs, translate(list(pairs)), strict=True))
    kept = [
        placeholders(text) == placeholders(answers[text])
        for text in pairs
        if placeholders(text)
    ]
    return {
        "chrF on two packages not trained on": chrf(
            list(answers.values()), list(pairs.values())
        ),
        "placeholders kept, on the same packages": sum(kept) / len(kept),
    } | scores
