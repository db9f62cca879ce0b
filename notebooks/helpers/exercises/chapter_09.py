"""The exercises of notebook 09: for each its solution, then its checker."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch

from . import Wrong, exercise


def mistakes(bound: float, answered: Sequence[float], other: Sequence[float]) -> int:
    """Return how many questions a bound treats wrongly: it refuses what is below."""
    return sum(c < bound for c in answered) + sum(c >= bound for c in other)


def best_bound(answered: Sequence[float], other: Sequence[float]) -> float:
    """The solution of 09.1: try each cosine as the bound, and one above them all."""
    bounds = [*answered, *other, max([*answered, *other]) + 0.01]
    return min(bounds, key=lambda bound: mistakes(bound, answered, other))


@exercise(
    "09.1",
    "Only the cosines themselves are worth trying as a bound, and one above them all.",
    "Wrong are the answered ones below the bound and the others at or above it.",
    "min(bounds, key=...) takes the bound with the fewest.",
)
def check_best_bound(answer) -> None:
    cases = [
        ([0.34, 0.57, 0.65, 0.82], [0.14, 0.22, 0.30]),
        ([0.40, 0.70, 0.75, 0.80], [0.10, 0.45, 0.50, 0.55]),
        ([0.2, 0.3], [0.6, 0.7, 0.8]),
        ([0.5, 0.6, 0.9], [0.5, 0.6, 0.1, 0.2]),
        ([0.9], [0.1] * 9),
    ]
    for answered, other in cases:
        bound = float(answer(list(answered), list(other)))
        least = mistakes(best_bound(answered, other), answered, other)
        if (made := mistakes(bound, answered, other)) > least:
            raise Wrong(
                f"For {answered} with an answer and {other} without, your bound "
                f"{bound:.3f} makes {made} mistakes; {least} is possible."
            )


def unsupported(text: str, sentences: Sequence[str], judge) -> list[str]:
    """The solution of 09.2: no entailment, or a number that the text does not have."""
    options = {"hypothesis_template": "{}", "multi_label": True}
    numbers = set(re.findall(r"\d+", text))
    return [
        sentence
        for sentence in sentences
        if set(re.findall(r"\d+", sentence)) - numbers
        or judge(text, [sentence], **options)["scores"][0] < 0.5
    ]


@exercise(
    "09.2",
    "judge(text, [sentence], hypothesis_template='{}', multi_label=True) is the call.",
    "set(re.findall(r'\\d+', sentence)) are the numbers of a sentence.",
    "A number that the text does not have is enough, whatever the judge believes.",
)
def check_unsupported(answer, judge) -> None:
    cases = [
        (
            "The baker bought this bicycle in 1943. His son sold it.",
            ["The bicycle was bought in 1934.", "A baker bought a bicycle.", "In 194."],
        ),
        (
            "A zinc tub stood before the fire on Saturday.",
            ["A tub stood before the fire.", "The king lives in Paris.", "A tub."],
        ),
        ("It holds 12 reels, all of them blue.", ["It holds 12 reels.", "2 are blue."]),
        ("The lamp is red.", []),
    ]
    options = {"hypothesis_template": "{}", "multi_label": True}
    for text, sentences in cases:
        found = list(answer(text, list(sentences), judge))
        expected = unsupported(text, sentences, judge)
        if found == expected:
            continue
        if strange := [s for s in found if s not in sentences]:
            raise Wrong(f"{strange[0]!r} is none of the sentences given.")
        if sorted(found) == sorted(expected):
            raise Wrong("Keep the sentences in the order in which they came.")
        believed = [judge(text, [s], **options)["scores"][0] >= 0.5 for s in sentences]
        if found == [s for s, yes in zip(sentences, believed, strict=True) if yes]:
            raise Wrong("These are the sentences that are supported.")
        odd = next(s for s in sentences if (s in found) != (s in expected))
        should = "is not supported" if odd in expected else "is supported"
        raise Wrong(
            f"By {text!r}, {odd!r} {should}: look at its numbers, whole, "
            "and at the judge's score."
        )


@torch.no_grad()
def likelihoods(question: str, texts: Sequence[str], writer) -> list[float]:
    """The solution of 09.3: the mean log-probability of the question's tokens."""
    tokenizer, model = writer.tokenizer, writer.model
    found = []
    for text in texts:
        content = f"{text}\n\nAsk a question that this text answers."
        chat = [{"role": "user", "content": content}]
        prompt = tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, tokenize=False
        )
        options = {"add_special_tokens": False, "return_tensors": "pt"}
        first = tokenizer(prompt, **options)["input_ids"].to(model.device)
        second = tokenizer(question, **options)["input_ids"].to(model.device)
        logits = model(torch.cat([first, second], dim=1)).logits[0]
        logs = logits[first.shape[1] - 1 : -1].log_softmax(dim=-1)
        found.append(logs.gather(1, second[0][:, None]).mean().item())
    return found


