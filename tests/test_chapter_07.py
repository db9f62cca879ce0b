"""Proves what notebook 07 says of generation in practice beyond the cells that it runs:
that the rule on its page is the experiment's and gives the table's verdicts, that a
filter holds in every row of a batch, that the loops in int8 write what `generate`
writes, and that its exercises tell right from wrong."""

import json
import math
import shutil

import pytest
import torch
from pages import definitions, page, run
from places import NOTEBOOKS
from verdicts import assert_pointer

from experiments import facts, int8_generation
from experiments.tables import read_table
from helpers import check
from helpers.exercises import chapter_07

PAGE = "07_generation_in_practice"
EXPERIMENTS = NOTEBOOKS / "experiments"


@pytest.fixture(scope="module")
def generator(pipe):
    return pipe("text-generation", dtype="float32")


# --- the rule and the table -----------------------------------------------------


def test_every_question_is_answered_by_its_text_alone():
    assert len(facts.places()) == 5
    for place in facts.places():
        words = [word for _, word in place["questions"]]
        assert len(set(words)) == len(words) == 8
        for question, word in place["questions"]:
            assert question.endswith("?")
            assert facts.holds(place["text"], word)
            assert not facts.holds(question, word)


def test_the_table_has_every_answer_and_the_verdict_of_the_rule():
    rows = read_table(facts.STORE)
    assert len(rows) == len(facts.WAYS) * 40
    for row in rows:
        words = [w for _, w in facts.places()[int(row["place"])]["questions"]]
        assert row["wanted"] in words
        assert row["verdict"] == facts.verdict(row["answer"], row["wanted"], words)


def test_the_rule_of_the_page_is_the_rule_of_the_experiment():
    space = run(page(PAGE), ["verdict"], {})
    words = [word for _, word in facts.places()[0]["questions"]]
    for row in read_table(facts.STORE):
        for word in words:
            ours = facts.verdict(row["answer"], word, words)
            assert space["verdict"](row["answer"], word, words) == ours


@pytest.mark.parametrize(
    ("answer", "word", "expected"),
    [
        ("It is green.", "green", True),
        ("(GREEN!)", "green", True),
        ("Marsh's lighthouse", "Marsh", True),
        ("It owns 8,300 buttons.", "8300", True),
        ("It is blue-green.", "green", False),
        ("It is 31.17 metres high.", "31", False),
        ("It is 131 metres high.", "31", False),
        ("", "31", False),
    ],
)
def test_a_word_counts_where_it_stands_whole(answer, word, expected):
    assert facts.holds(answer, word) is expected


def test_the_prompts_hold_text_and_question():
    for way in facts.WAYS:
        chat = facts.chat(way, "A text.", "A question?")
        said = " ".join(turn["content"] for turn in chat)
        assert said.count("A text.") == (way != "no source")
        assert said.count("A question?") == 1
        assert "TEXT" not in said and "QUESTION" not in said
        assert chat[0]["role"] == "system" and chat[-1]["role"] == "user"
        assert len(chat) == (8 if way == "three examples" else 2)


def test_what_the_page_says_of_the_table():
    rows = read_table(facts.STORE)

    def right(way):
        return sum(r["way"] == way and r["verdict"] == "right" for r in rows)

    none, system, before, after = map(right, facts.WAYS[:4])
    assert none == 0
    assert after < before < system
    assert system > 25


def test_what_the_page_says_of_the_differences():
    import numpy as np

    space = {"np": np}
    exec(definitions(page(PAGE)["difference"]), space)  # noqa: S102
    low, high = (
        float(number)
        for number in space["difference"]([1] * 20 + [0] * 20, [0] * 40)
        .split("interval ")[1]
        .split(" to ")
    )
    assert 0.3 < low < 0.4 and 0.6 < high < 0.7


def test_every_answer_that_the_rule_calls_right_was_read():
    kinds = {"true", "adds", "only the word"}
    read = read_table(facts.STORE.with_name("facts_read.csv"))
    assert {row["reading"] for row in read} == kinds
    found = [(r["way"], r["question"], r["answer"]) for r in read]
    assert found == [
        (row["way"], row["question"], row["answer"])
        for row in read_table(facts.STORE)
        if row["way"] in facts.WAYS[1:4] and row["verdict"] == "right"
    ]


