"""What the card of clip-emoji says, measured again."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn.functional import normalize
from transformers import AutoConfig, AutoTokenizer, pipeline

from helpers.models import embedded
from recipes.clip_emoji import FRAME
from recipes.datasets.emoji.twemoji_test import paraphrases, share_within, unseen

EACH = 200  # the pipeline itself is asked about one drawing in so many


@torch.no_grad()
def vectors(choose, texts: list[str]) -> torch.Tensor:
    """Return where the model of a pipeline puts texts, (texts, 384), of length one."""
    tokenizer = AutoTokenizer.from_pretrained(embedded("clip-emoji"))
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    return normalize(choose.model.get_text_features(**inputs).pooler_output, dim=-1)


@torch.no_grad()
def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return how often the right name is found for a drawing in an unseen style, and
    the right drawing for a description.

    Quick: for every fourth drawing, and among the drawings that are described. `data`
    is not needed.
    """
    choose = pipeline(
        "zero-shot-image-classification", model=str(embedded("clip-emoji"))
    )
    names = labels()
    drawn = dict(zip(names, unseen(names), strict=True))
    described = [name for _, name in paraphrases()]
    asked = names[::4] if quick else names
    among = described if quick else names
    shown = list(dict.fromkeys([*asked, *among]))
    inputs = choose.image_processor([drawn[n] for n in shown], return_tensors="pt")
    image = normalize(choose.model.get_image_features(**inputs).pooler_output, dim=-1)
    seen = dict(zip(shown, image, strict=True))
    name_vectors = vectors(choose, [FRAME.format(name) for name in names])
    by_name = ranks(
        torch.stack([seen[name] for name in asked]) @ name_vectors.T,
        [names.index(name) for name in asked],
    )
    by_words = ranks(
        vectors(choose, [text for text, _ in paraphrases()])
        @ torch.stack([seen[name] for name in among]).T,
        [among.index(name) for name in described],
    )
    # The pipeline reads all names anew for each picture: it is asked about some, and
    # vectors stand for all.
    for at in range(0, len(asked), EACH):
        answer = choose(drawn[asked[at]], candidate_labels=names)
        rank = [row["label"] for row in answer].index(asked[at])
        if rank != by_name[at]:
            raise ValueError(
                f"{asked[at]}: the pipeline has it at {rank}, the vectors at "
                f"{by_name[at]}"
            )
    if quick:
        return {
            "recall@1 by name on every fourth of the 447 drawings": share_within(
                by_name, 1
            ),
            "40 paraphrases: right drawing first of the 40": share_within(by_words, 1),
        }
    return {
        "recall@1 by name on Twemoji, 447 names": share_within(by_name, 1),
        "recall@10 by name on Twemoji, 447 names": share_within(by_name, 10),
        "40 paraphrases: right drawing in the first ten of 447": share_within(
            by_words, 10
        ),
    }


def labels() -> list[str]:
    """Return the names of the 447 things."""
    config = AutoConfig.from_pretrained(embedded("convnext-emoji"))
    return list(config.id2label.values())


def ranks(near: torch.Tensor, right: list[int]) -> list[int]:
    """Return where in its row, from the nearest on, each right one comes."""
    order = near.argsort(dim=-1, descending=True).tolist()
    return [row.index(at) for row, at in zip(order, right, strict=True)]
