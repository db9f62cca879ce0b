"""WordNet's nouns, out of the file data.noun of its database.

The format is described in WordNet's manual, wndb(5WN): a line per synset (a set of
words with one meaning), with pointers to others and, after a bar, the gloss.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from recipes.datasets import prepare


@dataclass(frozen=True)
class Synset:
    """Words with one meaning: what they are, what defines them, what is above them."""

    words: tuple[str, ...]  # as they are written, "_" as a space
    gloss: str  # the definition and examples, as they stand
    above: tuple[str, ...]  # the hypernyms' offsets, the keys of `nouns`


def nouns(data: Path, version: str = "3_1") -> dict[str, Synset]:
    """Return the synsets of WordNet's nouns by offset, in the order of the file.

    `version` is "3_0" (the set wordnet-3_0) or "3_1". Errors as in `prepare.ready`.
    """
    name = f"wordnet-{version}"
    folder = prepare.ready(name, data)
    path = next(folder.rglob("data.noun"), None)
    if path is None:
        raise prepare.MissingData(f"data.noun is nowhere in {folder}: remove it")
    found = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("  "):
                continue  # the licence
            facts, _, gloss = line.partition(" | ")
            fields = facts.split()
            count = int(fields[3], 16)
            words = [word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]]
            above = re.findall(r" @i? (\d{8}) n", facts)
            found[fields[0]] = Synset(tuple(words), gloss.strip(), tuple(above))
    return found
