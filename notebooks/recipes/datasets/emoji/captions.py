"""What is said about each thing: its name, words for it, a dictionary's definition.

WordNet 3.1 (Princeton's licence, which lets anybody use it) gives the definitions;
of the senses of a word, the one that fits the CLDR keywords best is taken.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import load_file

from recipes.common.publish import write_tensors
from recipes.common.vectors import SentenceEncoder
from recipes.datasets import wordnet

PHRASES = 6  # made of a few keywords each
SENSES = 12  # of a word, at most, that are compared with the keywords
FITS = 0.35  # the least cosine of a definition and the keywords


def definitions(data: Path) -> dict[str, list[str]]:
    """Return {word: definitions} of WordNet's nouns, the examples left out."""
    found: dict[str, list[str]] = {}
    for synset in wordnet.nouns(data).values():
        gloss = re.split(r';\s*"', synset.gloss)[0].strip()
        for word in synset.words:
            found.setdefault(word.lower(), []).append(gloss)
    return found


def captions(
    things: list[dict], words: dict[str, list[str]], encode: SentenceEncoder
) -> list[dict[str, list[str]]]:
    """Return, for each thing, its `names`, `phrases` of keywords and `glosses`.

    `words` are the `definitions`.
    """
    rng = random.Random(0)
    shared = Counter(word for thing in things for word in thing["keywords"])
    found, abouts, senses = [], [], []
    for thing in things:
        name = thing["name"]
        keywords = [word for word in thing["keywords"] if word != name.lower()]
        # A word that stands for many things ("animal") says little alone.
        own = [word for word in keywords if shared[word] == 1]
        phrases = [
            " ".join(rng.sample(keywords, min(3, len(keywords))))
            for _ in range(PHRASES if keywords else 0)
        ]
        found.append({"names": [name], "phrases": own + phrases, "glosses": []})
        abouts.append(f"{name}: {', '.join(keywords)}")
        known = words.get(name.lower(), [])
        if not known:
            known = [gloss for word in own for gloss in words.get(word, [])[:1]]
        senses.append(known[:SENSES])
    every = sorted({gloss for known in senses for gloss in known}, key=len)
    vectors = dict(zip(every, encode(every), strict=True))
    for row, about, known in zip(found, encode(abouts), senses, strict=True):
        fits = [(vectors[gloss] @ about).item() for gloss in known]
        if fits and max(fits) > FITS:
            row["glosses"] = [known[fits.index(max(fits))]]
    return found


def texts_and_vectors(
    things: list[dict], data: Path, work: Path
) -> tuple[dict[str, dict], dict[str, torch.Tensor]]:
    """Return {name: a thing's captions} and {text: its vector of 384}, kept in WORK."""
    said, stored = work / "captions.json", work / "captions.safetensors"
    if not said.is_file():
        encode = SentenceEncoder()
        rows = captions(things, definitions(data), encode)
        every = sorted({text for row in rows for kind in row.values() for text in kind})
        write_tensors({"vectors": encode(every)}, stored)
        said.write_text(json.dumps({"rows": rows, "texts": every}), "utf-8")
    kept = json.loads(said.read_text("utf-8"))
    names = [thing["name"] for thing in things]
    vectors = load_file(stored)["vectors"]
    return (
        dict(zip(names, kept["rows"], strict=True)),
        dict(zip(kept["texts"], vectors, strict=True)),
    )
