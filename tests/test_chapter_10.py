"""Proves what notebook 10 claims beyond its outputs: every weight of the small GPT
counts, odd input is refused, the stored tables are what their recipes make, and the
exercises tell wrong answers from right ones.
"""

import csv
import math

import pages
import pytest
import torch
from einops import einsum, rearrange

from experiments import scaling as pretrain
from experiments import transfer
from helpers import check, model_for
from helpers.exercises import chapter_10 as solved

CELLS = pages.page("10_architecture")


@pytest.fixture(scope="module")
def page():
    """The names that the cells around the small GPT define, run as they stand."""
    names = {"torch": torch, "nn": torch.nn, "math": math}
    names |= {"einsum": einsum, "rearrange": rearrange}
    source = CELLS["attention-all"]
    exec(source[: source.index("k, v = ")], names)  # noqa: S102
    return pages.run(CELLS, ["gpt-attention", "gpt-model"], names)


@pytest.fixture(scope="module")
def library():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    shape = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 12}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=20, **shape)).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return model


def test_the_small_gpt_is_at_most_80_lines():
    lines = [CELLS["attention-all"].split("k, v = ")[0]]
    lines += [CELLS[name] for name in ("gpt-attention", "gpt-model")]
    assert sum(bool(x.strip()) for x in "\n".join(lines).splitlines()) <= 80


def test_every_weight_counts_in_both(page, library):
    ids = torch.arange(12)[None]
    with torch.no_grad():
        before = library(ids).logits
        assert torch.allclose(page["copied"](library)(ids), before, atol=1e-4)
        for name, weight in library.transformer.named_parameters():
            # In one direction only: a norm removes what is the same everywhere, and
            # softmax a bias of all keys.
            kept = weight.clone()
            weight += torch.linspace(-0.5, 0.5, weight.numel()).view(weight.shape)
            after = library(ids).logits
            assert not torch.allclose(after, before, atol=1e-3), name
            assert torch.allclose(page["copied"](library)(ids), after, atol=1e-4), name
            weight.copy_(kept)


def test_a_pretrained_small_model_runs_in_our_gpt(page):
    model = pretrain.small_gpt(width=48).eval()
    ids = torch.arange(64)[None]
    with torch.no_grad():
        gap = (page["copied"](model)(ids) - model(ids).logits).abs().max()
    assert gap < 1e-4


def test_a_text_longer_than_the_places_is_refused(page, library):
    with pytest.raises(IndexError):
        page["copied"](library)(torch.zeros(1, 13, dtype=torch.long))


@pytest.mark.model
def test_a_loss_that_is_no_number_stops_the_training():
    from transformers import AutoTokenizer

    chosen = model_for("feature-extraction")
    rows, _, labels = transfer.read()
    reader = AutoTokenizer.from_pretrained(chosen["model"])
    model = transfer.network("fine-tuned", chosen, labels, seed=0)
    torch.nn.init.constant_(model.classifier.weight, math.nan)
    with pytest.raises(ValueError, match="The loss is nan at step 1"):
        transfer.train(model, reader, rows[:16], labels, 1e-4, seed=0)


def test_one_class_is_refused():
    rows, test, _ = transfer.read()
    one = [row for row in rows if row["label"] == "home"]
    with pytest.raises(ValueError, match="class"):
        transfer.simple("TF-IDF", {}, one, test)