@pytest.mark.model
def test_the_model_still_gives_the_answers_of_the_table(generator):
    lighthouse, rows = facts.places()[0], read_table(facts.STORE)
    rows = [r for r in rows if r["place"] == "0" and r["way"] == facts.WAYS[1]][:4]
    asked = [facts.chat(facts.WAYS[1], lighthouse["text"], r["question"]) for r in rows]
    answers = space_of(generator)["ask"](asked, facts.TOKENS)
    same = sum(a.strip() == row["answer"] for a, row in zip(answers, rows, strict=True))
    assert same >= 3  # another processor may round a logit another way


# --- filters --------------------------------------------------------------------


def chats():
    return [
        [{"role": "user", "content": f"Is {it} an animal? Say yes or no, as I do."}]
        for it in ("a dog", "the tall old lighthouse", "a cup")
    ]


def space_of(generator):
    from transformers import LogitsProcessor

    space = {
        "torch": torch,
        "LogitsProcessor": LogitsProcessor,
        "pipeline": lambda *args, **options: generator,
        "model_for": lambda task: {},
    }
    cells = page(PAGE) | {"next": definitions(page(PAGE)["next"])}
    return run(cells, ["load", "next", "only-def", "grammar-def"], space)


@pytest.mark.model
def test_the_list_holds_in_every_row_and_as_the_librarys_own_function(generator):
    space = space_of(generator)
    tokenizer, answers = generator.tokenizer, ["yes", "yes, it is", "no"]
    rows = [[*tokenizer.encode(a), tokenizer.eos_token_id] for a in answers]
    ours = space["ask"](chats(), 9, logits_processor=[space["OnlyThese"](rows)])
    assert set(ours) <= set(answers)
    inputs = tokenizer.apply_chat_template(
        chats(), add_generation_prompt=True, return_dict=True, padding=True
    )
    start = len(inputs["input_ids"][0])

    def following(_, ids):
        written = ids[start:].tolist()
        found = [
            row[len(written)]
            for row in rows
            if row[: len(written)] == written and len(written) < len(row)
        ]
        return found or [tokenizer.eos_token_id]

    assert space["ask"](chats(), 9, prefix_allowed_tokens_fn=following) == ours


@pytest.mark.model
@pytest.mark.parametrize("pattern", ["(yes|no), because [a-z ]{5,20}", "[0-9]{4}"])
def test_a_grammar_holds(generator, pattern):
    import re

    space = space_of(generator)
    grammar = space["LLMatcher"].grammar_from_regex(pattern)
    answer = space["ask"](
        chats()[:1], 30, logits_processor=[space["Follows"](grammar)]
    )[0]
    assert re.fullmatch(pattern, answer)


@pytest.mark.model
def test_an_answer_that_is_cut_off_is_no_json(generator):
    space = space_of(generator)
    answers = [generator.tokenizer.encode(json.dumps({"drink": "tea", "number": 3}))]
    cut = space["ask"](chats()[:1], 4, logits_processor=[space["OnlyThese"](answers)])[
        0
    ]
    with pytest.raises(ValueError):
        json.loads(cut)


@pytest.mark.model
def test_the_picture_of_the_filter_has_the_models_logits(generator):
    tokenizer = generator.tokenizer
    request = "Fill in this order as JSON with the keys drink, size and number: "
    chat = [{"role": "user", "content": f"{request}2 small teas for table 4."}]
    assert request in page(PAGE)["plain"]
    prompt = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=False
    )
    inputs = tokenizer(f'{prompt}{{"drink": "', return_tensors="pt")
    with torch.no_grad():
        logits = generator.model(**inputs.to(generator.model.device)).logits[0, -1]
    drawn = (NOTEBOOKS / "figures" / "allowed-tokens.svg").read_text("utf-8")
    for token in ["2", "L", "te", "co", "ju"]:
        value = logits[tokenizer.convert_tokens_to_ids(token)].item()
        assert f"{token} gets {value:.1f}" in drawn or f"{token} {value:.1f}" in drawn


# --- the fast loop --------------------------------------------------------------


def test_the_fast_loop_writes_what_generate_writes(tiny):
    ids = torch.tensor([[1, 7, 9]])
    expected = int8_generation.generates(tiny, ids, 12)()
    assert int8_generation.fast_greedy(tiny, ids, 12).tolist() == expected.tolist()


def test_the_int8_loop_writes_what_generate_writes(tiny):
    ids, small = torch.tensor([[1]]), int8_generation.to_int8(tiny)
    expected = int8_generation.generates(small, ids, 12)()
    assert int8_generation.fast_greedy(small, ids, 12).tolist() == expected.tolist()


