"""The model of minilm-nli: MiniLM that reads a text and a sentence together."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification

from helpers.bases import base
from recipes.common import precision
from recipes.datasets import prepare
from recipes.minilm_nli.sets import LABELS, read_csv

BASE = "all-MiniLM-L6-v2"
FROZEN_LAYERS = 2  # the lowest layers stay the base's; word vectors always do
TOKENS = 64  # of a text; longer ones are cut here, and here alone


def new_model() -> torch.nn.Module:
    """Return MiniLM with a new head; what learns requires gradients."""
    model = AutoModelForSequenceClassification.from_pretrained(
        base(BASE),
        num_labels=3,
        id2label=LABELS,
        label2id={label: i for i, label in LABELS.items()},
        attn_implementation="eager",  # the fused one is slow backwards on a CPU
        hidden_dropout_prob=0.0,  # nothing is read twice alike, so dropout, a fifth of
        attention_probs_dropout_prob=0.0,  # the time of a step, prevents nothing
    )
    model.bert.embeddings.requires_grad_(False)
    for layer in model.bert.encoder.layer[:FROZEN_LAYERS]:
        layer.requires_grad_(False)
    return model


def logits_of(model, tokenizer, texts: list[str], sentences: list[str]) -> torch.Tensor:
    """Return logits, shape (pairs, 3)."""
    inputs = tokenizer(
        texts,
        sentences,
        padding=True,
        truncation="only_first",
        max_length=TOKENS + 24,
        return_tensors="pt",
    )
    with precision.autocast():
        return model(**inputs).logits.float()


def entailed_minus_contradicted(logits: torch.Tensor) -> torch.Tensor:
    """Return what the pipeline's `multi_label` reads, shape (pairs,)."""
    return logits[:, 2] - logits[:, 0]


@torch.no_grad()
def development(model, tokenizer, data: Path, kept: list) -> dict[str, float]:
    """Score what settings are chosen by; nothing of it is trained on.

    That is held-out pairs of SNLI, and each file of DATA/development.
    """
    model.eval()
    rows = random.Random(1).sample(kept, min(600, len(kept)))
    logits = logits_of(model, tokenizer, [r[0] for r in rows], [r[1] for r in rows])
    right = logits.argmax(1) == torch.tensor([r[2] for r in rows])
    scores = {"pairs": right.float().mean().item()}
    for path in development_files(data):
        table = read_csv(path)[1:]
        labels = sorted({row[1] for row in table})
        texts = [row[0] for row in table for _ in labels]
        sentences = [f"This example is {x}." for _ in table for x in labels]
        parts = [
            logits_of(model, tokenizer, texts[i : i + 120], sentences[i : i + 120])
            for i in range(0, len(texts), 120)
        ]
        entailed = torch.cat(parts)[:, 2].view(len(table), len(labels))
        truth = torch.tensor([labels.index(row[1]) for row in table])
        scores[path.stem] = (entailed.argmax(1) == truth).float().mean().item()
    return {name: round(value, 3) for name, value in scores.items()}


def development_files(data: Path) -> list[Path]:
    """Return the files of DATA/development; where there are none, say so."""
    try:
        return sorted(prepare.ready("development", data).glob("*.csv"))
    except prepare.MissingData as error:
        print(f"nothing but pairs is scored. {error}", flush=True)
        return []
