"""Proves what notebook 06 says of text generation beyond the cells that it runs.

Bad input first: what the library refuses, and what it takes in silence. Then the
fast loop against `generate`, and wrong answers to the exercises.
"""

import csv
import importlib
import json
import shutil

import pytest
import torch
from places import NOTEBOOKS

from helpers import check
from helpers.exercises import chapter_06

DATA = NOTEBOOKS / "data"
EXPERIMENTS = NOTEBOOKS / "experiments"
CALM = {"do_sample": False, "max_new_tokens": 3}


@pytest.fixture(scope="module")
def generator(pipe):
    return pipe("text-generation", dtype="float32")


@pytest.fixture(scope="module")
def tiny():
    """A Llama of random weights that has 32 positions."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


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


# --- the fast loop --------------------------------------------------------------


@pytest.fixture(scope="module")
def fast():
    return importlib.import_module("experiments.int8_generation")


def test_the_fast_loop_writes_what_generate_writes(tiny, fast):
    ids = torch.tensor([[1, 7, 9]])
    way = {"do_sample": False, "min_new_tokens": 12, "max_new_tokens": 12}
    expected = tiny.generate(ids, **way)
    assert fast.fast_greedy(tiny, ids, 12).tolist() == expected.tolist()


def test_the_int8_loop_writes_what_generate_writes(tiny, fast):
    ids, small = torch.tensor([[1]]), fast.to_int8(tiny)
    way = {"do_sample": False, "min_new_tokens": 12, "max_new_tokens": 12}
    expected = small.generate(ids, **way)
    assert fast.fast_greedy(small, ids, 12).tolist() == expected.tolist()


@pytest.mark.model
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_the_compiled_loop_writes_what_the_uncompiled_writes(tiny, fast):
    ids, small = torch.tensor([[1, 7, 9]]), fast.to_int8(tiny, fast.OneTokenLinear)
    compiled = fast.fast_greedy(small, ids, 12, compiled=True)
    assert compiled.tolist() == fast.fast_greedy(small, ids, 12).tolist()
    assert len(set(compiled[0, 3:].tolist())) > 3, "a text that tells nothing"


@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("kind", ["Int8Linear", "OneTokenLinear"])
def test_int8_differs_little(tiny, fast, kind, length):
    ids = torch.tensor([[1, 7, 9, 20]])[:, :length]
    small = fast.to_int8(tiny, getattr(fast, kind))
    with torch.no_grad():
        exact, rounded = tiny(ids).logits, small(ids).logits
    assert 0 < (exact - rounded).norm() / exact.norm() < 0.05


def test_the_fast_loop_says_when_its_cache_is_full(tiny, fast):
    with pytest.raises(ValueError, match="need more room than 16"):
        fast.fast_greedy(tiny, torch.tensor([[1, 7]]), 15, room=16)


def test_the_measured_speeds_hold_the_notebooks_claim():
    with (EXPERIMENTS / "int8_generation.csv").open(encoding="utf-8") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    speeds = {(way, texts): float(speed) for way, texts, _, speed in rows}
    best = max(value for (_, texts), value in speeds.items() if texts == "1")
    assert best >= 60  # tokens a second on two cores, what the page promises


# --- the source -----------------------------------------------------------------


def test_every_question_of_the_lighthouse_is_answered_by_its_text():
    lighthouse = json.loads((DATA / "lighthouse.json").read_text("utf-8"))
    assert len(lighthouse["questions"]) == 8
    for question, word in lighthouse["questions"]:
        assert question.endswith("?")
        assert word in lighthouse["text"]
        assert word not in question


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


WRONG = [
    ("06.1", divided, "expected [0.705"),
    ("06.1", no_zero, "A temperature of 0 divides by zero"),
    ("06.1", lambda logits, t: chapter_06.probabilities(logits, t or 1), "At 0"),
    ("06.1", 3, "It stopped with TypeError"),
    ("06.2", lambda values, p: values, "expected"),
    ("06.2", lambda values, p: values[:1], "came out"),
    ("06.2", lambda values, p: [v * (v >= p) for v in values], "expected"),
    ("06.4", KeepsAll, "is still allowed"),
    ("06.4", KeepsNone, "leave its logit as it is"),
    ("06.4", Forgets, "should return scores"),
    ("06.3", lambda text: 1.0, "For 'The sky is blue.' expected"),
    ("06.5", lambda prompt, answers: answers[0], "expected ' Paris'"),
    ("06.5", lambda prompt, answers: answers.index("x"), "stopped with ValueError"),
]


@pytest.mark.parametrize(("number", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_a_pointer(capsys, generator, number, answer, words):
    model, tokenizer = generator.model, generator.tokenizer
    given = {"06.4": (tokenizer,)}.get(number, (model, tokenizer))
    check(number, answer, *(given if number >= "06.3" else ()))
    out = capsys.readouterr().out.strip()
    assert out.startswith(f"{number}: not yet.")
    assert words in out
    assert "\n" not in out


def test_a_loss_is_told_from_a_perplexity(capsys, generator):
    def loss(text):
        row = generator.tokenizer(text, return_tensors="pt")["input_ids"]
        return generator.model(row, labels=row).loss.item()

    check("06.3", loss, generator.model, generator.tokenizer)
    assert "the perplexity is its exponential" in capsys.readouterr().out


def test_the_solutions_beside_the_checkers_are_right(capsys, generator):
    model, tokenizer = generator.model, generator.tokenizer
    check("06.1", chapter_06.probabilities)
    check("06.2", chapter_06.nucleus)
    perplexity = chapter_06.perplexity
    check("06.3", lambda t: perplexity(t, model, tokenizer), model, tokenizer)
    check("06.4", chapter_06.WithoutE, tokenizer)
    likeliest = chapter_06.likeliest
    check("06.5", lambda p, a: likeliest(p, a, model, tokenizer), model, tokenizer)
    said = capsys.readouterr().out.strip().splitlines()
    assert said == [f"06.{n}: right." for n in range(1, 6)]
