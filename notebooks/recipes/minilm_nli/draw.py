"""Batches for the first step: texts with labels that fit and labels that do not."""

from __future__ import annotations

import random
from dataclasses import replace

import torch
from torch.nn.functional import normalize

from recipes.common.vectors import SentenceEncoder
from recipes.minilm_nli.sets import LabelledSet
from recipes.minilm_nli.templates import ANY, NOT, TEMPLATES

PAIRS = 96  # text and sentence, a batch: the size where one core is kept busy
CHOICES = 6  # labels that a text is shown with, at most
TEMPERATURE = 0.05  # of the bi-encoder's cosines, which lie close together
# How often, among texts with labels:
NOTHING_FITS = 0.12  # the right label is not on the list, so that thresholds work
NEGATED = 0.08  # the sentence says "not", and right and wrong change places
JOINED = 0.10  # two names in one label, "science and technology"
HARD = 0.5  # wrong labels near the right one, by the bi-encoder, instead of any
# Shares of the batches: real pairs, labelled texts, distilled opinions.
SHARES = {"pairs": 0.13, "labelled": 0.62, "distilled": 0.25}
FRAMES = ["{}", "This text is about {}.", "This example is {}."]

# A text, the sentences made of labels, which of them fit as shares (or None), and
# whether each is true (or None).
Group = tuple[str, list[str], torch.Tensor | None, list[int] | None]


def label_vectors(encoder: SentenceEncoder, one: LabelledSet) -> torch.Tensor:
    """Return one vector per label: the mean over its names in three sentences.

    A topic's subjects count as much as its names: on news that is worth 3 %.
    """
    sentences = [
        [frame.format(name) for name in names for frame in FRAMES]
        for names in one.names.values()
    ]
    named = encoder.means(sentences)
    if not one.about:
        return named
    return normalize(named + encoder.means(list(one.about.values())), dim=1)


def find_hard_labels(sets: dict[str, LabelledSet], encoder: SentenceEncoder) -> None:
    """Find each label's nearest others; drop written texts that missed a topic."""
    for one in sets.values():
        labels = list(one.names)
        vectors = label_vectors(encoder, one)
        nearest = (vectors @ vectors.T).topk(min(9, len(labels))).indices.tolist()
        for label, row in zip(labels, nearest, strict=True):
            one.hard[label] = [labels[i] for i in row if labels[i] != label]
    topics = sets["topics"]
    labels = list(topics.names)
    scores = encoder([text for text, _ in topics.rows])
    scores = scores @ label_vectors(encoder, topics).T
    best = scores.topk(6).indices.tolist()
    topics.rows = [
        (text, right)
        for (text, right), top in zip(topics.rows, best, strict=True)
        if right[0] in [labels[i] for i in top]
    ]


class Distilled:
    """Texts and labels thrown together, with the bi-encoder's opinion."""

    def __init__(
        self,
        sets: dict[str, LabelledSet],
        premises: list[str],
        encoder: SentenceEncoder,
    ) -> None:
        self.texts = list(dict.fromkeys(premises))
        self.names, self.kinds, vectors = [], [], []
        for one in sets.values():
            texts = [text for text, _ in one.rows]
            count = 4000 if one.kind == "topic" else 1200
            self.texts += random.sample(texts, min(count, len(texts)))
            some = random.sample(list(one.names), min(500, len(one.names)))
            about = {x: one.about[x] for x in some if one.about}
            few = replace(one, names={x: one.names[x] for x in some}, about=about)
            self.names += few.names.values()
            self.kinds += [one.kind] * len(some)
            vectors.append(label_vectors(encoder, few))
        self.topics = [i for i, kind in enumerate(self.kinds) if kind == "topic"]
        self.scores = encoder(self.texts) @ torch.cat(vectors).T

    def group(self) -> Group:
        """Return a text, sentences, and the bi-encoder's scores as probabilities."""
        row = random.randrange(len(self.texts))
        pool = self.topics if random.random() < 0.5 else range(len(self.names))
        some = random.sample(pool, CHOICES - 2)
        if pool is not self.topics:
            some += random.sample(self.scores[row].topk(12).indices.tolist(), 2)
        some = list(dict.fromkeys(some))
        template = random.choice(ANY + TEMPLATES[self.kinds[some[-1]]])
        sentences = [template.format(random.choice(self.names[i])) for i in some]
        target = (self.scores[row, some] / TEMPERATURE).softmax(0)
        return self.texts[row], sentences, target, None


def labelled_group(one: LabelledSet) -> Group:
    """Return a text of a set, sentences made from labels, and which are right."""
    text, right = random.choice(one.rows)
    chosen, wrong = drawn_labels(one, right)
    truth = [1] * len(chosen) + [0] * len(wrong)
    names = [random.choice(one.names[label]) for label in chosen + wrong]
    if len(wrong) > 2 and len(one.names) > 8 and random.random() < JOINED:
        # One of two joined names is enough to be right.
        extra = names.pop()
        truth.pop()
        names[0] = random.choice([f"{names[0]} and {extra}", f"{extra} or {names[0]}"])
    if random.random() < NEGATED:
        template = random.choice(NOT)
        return text, [template.format(n) for n in names], None, [1 - t for t in truth]
    template = random.choice(ANY + TEMPLATES[one.kind])
    target = torch.tensor(truth, dtype=torch.float) if sum(truth) else None
    return text, [template.format(name) for name in names], target, truth


def drawn_labels(one: LabelledSet, right: list[str]) -> tuple[list[str], list[str]]:
    """Return labels to show with a text: one that fits or none, and some that do
    not, part of them near the right one."""
    labels = list(one.names)
    banned = set(right).union(*(one.near.get(label, ()) for label in right))
    count = random.randint(2, CHOICES) - bool(right)
    pool = [x for label in right for x in one.hard[label] if x not in banned]
    wrong = random.sample(pool, min(len(pool), round(HARD * count)))
    while len(wrong) < count and len(banned) + len(wrong) < len(labels):
        label = random.choice(labels)
        if label not in banned and label not in wrong:
            wrong.append(label)
    chosen = [random.choice(right)] if right else []
    if right and wrong and random.random() < NOTHING_FITS:
        chosen = []
    if len(labels) == 2 and random.random() > NOTHING_FITS:
        chosen, wrong = right, [label for label in labels if label not in right]
    return chosen, wrong


def draw(
    sets: dict[str, LabelledSet], pairs: list, distilled: Distilled
) -> list[tuple[str, list]]:
    """Return eight batches of similar length: ("pairs", rows) or (name, groups)."""
    weights = [one.share for one in sets.values()]
    kinds = random.choices(list(SHARES), list(SHARES.values()), k=8)
    drawn = []
    for kind in ("labelled", "distilled"):
        groups = []
        want = kinds.count(kind)
        while sum(len(g[1]) for g in groups) < want * PAIRS:
            if kind == "labelled":
                one = random.choices(list(sets.values()), weights)[0]
                groups.append(labelled_group(one))
            else:
                groups.append(distilled.group())
        groups.sort(key=lambda g: len(g[0]))
        size = -(-len(groups) // want) if want else 1
        drawn += [(kind, groups[i : i + size]) for i in range(0, len(groups), size)]
    for _ in range(kinds.count("pairs")):
        drawn.append(("pairs", random.sample(pairs, PAIRS)))
    random.shuffle(drawn)
    return drawn
