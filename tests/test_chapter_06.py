"""Proves what notebook 06 says of text generation beyond the cells that it runs.

Bad input first: what the library refuses, and what it takes in silence. Then wrong
and right answers to the exercises.
"""

import math

import pytest
import torch
from verdicts import assert_pointer

from helpers import check
from helpers.exercises import chapter_06

CALM = {"do_sample": False, "max_new_tokens": 3}


@pytest.fixture(scope="module")
def generator(pipe):
    return pipe("text-generation", dtype="float32")


# --- bad input ------------------------------------------------------------------


def test_an_empty_prompt_gets_a_text(generator):
    assert generator("", **CALM)[0]["generated_text"]


REFUSED = [
    ({"do_sample": True, "temperature": 0.0}, "temperature"),
    ({"do_sample": True, "temperature": -1.0}, "temperature"),
    ({"do_sample": True, "top_k": -1}, "top_k"),
    ({"num_beams": 2, "num_return_sequences": 5}, "num_return_sequences"),
    ({"do_sample": False, "num_return_sequences": 2}, "num_return_sequences"),
]


@pytest.mark.parametrize(("way", "named"), REFUSED)
def test_an_impossible_setting_is_refused_and_named(tiny, way, named):
    way = {"do_sample": False, "max_new_tokens": 3} | way
    with pytest.raises(ValueError, match=named):
        tiny.generate(torch.tensor([[1, 5]]), **way)


def test_a_top_p_above_one_is_as_none(tiny):
    ids, way = torch.tensor([[1, 5]]), {"do_sample": True, "max_new_tokens": 5}
    made = []
    for top_p in (1.5, 1.0):
        torch.manual_seed(0)
        made.append(tiny.generate(ids, top_p=top_p, **way).tolist())
    assert made[0] == made[1]


def test_a_prompt_beyond_the_context_is_taken_in_silence(tiny):
    long = torch.full((1, 40), 5)
    made = tiny.generate(long, **CALM)
    assert made.shape[1] == 43 > tiny.config.max_position_embeddings


def test_a_stop_word_that_never_comes_changes_nothing(generator):
    tokenizer, model = generator.tokenizer, generator.model
    inputs = tokenizer("Once upon a time", return_tensors="pt")
    stop = {"stop_strings": ["zebra"], "tokenizer": tokenizer}
    with_stop = model.generate(**inputs, **CALM, **stop)
    assert with_stop.tolist() == model.generate(**inputs, **CALM).tolist()


def test_contrastive_search_wants_code_from_the_hub(tiny):
    with pytest.raises(Exception, match="trust_remote_code"):
        tiny.generate(torch.tensor([[1]]), penalty_alpha=0.6, top_k=4, **CALM)


# --- exercises ------------------------------------------------------------------


class KeepsAll:
    def __init__(self, tokenizer):
        pass

    def __call__(self, ids, scores):
        return scores


class KeepsNone(KeepsAll):
    def __call__(self, ids, scores):
        return torch.full_like(scores, chapter_06.OUT)


class Forgets(KeepsAll):
    def __call__(self, ids, scores):
        return None


def divided(logits, t):
    return [logit / t for logit in logits]


def no_zero(logits, t):
    _ = 1 / t
    return chapter_06.probabilities(logits, t)


def overflows(logits, t):
    """Looks right: exp of a large logit is too large for a float."""
    if t == 0:
        return chapter_06.probabilities(logits, t)
    powers = [math.exp(logit / t) for logit in logits]
    return [power / sum(powers) for power in powers]


def first_is_best(logits, t):
    """Looks right: takes the first logit for the largest one."""
    if t == 0:
        return [1.0] + [0.0] * (len(logits) - 1)
    return chapter_06.probabilities(logits, t)


def tensors(logits, t):
    """Another right way: torch does it, and a mask where t is 0."""
    values = torch.tensor(logits, dtype=torch.float64)
    if t == 0:
        return (values == values.max()).float().tolist()
    return (values / t).softmax(-1).tolist()


class Masked(KeepsAll):
    """Another right way: one mask over the vocabulary."""

    def __init__(self, tokenizer):
        size = len(tokenizer)
        texts = [tokenizer.decode(i).lower() for i in range(size)]
        special = set(tokenizer.all_special_ids)
        self.mask = torch.tensor(
            ["e" in texts[i] and i not in special for i in range(size)]
        )

    def __call__(self, ids, scores):
        return scores.masked_fill(self.mask, float("-inf"))


class SmallOnly(KeepsAll):
    """Looks right: forgets the capital."""

    def __init__(self, tokenizer):
        texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
        self.mask = torch.tensor(["e" in text for text in texts])

    __call__ = Masked.__call__


