"""Texts as vectors: all-MiniLM-L6-v2 as its authors use it."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer

from helpers.bases import base
from recipes.common import precision

BASE = "all-MiniLM-L6-v2"


class SentenceEncoder:
    """MiniLM: the mean of its output vectors stands for a text."""

    def __init__(
        self, longest: int | None = None, batch: int = 64, half: bool = False
    ) -> None:
        """`longest` cuts texts to so many tokens (None: to the model's own 512),
        `half` multiplies in 16 bits where that is faster."""
        self.tokenizer = AutoTokenizer.from_pretrained(base(BASE))
        self.model = AutoModel.from_pretrained(base(BASE)).eval()
        self.longest, self.size, self.half = longest, batch, half

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> torch.Tensor:
        """Return unit vectors, shape (texts, 384)."""
        out = torch.zeros(len(texts), self.model.config.hidden_size)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), self.size):
            rows = order[start : start + self.size]
            inputs = self.tokenizer(
                [texts[i] for i in rows],
                padding=True,
                truncation=True,
                max_length=self.longest,
                return_tensors="pt",
            )
            with precision.autocast(self.half):
                states = self.model(**inputs).last_hidden_state.float()
            mask = inputs["attention_mask"][..., None]
            out[rows] = normalize((states * mask).sum(1) / mask.sum(1), dim=1)
        return out

    def means(self, texts: list[list[str]]) -> torch.Tensor:
        """Return one unit vector per list of texts, the direction of their mean."""
        vectors = self([text for some in texts for text in some])
        parts = vectors.split([len(some) for some in texts])
        return normalize(torch.stack([part.mean(0) for part in parts]), dim=1)
