"""The small GPT of notebook 10, as it is written there, and a way to let it write.

Notebook 11 trains it. A test compares the classes with the cells of notebook 10.
"""

from __future__ import annotations

from math import inf, sqrt

import torch
from torch import nn


def attention(q, k, v, mask=None):
    """Mix values: (..., tokens, size) in; the mixture and the weights out."""
    scores = q @ k.transpose(-2, -1) / sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -inf)
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


def split_heads(x, heads):
    """(batch, tokens, width) in; (batch, heads, tokens, size) out."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x):
    """(batch, heads, tokens, size) in; (batch, tokens, width) out."""
    return x.transpose(1, 2).flatten(-2)


class Attention(nn.Module):
    """Several causal heads: (batch, tokens, width) in, the same out."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x):
        parts = self.c_attn(x).chunk(3, dim=-1)
        q, k, v = (split_heads(part, self.heads) for part in parts)
        pairs = x.new_ones(x.shape[1], x.shape[1], dtype=torch.bool)
        return self.c_proj(merge_heads(attention(q, k, v, pairs.tril())[0]))


class FeedForward(nn.Module):
    """Widen, apply GELU, narrow again: each token alone."""

    def __init__(self, width):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x):
        x = nn.functional.gelu(self.c_fc(x), approximate="tanh")
        return self.c_proj(x)


class Block(nn.Module):
    """Two additions to the residual stream."""

    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = Attention(width, heads), FeedForward(width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """Token ids (batch, tokens) in, logits (batch, tokens, vocabulary) out."""

    def __init__(self, vocabulary, places, width, heads, layers):
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(places, width)
        self.h = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.ln_f = nn.LayerNorm(width)

    def forward(self, ids):
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.wte(ids) + self.wpe(places)
        return self.ln_f(self.h(x)) @ self.wte.weight.T


def new_gpt(vocabulary: int, places: int, width: int, layers: int = 2) -> GPT:
    """Return a GPT with small random weights, the same ones at each call.

    The weights of its matrices have a standard deviation of 0.7 / sqrt(width), as in
    `experiments.scaling`, so that the first loss is near the logarithm of the
    vocabulary; heads are 32 wide.
    """
    torch.manual_seed(0)
    gpt = GPT(vocabulary, places, width, max(1, width // 32), layers)
    for module in gpt.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.7 / sqrt(width))
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    return gpt


@torch.no_grad()
def write(model, tokenizer, prompt: str, tokens: int = 40) -> str:
    """Return a prompt with what a GPT adds, the same text at each call.

    `model(ids)` gives logits (batch, tokens, vocabulary), or an output of the library
    that has them. The loop is that of notebook 06: temperature 0.7, the best 40 tokens.
    """
    device = next(model.parameters()).device
    chance = torch.Generator().manual_seed(0)
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    for _ in range(tokens):
        logits = model(ids.to(device))
        logits = getattr(logits, "logits", logits)[0, -1].cpu()
        best = (logits / 0.7).topk(40)
        pick = torch.multinomial(best.values.softmax(dim=-1), 1, generator=chance)
        ids = torch.cat([ids, best.indices[pick][None]], dim=1)
    return " ".join(tokenizer.decode(ids[0]).split())