def first_place(prompt, n):
    return [("Paris", 1.0)] * n


@pytest.fixture
def ways(generator):
    """Ways to answer that look right and are wrong, and ways that are right."""
    model, tokenizer = generator.model, generator.tokenizer

    @torch.no_grad()
    def logits_of(prompt, place):
        inputs = tokenizer(prompt, return_tensors="pt")
        return model(**inputs).logits[0, place]

    def pairs(best):
        texts = tokenizer.batch_decode(best.indices.view(-1, 1))
        return list(zip(texts, best.values.tolist(), strict=True))

    def among_themselves(prompt, n):
        best = logits_of(prompt, -1).topk(n)
        return list(
            zip(
                tokenizer.batch_decode(best.indices.view(-1, 1)),
                best.values.softmax(-1).tolist(),
                strict=True,
            )
        )

    def by_loss(prompt, answers, mean_alone=False):
        def loss(answer):
            ids = tokenizer(prompt + answer, return_tensors="pt")["input_ids"]
            start = len(tokenizer(prompt)["input_ids"])
            labels = ids.clone()
            labels[:, :start] = -100
            with torch.no_grad():
                mean = model(ids, labels=labels).loss
            return float(mean) * (1 if mean_alone else ids.shape[1] - start)

        return min(answers, key=loss)

    def by_first_token(prompt, answers):
        first = logits_of(prompt, -1)
        return max(answers, key=lambda a: float(first[tokenizer(a)["input_ids"][0]]))

    return {
        "all places": lambda p, n: pairs(logits_of(p, -2).softmax(-1).topk(n)),
        "among themselves": among_themselves,
        "lists": lambda p, n: [
            list(pair) for pair in pairs(logits_of(p, -1).softmax(-1).topk(n))
        ],
        "backwards": lambda p, n: pairs(logits_of(p, -1).softmax(-1).topk(n))[::-1],
        "invented": lambda p, n: [
            ("x", chance) for _, chance in pairs(logits_of(p, -1).softmax(-1).topk(n))
        ],
        "by loss": by_loss,
        "by mean": lambda p, answers: by_loss(p, answers, mean_alone=True),
        "by first token": by_first_token,
    }


WRONG = [
    ("06.1", "all places", "After 'The capital of France is' expected"),
    ("06.1", "among themselves", "a softmax over the whole vocabulary?"),
    ("06.1", "backwards", "The likeliest comes first"),
    ("06.1", first_place, "its probability is"),
    ("06.1", "invented", "expected ' Paris'"),
    ("06.2", divided, "expected [0.030"),
    ("06.2", overflows, "exp overflows for"),
    ("06.2", first_is_best, "At 0 the likeliest gets 1"),
    ("06.2", no_zero, "A temperature of 0 divides by zero"),
    ("06.2", lambda logits, t: chapter_06.probabilities(logits, t or 1), "At 0"),
    ("06.2", 3, "It stopped with TypeError"),
    ("06.3", KeepsAll, "is still allowed"),
    ("06.3", SmallOnly, "is still allowed"),
    ("06.3", KeepsNone, "leave its logit as it is"),
    ("06.3", Forgets, "should return scores"),
    ("06.4", lambda prompt, answers: answers[0], "expected ' Paris'"),
    ("06.4", "by first token", "expected"),
    ("06.4", "by mean", "expected"),
    ("06.4", lambda prompt, answers: answers.index("x"), "stopped with ValueError"),
]


def given(number, generator):
    return () if number == "06.2" else (generator.model, generator.tokenizer)


@pytest.mark.parametrize(("number", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_a_pointer(capsys, generator, ways, number, answer, words):
    answer = ways[answer] if isinstance(answer, str) else answer
    check(number, answer, *given(number, generator))
    out = capsys.readouterr().out.strip()
    assert_pointer(out, number, words)


def test_right_answers_are_accepted_however_they_are_written(capsys, generator, ways):
    model, tokenizer = generator.model, generator.tokenizer
    solved = chapter_06
    right = [
        ("06.1", lambda p, n: solved.next_tokens(p, n, model, tokenizer)),
        ("06.1", ways["lists"]),
        ("06.2", solved.probabilities),
        ("06.2", tensors),
        ("06.3", solved.WithoutE),
        ("06.3", Masked),
        ("06.4", lambda p, a: solved.likeliest(p, a, model, tokenizer)),
        ("06.4", ways["by loss"]),
    ]
    for number, answer in right:
        check(number, answer, *given(number, generator))
    said = capsys.readouterr().out.strip().splitlines()
    assert said == [f"{number}: right." for number, _ in right]
