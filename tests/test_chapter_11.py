"""Proves what notebook 11 claims beyond its outputs: its GPT is the one of notebook 10,
the stored table is whole, nothing held out is trained on, and the exercises tell wrong
answers from right ones.
"""

import ast
import math
from types import SimpleNamespace

import pages
import pytest
import torch
from places import NOTEBOOKS
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from torch.nn.functional import cross_entropy
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed
from verdicts import assert_pointer

from experiments import gpt as module
from experiments import scaling
from experiments.tables import read_table
from helpers import check
from helpers.exercises import chapter_11 as solved

CELLS = pages.page("11_pretraining")


def taught(source):
    """Return the functions and classes of a source by name, without docstrings."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = ast.unparse(node)
    return found


def test_the_gpt_is_the_one_of_notebook_10():
    page = pages.page("10_architecture")
    names = ["attention", "heads", "gpt-attention", "gpt-block", "gpt-model"]
    defined = taught("\n".join(pages.definitions(page[name]) for name in names))
    path = NOTEBOOKS / "experiments" / "gpt.py"
    ours = taught(path.read_text("utf-8"))
    assert len(defined) == 7
    assert {name: ours[name] for name in defined} == defined


def test_a_new_gpt_guesses_and_is_the_same_each_time():
    ids = torch.randint(512, (8, 65), generator=torch.Generator().manual_seed(0))
    losses = []
    for _ in range(2):
        gpt = module.new_gpt(vocabulary=512, places=64, width=96)
        logits = gpt(ids[:, :-1])
        loss = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        losses.append(loss.item())
    assert losses[0] == losses[1]
    assert abs(losses[0] - math.log(512)) < 0.5


def test_the_scaling_table_is_whole():
    rows = read_table(scaling.STORE)
    runs = {(r["width"], r["characters"]) for r in rows}
    assert len(runs) == 9
    assert len(rows) == 36


def test_the_held_out_text_is_not_trained_on():
    train, held_out = scaling.read()
    assert len(held_out) > 20_000
    assert (train + held_out).isascii()
    assert held_out[:200] not in train


def test_the_page_trains_as_the_experiment_does():
    """The settings in the page's cell are those behind the stored table."""
    cell = CELLS["arguments"]
    for words in (
        f"max_steps={scaling.STEPS}",
        f"per_device_train_batch_size={scaling.BATCH}",
        "learning_rate=2e-3",
    ):
        assert words in cell
    assert scaling.RATE == 2e-3


def test_the_page_prepares_as_the_experiment_does(monkeypatch):
    """Text, tokens, examples and first weights are those behind the stored table."""
    monkeypatch.chdir(NOTEBOOKS)
    space = {
        "torch": torch,
        "ByteLevelBPETokenizer": ByteLevelBPETokenizer,
        "Tokenizer": Tokenizer,
        "PreTrainedTokenizerFast": PreTrainedTokenizerFast,
        "model": SimpleNamespace(device="cpu"),
    }
    pages.run(CELLS, ["data", "tokens", "rows", "examples", "config"], space)
    text, held_out = scaling.read()
    assert (space["text"], space["held_out"]) == (text, held_out)
    tokenizer = scaling.learn_tokens(text)
    for part, rows in (("train_dataset", text), ("eval_dataset", held_out)):
        for ours, theirs in zip(
            space["data"][part], scaling.examples(tokenizer, rows), strict=True
        ):
            assert torch.equal(ours["input_ids"], theirs["input_ids"])
            assert torch.equal(ours["labels"], theirs["labels"])
    set_seed(scaling.SEED)
    ours, theirs = GPT2LMHeadModel(space["config"]), scaling.small_gpt(96)
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))


