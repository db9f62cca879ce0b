"""The texts that minilm-nli learns from: each source with the labels that it knows."""

from __future__ import annotations

import csv
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from recipes.datasets import intents, prepare, sst2, wordnet
from recipes.minilm_nli.templates import label_table

SEED = 0
# The library's pipeline finds "entailment" by its name; with it at 2, `multi_label`
# compares it with what stands at 0.
LABELS = {0: "contradiction", 1: "neutral", 2: "entailment"}
NO_FEELING = 0.15  # so many of the comments without a feeling: nothing on the list fits
GOOD = "admiration amusement approval caring excitement gratitude joy love optimism"
BAD = "anger annoyance disappointment disapproval disgust fear grief sadness remorse"
# Feelings that are no wrong answers for one another.
NEAR = [
    "admiration approval love gratitude joy pride caring",
    "anger annoyance disapproval disgust disappointment",
    "sadness grief disappointment remorse embarrassment",
    "fear nervousness confusion",
    "joy amusement excitement relief love optimism pride desire",
    "surprise realization confusion curiosity excitement",
    "optimism desire caring approval",
]


@dataclass
class LabelledSet:
    """Texts of one source with the labels that it knows."""

    kind: str  # which templates fit
    share: float  # of the labelled texts
    names: dict[str, list[str]]  # what a label may be called
    near: dict[str, set[str]] = field(default_factory=dict)  # no wrong labels for it
    rows: list[tuple[str, list[str]]] = field(default_factory=list)
    hard: dict[str, list[str]] = field(default_factory=dict)  # nearest other labels
    about: dict[str, list[str]] = field(default_factory=dict)  # what its texts tell of


def read_csv(path: Path, **options) -> list[list[str]]:
    """Return the rows of a CSV file, the header with them."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return list(csv.reader(file, **options))


def typed(text: str) -> str:
    """Undo a data set's tokenization, which nobody types."""
    return sst2.detokenized(text, brackets=False).strip()


def definitions(data: Path, version: str) -> list[tuple[str, list[str]]]:
    """Return (definition, names of what stands above it) for WordNet's nouns; half of
    the definitions begin with the word that they define."""
    nodes, rows = wordnet.nouns(data, version), []
    for synset in nodes.values():
        names, above = [], synset.above
        while above and len(names) < 3:
            parent = nodes[above[0]]
            names.append(parent.words[0].lower())
            above = parent.above
        gloss = synset.gloss.split(";")[0].strip()
        word = synset.words[0]
        if names and len(gloss.split()) > 3 and not word[0].isdigit():
            rows.append((gloss if random.random() < 0.5 else f"{word}: {gloss}", names))
    return rows


def frequent(rows: list[tuple[str, list[str]]]) -> list[str]:
    """Return the names that more than five of the definitions have above them."""
    counts = Counter(name for _, names in rows for name in names)
    return [name for name, count in counts.items() if count > 5]


def load_sets(data: Path, written: list[tuple[int, str]]) -> dict[str, LabelledSet]:
    """Return every labelled source, by name; `written` has (topic's number, text)."""
    table = label_table()
    named, topics = table["sets"], table["topic"]
    sets = {
        "topics": LabelledSet(
            "topic",
            0.20,
            {t["names"][0]: t["names"] for t in topics},
            {t["names"][0]: set(t["near"]) for t in topics},
            [(text, [topics[i]["names"][0]]) for i, text in written],
            about={t["names"][0]: t["about"] for t in topics},
        ),
        "uci": LabelledSet("topic", 0.08, named["uci"]),
        "dbpedia": LabelledSet("kind", 0.07, named["dbpedia"]),
        "wordnet": LabelledSet("kind", 0.12, {}),
        "goemotions": LabelledSet("feeling", 0.15, named["goemotions"]),
        "mood": LabelledSet("verdict", 0.06, named["mood"]),
        "sst2": LabelledSet("verdict", 0.10, named["sst2"]),
        "clinc": LabelledSet("request", 0.09, {}),
        "domains": LabelledSet("request", 0.02, {}),
        "banking": LabelledSet("request", 0.03, {}),
        "hwu": LabelledSet("request", 0.05, named["hwu"]),
        "trec": LabelledSet("kind", 0.03, named["trec"]),
    }
    # In this order, since some of them draw random numbers.
    add_articles(sets, data)
    add_definitions(sets["wordnet"], data)
    add_comments(sets["goemotions"], sets["mood"], data)
    add_reviews(sets["sst2"], data)
    add_requests(sets, data)
    for line in lines(prepare.ready("trec", data) / "train.txt", "latin-1"):
        sets["trec"].rows.append((typed(line.split(" ", 1)[1]), [line.split(":")[0]]))
    return sets


