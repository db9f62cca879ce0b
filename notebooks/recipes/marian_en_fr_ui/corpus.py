"""Pairs of English and French messages, out of the catalogues of published software.

`packages.toml` lists the packages; `recipes.datasets.prepare` fetches and checks them,
`catalogues.py` reads them. Here messages are tidied, and what is no translation goes.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from recipes.datasets import prepare
from recipes.marian_en_fr_ui.catalogues import Pair, read, read_vscode

HERE = Path(__file__).resolve().parent
SEEN = HERE / "seen.txt"  # digests of the test's texts that training has too
LONGEST = 300  # characters; longer messages are help texts


def packages(use: str) -> list[dict]:
    """Return the rows of packages.toml for a use: "train", "validate" or "test"."""
    rows = prepare.packages(prepare.source("ui-packages"))
    return [row for row in rows if row.get("use", "train") == use]


PLACEHOLDER = re.compile(
    r"%\(\w+\)[#0\- +]?[\d.]*[a-z]|%(?:\d\$)?[sdifr@](?![a-z])|\$?\{+[^{}]*\}+"
    r"|__\w+__|%\w+%|</?[a-zA-Z][^<>]*>|\$\w+|https?://\S+"
)
ENGLISH_WORDS = {"the", "of", "is", "are", "this", "that", "with", "your", "you"}
ENGLISH_WORDS |= {"to", "and", "for", "not", "be", "has"}
FRENCH_WORDS = {"le", "la", "les", "de", "du", "des", "un", "une", "est", "sont"}
FRENCH_WORDS |= {"ce", "cette", "avec", "votre", "vous", "et"}


def tidy(text: str) -> str:
    """Write a message in one line, with plain apostrophes and plain spaces."""
    text = text.replace("\u2019", "'").replace("\u00ad", "").replace("&&", "")
    text = re.sub(r"(?<=\w)`[^`]+`$", "", text)  # a note on the context
    return re.sub(r"\s+", " ", text).strip()


def french_spaces(text: str) -> str:
    """Put the space that French has before a high sign, where it was left out."""
    text = re.sub(r"(?<=[\w)}»\"'])([?!])(?=\s|$)", r" \1", text)
    text = re.sub(r"(?<=[A-Za-zÀ-ÿ)}»\"])([:;])(?=\s|$)", r" \1", text)
    return re.sub(r"«(?=\S)", "« ", re.sub(r"(?<=\S)»", " »", text))


def placeholders(text: str) -> Counter:
    """Return what a translation must keep as it is, and how often it stands there."""
    return Counter(re.sub(r"\s", "", p) for p in PLACEHOLDER.findall(text))


def good(english: str, french: str) -> bool:
    """Whether a pair looks like a message and its translation."""
    if not 2 <= len(english) <= LONGEST or not 2 <= len(french) <= 1.5 * LONGEST:
        return False
    if sum(c.isalpha() and c < "\u0250" for c in english) < max(2, len(english) * 0.4):
        return False
    if not 0.35 < (len(french) + 10) / (len(english) + 10) < 2.6:
        return False
    if any(c > "\u024f" and c.isalpha() for c in english + french):
        return False
    if set(placeholders(english)) != set(placeholders(french)):
        return False
    if len(re.findall(r"[<{]", english)) > 6 or re.search(r"plural,|select,", english):
        return False
    words = [set(re.findall(r"[a-zà-ÿ]+", t.lower())) for t in (english, french)]
    if len(words[1] & ENGLISH_WORDS) > len(words[1] & FRENCH_WORDS):
        return False
    return len(words[0] & FRENCH_WORDS) <= len(words[0] & ENGLISH_WORDS) + 1


def clean(raw: Iterator[Pair]) -> list[Pair]:
    """Return tidy pairs, each once, without those that are not translations."""
    kept = {}
    for english, french in raw:
        if isinstance(english, str) and isinstance(french, str):
            pair = tidy(english), french_spaces(tidy(french))
            if good(*pair):
                kept[pair] = None
    return list(kept)


def merged(by_package: dict[str, list[Pair]], most: int = 2) -> list[Pair]:
    """Return the pairs of all packages; of one English text the `most` most usual.

    A message that stays as it is (OK, Version) is believed where two packages agree.
    """
    votes = defaultdict(Counter)
    for pairs in by_package.values():
        for english, french in pairs:
            votes[english][french] += 1
    chosen = []
    for english, answers in votes.items():
        if answers[english] == 1:
            del answers[english]
        chosen += [(english, french) for french, _ in answers.most_common(most)]
    return chosen


def digest(text: str) -> str:
    """Return a short name of a text that forgets its case and punctuation."""
    letters = " ".join(re.findall(r"\w+", text.casefold()))
    return hashlib.sha256(letters.encode()).hexdigest()[:12]


def load(use: str, archives: Path) -> dict[str, list[Pair]]:
    """Return the clean pairs of every package of a use, by its name.

    Packages that are not in the folder `archives` are fetched into it; errors as in
    `prepare.archive`.
    """
    paths = {row["name"]: prepare.archive(row, archives) for row in packages(use)}
    found = {name: clean(read(path)) for name, path in paths.items()}
    if "code-server" in paths:
        pack = paths["@codingame/monaco-vscode-language-pack-fr"]
        found["code-server"] = clean(read_vscode(paths["code-server"], pack))
    return found