def not_shifted(ids, length):
    rows = torch.tensor(ids[: len(ids) // length * length]).view(-1, length)
    return rows, rows.clone()


def rolled(ids, length):
    inputs, _ = solved.causal_batch(ids, length)
    return inputs, inputs.roll(-1, dims=1)


def one_token_short(ids, length):
    rows = len(ids) // (length + 1)
    whole = torch.tensor(ids[: rows * (length + 1)]).view(rows, length + 1)
    return whole[:, :-1], whole[:, 1:]


def unfolded(ids, length):
    whole = torch.tensor(ids).unfold(0, length + 1, length)
    return whole[:, :-1], whole[:, 1:]


def loop(shifted=True, zeroed=True, stepped=True):
    """Return a training loop, written in another way, with or without its faults."""

    def train(gpt, batches, rate):
        losses = []
        for batch in batches:
            if zeroed:
                gpt.zero_grad()
            cut = batch[:, :-1] if shifted else batch
            labels = batch[:, 1:] if shifted else batch
            loss = cross_entropy(gpt(cut).transpose(1, 2), labels)
            loss.backward()
            with torch.no_grad():
                for weight in gpt.parameters():
                    weight -= rate * weight.grad * stepped
            losses.append(loss.detach())
        return losses

    return train


def evaluate(evaluating=True, weighed=True, back=True):
    """Return an evaluation, written in another way, with or without its faults."""

    @torch.no_grad()
    def held_out_loss(model, batches):
        mode = model.training
        if evaluating:
            model.eval()
        losses = []
        for batch in batches:
            logits = model(batch).logits[:, :-1].flatten(0, 1)
            each = cross_entropy(logits, batch[:, 1:].flatten(), reduction="none")
            losses.append(each if weighed else each.mean()[None])
        if back:
            model.train(mode)
        return torch.cat(losses).mean()

    return held_out_loss


def read_last(trained_on, held_out):
    return len(held_out), solved.read_curve(trained_on, held_out)[1]


def read_from_zero(trained_on, held_out):
    epoch, word = solved.read_curve(trained_on, held_out)
    return epoch - 1, word


def read_the_last_step(trained_on, held_out):
    rising = held_out[-1] > held_out[-2]
    epoch, word = solved.read_curve(trained_on, held_out)
    return epoch, "overfitting" if rising else word


def read_sorted(trained_on, held_out):
    best = min(range(len(held_out)), key=lambda n: held_out[n])
    if held_out[-1] >= held_out[best] + 0.1:
        return best + 1, "overfitting"
    fell = held_out[-2] - held_out[-1]
    return best + 1, "underfitting" if fell >= 0.1 else "done"


WRONG = [
    ("11.1", not_shifted, "shift the labels"),
    ("11.1", rolled, "not the token that comes next"),
    ("11.1", one_token_short, "rows of"),
    ("11.2", loop(shifted=False), "leaked"),
    ("11.2", loop(zeroed=False), "still in each step"),
    ("11.2", loop(shifted=False, zeroed=False), "Both faults"),
    ("11.2", loop(stepped=False), "optimizer.step()"),
    ("11.3", evaluate(evaluating=False), "dropout is on"),
    ("11.3", evaluate(weighed=False), "each predicted token"),
    ("11.3", evaluate(back=False), "model.training was True"),
    ("11.4", read_last, "trained on"),
    ("11.4", read_from_zero, "counted from 1"),
    ("11.4", read_the_last_step, "three rules"),
]
RIGHT = [
    ("11.1", solved.causal_batch),
    ("11.1", unfolded),
    ("11.2", solved.repaired),
    ("11.2", loop()),
    ("11.3", solved.held_out_loss),
    ("11.3", evaluate()),
    ("11.4", solved.read_curve),
    ("11.4", read_sorted),
]


@pytest.mark.parametrize(("number", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_a_pointer(capsys, number, answer, words):
    check(number, answer)
    out = capsys.readouterr().out.strip()
    assert_pointer(out, number, words)


@pytest.mark.parametrize(("number", "answer"), RIGHT)
def test_a_right_answer_is_accepted(capsys, number, answer):
    check(number, answer)
    assert capsys.readouterr().out.strip() == f"{number}: right."