def test_the_requests_are_balanced_and_the_test_part_is_apart():
    rows, test, labels = transfer.read()
    assert len(labels) == 8
    for part, size in ((rows, 128), (test, 50)):
        assert all(sum(r["label"] == x for r in part) == size for x in labels)
    texts = [row["text"].lower() for row in rows + test]
    assert len(set(texts)) == len(texts)
    for size in transfer.SIZES:
        chosen = transfer.some(rows, size, seed=0)
        assert all(sum(r["label"] == x for r in chosen) == size // 8 for x in labels)


def table(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_transfer_table_is_whole():
    rows = table(transfer.STORE)
    there = [(r["method"], int(r["examples"]), int(r["seed"])) for r in rows]
    for method in transfer.METHODS:
        for size in transfer.SIZES:
            for seed in transfer.SEEDS:
                if method != "LoRA" or size in (64, 1024):
                    assert there.count((method, size, seed)) >= 1
    shown = {r["shown"] for r in rows if r["method"] in transfer.RATES}
    assert "1024" in shown


@pytest.mark.model
@pytest.mark.parametrize("method", ["TF-IDF", "frozen"])
def test_points_without_training_come_out_as_stored(method):
    chosen = model_for("feature-extraction")
    for row in table(transfer.STORE):
        if row["method"] == method and row["examples"] == "64":
            again = transfer.one_run(method, 64, int(row["seed"]), chosen)
            assert abs(again["accuracy"] - float(row["accuracy"])) < 0.02


def test_the_scaling_table_is_whole():
    rows = table(pretrain.STORE)
    runs = {(r["width"], r["characters"]) for r in rows}
    assert len(runs) == 9
    assert len(rows) == 36


def test_the_held_out_text_is_not_trained_on():
    train, held_out = pretrain.read()
    assert len(held_out) > 20_000
    assert (train + held_out).isascii()
    assert held_out[:200] not in train


def drift(weights, period):
    return weights.diagonal(-period).mean()


WRONG = [
    ("10.1", lambda ids: [], "pairs came out"),
    ("10.1", lambda ids: [(ids, ids[p]) for p in range(1, len(ids))], "expected"),
    ("10.1", "pairs", "It stopped with TypeError"),
    ("10.2", lambda s: s.tolist(), "Expected a tensor"),
    (
        "10.2",
        lambda s: s.masked_fill(torch.ones(s.shape[-2:]).triu(0).bool(), -math.inf),
        "the diagonal stays",
    ),
    (
        "10.2",
        lambda s: s.masked_fill_(torch.ones(s.shape[-2:]).triu(1).bool(), -math.inf),
        "The input was changed",
    ),
    ("10.2", lambda s: s.clone(), "above the diagonal"),
    (
        "10.3",
        lambda x, q, k, v: (
            ((x @ q) @ (x @ k).mT / q.shape[1] ** 0.5).softmax(-1) @ (x @ v)
        ),
        "looks into the future",
    ),
    (
        "10.3",
        lambda x, q, k, v: (
            solved.causal_mask((x @ q) @ (x @ k).mT).softmax(-1) @ (x @ v)
        ),
        "Divide the scores",
    ),
    ("10.3", lambda x, q, k, v: x, "Expected the shape"),
    ("10.4", lambda v, p, w, n: solved.parameters(v, p, w, n) + v * w, "count it once"),
    ("10.4", lambda v, p, w, n: 12 * n * w * w, "expected"),
    ("10.5", drift, "the one that followed it"),
    ("10.5", lambda weights, period: 0.5, "expected"),
    ("10.6", lambda w, a, b, alpha: w + alpha * b @ a, "alpha / rank"),
    ("10.6", lambda w, a, b, alpha: w, "Folding it in"),
    ("10.6", lambda w, a, b, alpha: w.add_(b @ a), "The input was changed"),
]


@pytest.mark.parametrize(("number", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_a_pointer(capsys, number, answer, words):
    check(number, answer)
    out = capsys.readouterr().out.strip()
    assert out.startswith(f"{number}: not yet.")
    assert words in out
    assert "\n" not in out


def test_the_solutions_beside_the_checkers_are_right(capsys, page, library):
    right = [
        solved.causal_examples,
        solved.causal_mask,
        solved.attention_head,
        solved.parameters,
        solved.induction_score,
        solved.merge,
    ]
    for number, answer in enumerate(right, start=1):
        check(f"10.{number}", answer)
    said = capsys.readouterr().out.splitlines()
    assert said == [f"10.{n}: right." for n in range(1, 7)]
    assert solved.parameters(20, 12, 24, 2) == library.num_parameters()