@pytest.mark.model
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_the_compiled_loop_writes_what_the_uncompiled_writes(tiny):
    ids = torch.tensor([[1, 7, 9]])
    small = int8_generation.to_int8(tiny, int8_generation.OneTokenLinear)
    compiled = int8_generation.fast_greedy(small, ids, 12, compiled=True)
    plain = int8_generation.fast_greedy(small, ids, 12)
    assert compiled.tolist() == plain.tolist()
    assert len(set(compiled[0, 3:].tolist())) > 3, "a text that tells nothing"


@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("kind", ["Int8Linear", "OneTokenLinear"])
def test_int8_differs_little(tiny, kind, length):
    ids = torch.tensor([[1, 7, 9, 20]])[:, :length]
    small = int8_generation.to_int8(tiny, getattr(int8_generation, kind))
    with torch.no_grad():
        exact, rounded = tiny(ids).logits, small(ids).logits
    assert 0 < (exact - rounded).norm() / exact.norm() < 0.05


def test_the_fast_loop_says_when_its_cache_is_full(tiny):
    with pytest.raises(ValueError, match="need more room than 16"):
        int8_generation.fast_greedy(tiny, torch.tensor([[1, 7]]), 15, room=16)


def test_drafts_from_the_prompt_change_no_token(tiny):
    ids = torch.tensor([[1, 7, 9, 4, 7, 9]])
    plain = int8_generation.generates(tiny, ids, 12)()
    drafted = int8_generation.generates(tiny, ids, 12, prompt_lookup_num_tokens=3)()
    assert drafted.tolist() == plain.tolist()


def test_the_speeds_are_of_one_run_and_show_what_the_page_says():
    rows = read_table(int8_generation.STORE)
    assert len({(row["processor"], row["cores"]) for row in rows}) == 1
    speeds = {
        row["way"]: float(row["tokens per second"])
        for row in rows
        if row["texts"] == "1" and float(row["gigabytes_per_second"]) > 20
    }
    order = ["torchao int8", "bfloat16", "own int8", "own int8 and loop"]
    order += ["own int8 and loop, compiled", "llama.cpp, 4 bits"]
    found = [speeds[way] for way in order]
    assert found == sorted(found)


# --- exercises ------------------------------------------------------------------


class KeepsAll:
    def __init__(self, tokenizer, source):
        self.tokenizer = tokenizer
        self.places = [*tokenizer.encode(source), tokenizer.eos_token_id]

    def __call__(self, ids, scores):
        return scores


class NeverEnds(KeepsAll):
    def __call__(self, ids, scores):
        allowed = torch.full_like(scores, chapter_07.OUT)
        allowed[:, self.places[:-1]] = scores[:, self.places[:-1]]
        return allowed


class FirstRow(KeepsAll):
    def __call__(self, ids, scores):
        allowed = scores.clone()
        allowed[0] = chapter_07.OUT
        allowed[0, self.places] = scores[0, self.places]
        return allowed


class Zeros(KeepsAll):
    def __call__(self, ids, scores):
        allowed = torch.full_like(scores, chapter_07.OUT)
        allowed[:, self.places] = 0
        return allowed


class Masks(KeepsAll):
    """Right, written in another way."""

    def __call__(self, ids, scores):
        outside = torch.ones(scores.shape[-1], dtype=torch.bool, device=scores.device)
        outside[self.places] = False
        return scores.masked_fill(outside, float("-inf"))


def word_first(answer, wanted):
    verdict = chapter_07.judge(answer, wanted)
    holds = wanted.lower() in answer.lower()
    return "right" if holds and verdict == "refused" else verdict


def anywhere(answer, wanted):
    return "right" if wanted.lower() in answer.lower() else "wrong"


def judged_by_words(answer, wanted):
    """Right, written in another way."""
    plain = f" {answer.lower()} "
    if "know" in plain and ("not know" in plain or "n't know" in plain):
        return "refused"
    if "not mentioned" in plain or "does not say" in plain:
        return "refused"
    for mark in ".,:!?":
        plain = plain.replace(mark, " ")
    return "right" if f" {wanted.lower()} " in plain else "wrong"


def cuts(weight):
    scale = (weight.abs().amax(dim=1, keepdim=True) / 127).clamp(min=1e-12)
    return (weight / scale).to(torch.int8), scale


