"""Which phonemes each letter of a word stands for, and when each letter begins.

espeak's events tell when each word and each phoneme begins; which letters of a word
belong to which phonemes is found by counting over many words (hard EM, the idea of
Jiampojamarn et al., 2007, "Applying many-to-many alignments").
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from itertools import pairwise

from recipes.common.espeak import PHONEME, WORD

PAUSES = {"_", "_:", "_!", "_|", ""}
MOST = 4  # phonemes that one letter can stand for; x in "exam" is g z
UNSEEN = -12.0  # log-probability of a pair that was never counted

# A word of a text: first letter, end letter, [(phoneme, sample where it begins)], end.
Word = tuple[int, int, list[tuple[str, int]], int]


def words_of(text: str, events: list[tuple], end: int) -> list[Word] | None:
    """Return the words of a text, or None where espeak read other words than it has.

    `events` is what `Espeak.say` gave, `end` the number of samples.
    """
    words = []
    for kind, place, length, sample, phoneme in events:
        if kind == WORD and length:
            words.append([place - 1, place - 1 + length, [], end])
        elif kind == PHONEME and words:
            if phoneme in PAUSES:
                words[-1][3] = min(words[-1][3], sample)
            else:
                if words[-1][3] != end:  # a word of two parts, with a pause inside
                    words[-1][3] = end
                words[-1][2].append((phoneme, sample))
    for word, after in pairwise(words):
        if after[2]:
            word[3] = min(word[3], after[2][0][1])
    places = [word[0] for word in words[1:]] + [len(text)]
    for word, next_place in zip(words, places, strict=True):
        # espeak gives "don't" the length of "don".
        while word[1] < next_place and (
            text[word[1]].isalpha() or text[word[1]] == "'"
        ):
            word[1] += 1
    covered = [i for first, last, *_ in words for i in range(first, last)]
    spoken = [i for i, letter in enumerate(text) if letter.isalpha()]
    whole = sorted(set(covered)) == sorted(covered) and set(spoken) <= set(covered)
    return [tuple(w) for w in words] if whole and all(w[2] for w in words) else None


class Aligner:
    """Which phonemes each letter of a word stands for, learned by counting."""

    def __init__(self) -> None:
        self.score = defaultdict(lambda: UNSEEN)
        self.known = {}

    def fit(self, pairs: list[tuple[str, tuple]], rounds: int = 6) -> None:
        """Learn from (word, phonemes) pairs: guess, align, count, and again."""
        counts = Counter()
        for word, phonemes in pairs:
            for i, letter in enumerate(word):  # first guess: along the diagonal
                j = min(i * len(phonemes) // len(word), len(phonemes) - 1)
                counts[letter, (phonemes[j],)] += 1
                counts[letter, ()] += 0.3
        for _ in range(rounds):
            self._learn(counts)
            counts = Counter()
            for word, phonemes in pairs:
                for pair in zip(word, self._best(word, phonemes), strict=False):
                    counts[pair] += 1
        self._learn(counts)
        self.known = {}

    def _learn(self, counts: Counter) -> None:
        totals = Counter()
        for (letter, _), count in counts.items():
            totals[letter] += count
        self.score = defaultdict(lambda: UNSEEN)
        for (letter, chunk), count in counts.items():
            if count > 0:
                self.score[letter, chunk] = math.log(count / totals[letter])

    def _best(self, word: str, phonemes: tuple) -> list[tuple]:
        """Return the likeliest phonemes of each letter (Viterbi)."""
        n, m = len(word), len(phonemes)
        best = [[-math.inf] * (m + 1) for _ in range(n + 1)]
        back = [[0] * (m + 1) for _ in range(n + 1)]
        best[0][0] = 0.0
        for i, letter in enumerate(word):
            for j in range(m + 1):
                if best[i][j] == -math.inf:
                    continue
                for k in range(min(MOST, m - j) + 1):
                    score = self.score[letter, phonemes[j : j + k]]
                    score -= 2.0 * max(0, k - 1)
                    if best[i][j] + score > best[i + 1][j + k]:
                        best[i + 1][j + k] = best[i][j] + score
                        back[i + 1][j + k] = k
        chunks, j = [], m
        for i in range(n, 0, -1):
            k = back[i][j]
            chunks.append(phonemes[j - k : j])
            j -= k
        return chunks[::-1] if best[n][m] > -math.inf else []

    def chunks(self, word: str, phonemes: tuple) -> list[tuple]:
        """Return the phonemes of each letter; [] where a word is too short for them."""
        if (word, phonemes) not in self.known:
            self.known[word, phonemes] = self._best(word, phonemes)
        return self.known[word, phonemes]


def letter_starts(
    text: str, words: list[Word], aligner: Aligner, end: int
) -> tuple[list[int], list[str]] | None:
    """Return for each letter of a text the sample where it begins, and its phonemes.

    A letter without a phoneme begins with the next one that has; spaces and marks
    share the pause that they stand in.
    """
    starts, names = [None] * len(text), [""] * len(text)
    for first, last, phonemes, word_end in words:
        chunks = aligner.chunks(text[first:last], tuple(p for p, _ in phonemes))
        if not chunks:
            return None
        place, following = len(phonemes), word_end
        for i in range(last - 1, first - 1, -1):
            chunk = chunks[i - first]
            place -= len(chunk)
            following = phonemes[place][1] if chunk else following
            starts[i], names[i] = following, " ".join(chunk)
        starts[first] = phonemes[0][1]
    ends = {last: word_end for _, last, _, word_end in words}
    i = 0
    while i < len(text):
        if starts[i] is None:
            stop = i
            while stop < len(text) and starts[stop] is None:
                stop += 1
            begin = ends.get(i, starts[i - 1] if i else 0)
            until = starts[stop] if stop < len(text) else end
            for n in range(i, stop):
                starts[n] = begin + (until - begin) * (n - i) // (stop - i)
            i = stop
        i += 1
    return starts, names
