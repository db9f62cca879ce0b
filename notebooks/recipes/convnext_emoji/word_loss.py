"""The second loss: how near a picture's vector is to what is said of the thing."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

DIM = 384  # of MiniLM's space
LABEL_SMOOTHING = 0.1


class WordLoss(nn.Module):
    """Contrast of pictures with texts, in a space that both are projected to.

    `texts` has a row for each thing, {"names", "phrases", "glosses"}, each a list of
    texts; `vectors` has MiniLM's vector of each text, `width` is the encoder's.
    """

    def __init__(
        self, texts: list[dict], vectors: dict[str, torch.Tensor], width: int
    ) -> None:
        super().__init__()
        # Names lie close together in MiniLM's space; without their mean they spread.
        self.register_buffer("mean", torch.stack(list(vectors.values())).mean(0))
        every = [[row[kind] or row["names"] for kind in row] for row in texts]
        flat = [text for row in every for kind in row for text in kind]
        # Of thing i, its names, phrases and glosses: where they begin, how many.
        self.vectors = normalize(
            torch.stack([vectors[text] for text in flat]) - self.mean, dim=-1
        )
        self.count = torch.tensor([[len(kind) for kind in row] for row in every])
        counts = self.count.flatten()
        self.first = (counts.cumsum(0) - counts).view_as(self.count)
        self.visual = nn.Linear(width, DIM, bias=False)
        self.text = nn.Linear(DIM, DIM, bias=False)
        nn.init.eye_(self.text.weight)
        self.scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def sample(self) -> torch.Tensor:
        """Return one text's vector for each thing, its name half of the time."""
        n = len(self.count)
        kind = torch.multinomial(torch.tensor([0.5, 0.25, 0.25]), n, replacement=True)
        count = self.count.gather(1, kind[:, None]).squeeze(1)
        first = self.first.gather(1, kind[:, None]).squeeze(1)
        return self.vectors[first + (torch.rand(n) * count).long()]

    def names(self) -> torch.Tensor:
        """Return the projected vector of each thing's name, (things, 384)."""
        return normalize(self.text(self.vectors[self.first[:, 0]]), dim=-1)

    def pictures(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return the projected vectors of pictures, (n, 384), from (n, width)."""
        return normalize(self.visual(pooled), dim=-1)

    def forward(self, pooled: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        texts = normalize(self.text(self.sample()), dim=-1)
        logits = self.pictures(pooled) @ texts.T
        scale = self.scale.clamp(max=math.log(40.0)).exp()
        return cross_entropy(logits * scale, labels, label_smoothing=LABEL_SMOOTHING)