@exercise(
    "09.3",
    "Put prompt and question behind one another, and run the model once per text.",
    "The logits at place i are about the token at i + 1: begin one place before the "
    "question's first token, and leave out the last place.",
    "log_softmax over the vocabulary, gather the question's tokens, take the mean.",
)
def check_likelihoods(answer, writer) -> None:
    question = "Who mended the boat?"
    texts = ["A girl mended the boat with tar.", "The clock is made of oak.", "Hats."]
    for some in (texts, texts[::-1], texts[:1]):
        found = [float(value) for value in answer(question, list(some), writer)]
        if len(found) != len(some):
            raise Wrong(f"{len(some)} texts went in, {len(found)} numbers came out.")
        expected = likelihoods(question, some, writer)
        if all(math.isclose(a, b, abs_tol=0.02) for a, b in zip(found, expected)):
            continue
        count = len(writer.tokenizer(question, add_special_tokens=False)["input_ids"])
        if all(
            math.isclose(a, b * count, abs_tol=0.2) for a, b in zip(found, expected)
        ):
            raise Wrong("This is the sum over the tokens. Take the mean.")
        if all(math.isclose(a, -b, abs_tol=0.02) for a, b in zip(found, expected)):
            raise Wrong("The sign is turned: a likely question has the higher number.")
        raise Wrong(
            f"For {some[0]!r} expected {expected[0]:.3f}, got {found[0]:.3f}. Which "
            "place's logits speak of the question's first token?"
        )


def conflicts(rows: Sequence[dict], years: int = 0) -> dict:
    """The solution of 09.4: collect {thing: {year: ids}}, keep what disagrees."""
    said: dict = {}
    for row in rows:
        if row["year"] is not None:
            by_year = said.setdefault(row["thing"], {})
            by_year.setdefault(row["year"], []).append(row["id"])
    return {
        thing: dict(sorted(by_year.items()))
        for thing, by_year in said.items()
        if max(by_year) - min(by_year) > years
    }


@exercise(
    "09.4",
    "Collect {thing: {year: [ids]}} first, and skip rows whose year is None.",
    "Keep a thing where max(by_year) - min(by_year) > years.",
    "dict(sorted(by_year.items())) sorts the years.",
)
def check_conflicts(answer) -> None:
    rows = [
        {"thing": "clock", "id": "s1", "year": 1930},
        {"thing": "clock", "id": "n1", "year": 1928},
        {"thing": "clock", "id": "p1", "year": 1930},
        {"thing": "cup", "id": "n2", "year": 1954},
        {"thing": "cup", "id": "s2", "year": None},
        {"thing": "kite", "id": "n3", "year": 1911},
        {"thing": "kite", "id": "p3", "year": 1811},
        {"thing": "bell", "id": "n4", "year": None},
    ]
    for years in (0, 2, 100):
        found, expected = answer([dict(r) for r in rows], years), conflicts(rows, years)
        if not isinstance(found, dict):
            raise Wrong("Expected a dictionary {thing: {year: [ids]}}.")
        if set(found) != set(expected):
            raise Wrong(
                f"With years={years} expected {sorted(expected)}, "
                f"yours has {sorted(found)}."
            )
        for thing, by_year in expected.items():
            if {year: sorted(ids) for year, ids in found[thing].items()} != {
                year: sorted(ids) for year, ids in by_year.items()
            }:
                raise Wrong(f"For {thing} expected {by_year}.")
            if list(found[thing]) != sorted(found[thing]):
                raise Wrong(f"The years of {thing} should be sorted.")
    if list(answer([dict(r) for r in rows])) != list(conflicts(rows)):
        raise Wrong("Without a second argument, years is 0.")
