"""What the card of clip-emoji says, measured again."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn.functional import normalize
from transformers import AutoConfig, AutoTokenizer, pipeline

from helpers.models import embedded

EACH = 200


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return how often the right name is found for a drawing by an unseen hand, and
    the right drawing for a description."""
    from recipes.datasets.emoji.twemoji_test import found_in, paraphrases, unseen

    folder = embedded("clip-emoji")
    choose = pipeline("zero-shot-image-classification", model=str(folder))
    names = labels()
    pictures, ranks = unseen(names), []
    # The pipeline reads all names anew for each picture: it is asked about three,
    # and vectors stand for all.
    for at in range(0, len(names), EACH):
        answer = choose(pictures[at], candidate_labels=names)
        ranks.append([row["label"] for row in answer].index(names[at]))
    model, tokenizer = choose.model, AutoTokenizer.from_pretrained(folder)
    seen = choose.image_processor(pictures, return_tensors="pt")
    told, names_told = [
        tokenizer(texts, padding=True, return_tensors="pt")
        for texts in (
            [text for text, _ in paraphrases()],
            [f"This is a photo of {name}." for name in names],
        )
    ]
    with torch.no_grad():
        image = normalize(model.get_image_features(**seen).pooler_output, dim=-1)
        text = normalize(model.get_text_features(**told).pooler_output, dim=-1)
        name = normalize(model.get_text_features(**names_told).pooler_output, dim=-1)
    by_name = places(image @ name.T, list(range(len(names))))
    by_words = places(text @ image.T, [names.index(n) for _, n in paraphrases()])
    assert by_name[::EACH] == ranks, "the pipeline ranks otherwise than the vectors"
    return {
        "recall@1 by name on Twemoji, 447 names": found_in(by_name, 1),
        "recall@10 by name on Twemoji, 447 names": found_in(by_name, 10),
        "40 paraphrases: right drawing in the first ten of 447": found_in(by_words, 10),
    }


def labels() -> list[str]:
    config = AutoConfig.from_pretrained(embedded("convnext-emoji"))
    return list(config.id2label.values())


def places(near: torch.Tensor, right: list[int]) -> list[int]:
    """Return where in its row, from the nearest on, each right one comes."""
    order = near.argsort(dim=-1, descending=True).tolist()
    return [row.index(at) for row, at in zip(order, right, strict=True)]