def lines(path: Path, encoding: str = "utf-8") -> list[str]:
    """Return the lines of a text file."""
    return path.read_text(encoding).splitlines()


def add_articles(sets: dict[str, LabelledSet], data: Path) -> None:
    """Add news headlines and first sentences of encyclopedia articles."""
    for row in read_csv(prepare.ready("uci_news", data) / "news.csv")[1:]:
        if len(row) > 4 and row[4] in sets["uci"].names:
            sets["uci"].rows.append((row[1], [row[4]]))
    for row in read_csv(prepare.ready("dbpedia", data) / "train.csv"):
        label, text = row[0], ",".join(row[1:]).split("\t")[0]
        sets["dbpedia"].rows.append((typed(text), [label]))


def add_definitions(into: LabelledSet, data: Path) -> None:
    """Add WordNet's definitions with the frequent names above them."""
    rows = definitions(data, "3_0")
    into.names = {name: [name] for name in frequent(rows)}
    rows = [(text, [n for n in names if n in into.names]) for text, names in rows]
    into.rows = [row for row in rows if row[1]]


def add_comments(feelings: LabelledSet, moods: LabelledSet, data: Path) -> None:
    """Add comments with their feelings, and the same as good or bad mood."""
    folder = prepare.ready("goemotions", data)
    names = [*(folder / "labels.txt").read_text("utf-8").split(), "neutral"][:28]
    mood_of = dict.fromkeys(GOOD.split(), "positive")
    mood_of |= dict.fromkeys(BAD.split(), "negative")
    options = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    for row in read_csv(folder / "train.tsv", **options):
        found = [names[int(i)] for i in row[1].split(",")]
        found = [name for name in found if name != "neutral"]
        if found or random.random() < NO_FEELING:
            feelings.rows.append((row[0], found))
        mood = {mood_of.get(name) for name in found}
        if len(mood) == 1 and None not in mood:
            moods.rows.append((row[0], [mood.pop()]))
    for line in NEAR:
        for name in line.split():
            others = set(line.split()) - {name}
            feelings.near.setdefault(name, set()).update(others)


def add_reviews(into: LabelledSet, data: Path) -> None:
    """Add whole sentences and long phrases of film reviews."""
    for text, label in sst2.split(sst2.load(data))[0]:
        if len(text.split()) > 3:
            text = typed(text) if random.random() < 0.7 else text
            into.rows.append((text, [("negative", "positive")[label]]))


def add_requests(sets: dict[str, LabelledSet], data: Path) -> None:
    """Add requests of three sources; two domains of CLINC150 are left out."""
    domains, table = intents.domains(data), intents.clinc150(data)
    domain_of = {intent: d for d, some in domains.items() for intent in some}
    for text, intent in table["train"]:
        if domain_of[intent] not in intents.HELD_OUT_DOMAINS:
            sets["clinc"].rows.append((text, [intent]))
            sets["domains"].rows.append((text, [domain_of[intent]]))
    for text, _ in table["oos_train"] + table["oos_val"]:
        sets["clinc"].rows.append((text, []))
    for text, intent in intents.banking77(data):
        sets["banking"].rows.append((text, [intent]))
    for row in read_csv(prepare.ready("hwu64", data) / "train.csv"):
        label = row[1].split("_")[0]
        if label in sets["hwu"].names:
            sets["hwu"].rows.append((row[0], [label]))
        elif row[1].startswith("general"):
            sets["hwu"].rows.append((row[0], ["general"]))
    for name in ("clinc", "domains", "banking"):
        labels = {label for _, right in sets[name].rows for label in right}
        sets[name].names = {x: [x.replace("_", " ").lower()] for x in sorted(labels)}


def load_pairs(data: Path) -> tuple[list, list]:
    """Return SNLI's (premise, hypothesis, class) to train on, and 2,000 held out."""
    folder, pairs = prepare.ready("snli", data), []
    ids = {name: i for i, name in LABELS.items()}
    for part in ("dev", "test"):
        columns = [lines(folder / f"{name}.{part}") for name in ("s1", "s2", "labels")]
        for premise, hypothesis, label in zip(*columns, strict=True):
            pairs.append((typed(premise), typed(hypothesis), ids[label.strip()]))
    premises = sorted({p[0] for p in pairs})
    kept = set(random.Random(SEED).sample(premises, len(premises) // 10))
    return [p for p in pairs if p[0] not in kept], [p for p in pairs if p[0] in kept]