def one_scale(weight):
    scale = weight.abs().max() / 127
    return (weight / scale).round().to(torch.int8), scale.repeat(len(weight))


def flat_scales(weight):
    """Right, written in another way."""
    scale = weight.abs().max(dim=1).values.clamp(min=1e-12) / 127
    return torch.round(weight / scale[:, None]).to(torch.int8), scale


WRONG = [
    ("07.2", anywhere, "'wrong'; got 'right'"),
    ("07.2", word_first, "'refused'; got 'right'"),
    ("07.2", lambda answer, wanted: None, "got None"),
    ("07.3", KeepsAll, "is not in the source"),
    ("07.3", NeverEnds, "it would never end"),
    ("07.3", FirstRow, "Row 1: the token"),
    ("07.3", Zeros, "leave the logits of the source as they are"),
    ("07.4", cuts, "by more than half a step"),
    ("07.4", one_scale, "by more than half a step"),
    ("07.4", lambda weight: (weight.round(), weight[:, :1]), "Expected int8"),
]


@pytest.mark.parametrize(("number", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_a_pointer(capsys, generator, number, answer, words):
    model, tokenizer = generator.model, generator.tokenizer
    given = (model, tokenizer) if number == "07.3" else ()
    check(number, answer, *given)
    out = capsys.readouterr().out.strip()
    assert_pointer(out, number, words)


@torch.no_grad()
def losses(text, generator, places=slice(1, None)):
    """Return the tokens of a text and their losses by the library's own function, or
    those that wrongly placed labels give."""
    ids = generator.tokenizer(text, return_tensors="pt")["input_ids"][0]
    logits = generator.model(ids[None]).logits[0]
    ids = ids[places]
    logits = logits[: len(ids)]
    return ids, torch.nn.functional.cross_entropy(logits, ids, reduction="none")


def by_cross_entropy(text, generator):
    """Right, written in another way."""
    ids, loss = losses(text, generator)
    return generator.tokenizer.decode(ids[loss.argmax()]), loss.max()


def same_place(text, generator):
    """Takes the logits at a token's own place."""
    ids, loss = losses(text, generator, slice(None))
    return generator.tokenizer.decode(ids[loss.argmax()]), loss.max()


def one_too_early(text, generator):
    """Counts the place from the first token."""
    _, loss = losses(text, generator)
    whole = generator.tokenizer(text)["input_ids"]
    return generator.tokenizer.decode(whole[loss.argmax()]), loss.max()


def least_surprising(text, generator):
    ids, loss = losses(text, generator)
    return generator.tokenizer.decode(ids[loss.argmin()]), loss.min()


def in_bits(text, generator):
    token, loss = by_cross_entropy(text, generator)
    return token, loss / math.log(2)


def logarithm(text, generator):
    token, loss = by_cross_entropy(text, generator)
    return token, -loss


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (same_place, "has the largest surprise"),
        (one_too_early, "has the largest surprise"),
        (least_surprising, "was expected most"),
        (in_bits, "the natural logarithm"),
        (logarithm, "the negative of the logarithm"),
        (lambda text, generator: ("Zanzibar", 9.0), "is no token of it"),
        (lambda text, generator: text.index("#"), "stopped with ValueError"),
    ],
)
def test_a_wrong_surprise_gets_a_pointer(capsys, generator, answer, words):
    model, tokenizer = generator.model, generator.tokenizer
    check("07.1", lambda text: answer(text, generator), model, tokenizer)
    said = capsys.readouterr().out.strip()
    assert said.startswith("07.1: not yet.") and words in said and "\n" not in said


def test_right_answers_written_in_two_ways_are_right(capsys, generator):
    model, tokenizer = generator.model, generator.tokenizer

    def solved(text):
        return chapter_07.most_surprising(text, model, tokenizer)

    check("07.1", solved, model, tokenizer)
    check("07.1", lambda text: by_cross_entropy(text, generator), model, tokenizer)
    for answer in (chapter_07.judge, judged_by_words):
        check("07.2", answer)
    for answer in (chapter_07.FromSource, Masks):
        check("07.3", answer, model, tokenizer)
    for answer in (chapter_07.quantize, flat_scales):
        check("07.4", answer)
    said = capsys.readouterr().out.strip().splitlines()
    assert said == [f"07.{n}: right." for n in (1, 2, 3, 4) for _ in range(2)]
