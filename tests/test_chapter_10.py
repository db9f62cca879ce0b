"""Proves what notebook 10 claims beyond its outputs: every weight of the small GPT
counts, odd input is refused, and the exercises tell wrong answers from right ones.
"""

from math import exp, inf, sqrt
from types import SimpleNamespace

import pages
import pytest
import torch
from torch import nn
from verdicts import assert_pointer

from experiments import alice, scaling
from helpers import check
from helpers.exercises import chapter_10 as solved

CELLS = pages.page("10_architecture")
PARTS = ["attention", "heads", "gpt-attention", "gpt-block", "gpt-model"]
DEFINED = "\n".join(pages.definitions(CELLS[name]) for name in PARTS)


@pytest.fixture(scope="module")
def page():
    """The functions and classes of the small GPT, as they stand on the page."""
    names = {"torch": torch, "nn": nn, "exp": exp, "inf": inf, "sqrt": sqrt}
    exec(DEFINED, names)  # noqa: S102
    return names


@pytest.fixture(scope="module")
def library():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    shape = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 12}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=20, **shape)).eval()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.2)
    return model


def copied(page, library):
    """Return the page's GPT with the weights of a GPT-2 of the library."""
    shape = {"vocabulary": 20, "places": 12, "width": 24, "heads": 3, "layers": 2}
    names = page | {"library": library, "own": page["GPT"](**shape)}
    source = CELLS["gpt-copy"]
    lines = source[source.index("state = ") :].splitlines()
    end = next(k for k, line in enumerate(lines) if line.startswith("own ="))
    exec("\n".join(lines[:end]), names)  # noqa: S102
    names["own"].load_state_dict(names["state"])
    return names["own"]


def test_the_small_gpt_is_at_most_80_lines():
    assert sum(bool(line.strip()) for line in DEFINED.splitlines()) <= 80


@torch.no_grad()
def test_every_weight_counts_in_both(page, library):
    ids = torch.arange(12)[None]
    before = library(ids).logits
    assert torch.allclose(copied(page, library)(ids), before, atol=1e-4)
    for name, weight in library.transformer.named_parameters():
        # In one direction only: a norm removes what is the same everywhere, and
        # softmax a bias of all keys.
        kept = weight.clone()
        weight += torch.linspace(-0.5, 0.5, weight.numel()).view(weight.shape)
        after = library(ids).logits
        assert not torch.allclose(after, before, atol=1e-3), name
        assert torch.allclose(copied(page, library)(ids), after, atol=1e-4), name
        weight.copy_(kept)


def test_a_text_longer_than_the_places_is_refused(page, library):
    with pytest.raises(IndexError):
        copied(page, library)(torch.zeros(1, 13, dtype=torch.long))


@pytest.mark.model
@torch.no_grad()
def test_the_stored_gpt_predicts_text_that_it_has_not_seen():
    from transformers import AutoTokenizer, GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(alice.STORE, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(alice.STORE)
    text, held_out = scaling.read()
    assert tokenizer(text[:999]) == scaling.learn_tokens(text)(text[:999])
    rows = [row["input_ids"] for row in scaling.examples(tokenizer, held_out)]
    ids = torch.stack(rows)
    assert model(ids, labels=ids).loss < 4  # 6.2 for a guess


@pytest.fixture(scope="module")
def llama():
    """A tiny Llama with random weights, in its norms too, and a tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=scaling.VOCABULARY,
        attn_implementation="eager",
    )
    model = LlamaForCausalLM(config).eval()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.6)
    text = "Once upon a time there was a boy, and two and two were up in the air. "
    return model, scaling.learn_tokens(text)


@pytest.fixture
def given(llama):
    """What the page gives to a checker beside the answer."""
    return {"10.4": llama, "10.5": llama[:1]}


def mask_without_itself(mask):
    back = torch.ones(mask.shape[1], mask.shape[1], dtype=torch.bool).tril()
    return back & mask.bool()[:, None, None, :]


def mask_of_rows(mask):
    back = torch.ones(mask.shape[1], mask.shape[1], dtype=torch.bool).tril()
    return (back & mask.bool()[:, None, :, None]) | torch.eye(len(back)).bool()


def mask_of_the_future(mask):
    return torch.ones(len(mask), 1, mask.shape[1], mask.shape[1]).bool()


def mask_in_a_loop(mask):
    batch, tokens = mask.shape
    seen = torch.zeros(batch, 1, tokens, tokens, dtype=torch.bool)
    for b in range(batch):
        for i in range(tokens):
            for j in range(i + 1):
                seen[b, 0, i, j] = i == j or mask[b, j] == 1
    return seen


def head_without_mask(x, q, k, v):
    return ((x @ q) @ (x @ k).mT / q.shape[1] ** 0.5).softmax(-1) @ (x @ v)


def head_with_the_wrong_root(x, q, k, v):
    return head_of_torch(x, q * (q.shape[1] / q.shape[0]) ** 0.5, k, v)


def head_of_torch(x, q, k, v):
    attend = nn.functional.scaled_dot_product_attention
    return attend(x @ q, x @ k, x @ v, is_causal=True)


def parameters_without_groups(c):
    w = c.hidden_size
    block = 4 * w * w + 3 * w * c.intermediate_size + 2 * w
    tables = 1 if c.tie_word_embeddings else 2
    return tables * c.vocab_size * w + c.num_hidden_layers * block + w


def parameters_counted(c):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(c).num_parameters()


def read_states(norms, place=-1):
    """Return a lens that norms the states which `norms` (place, of how many) wants."""

    @torch.no_grad()
    def lens(model, tokenizer, text):
        inputs = tokenizer(text, return_tensors="pt")
        states = model(**inputs, output_hidden_states=True).hidden_states
        found = []
        for n, state in enumerate(states):
            vector = state[0, place]
            if norms(n, len(states)):
                vector = model.model.norm(vector)
            found.append(tokenizer.decode(model.lm_head(vector).argmax()))
        return found

    return lens


@torch.no_grad()
def swapped(model, ids, distance):
    return solved.strongest_head(model, ids, distance)[::-1]


@torch.no_grad()
def of_the_future(model, ids, distance):
    maps = torch.cat(model(ids, output_attentions=True).attentions)
    scores = maps.diagonal(distance, dim1=-2, dim2=-1).mean(dim=-1)
    return divmod(int(scores.argmax()), scores.shape[1])


@torch.no_grad()
def head_by_head(model, ids, distance):
    maps = model(ids, output_attentions=True).attentions
    scores = {}
    for block, heads in enumerate(maps):
        for head, weights in enumerate(heads[0]):
            rows = range(distance, len(weights))
            found = [weights[i, i - distance].item() for i in rows]
            scores[block, head] = sum(found) / len(found)
    return max(scores, key=scores.get)


WRONG = [
    ("10.1", mask_without_itself, "may not look at itself"),
    ("10.1", mask_of_rows, "looks at padding"),
    ("10.1", mask_of_the_future, "into the future"),
    ("10.2", head_without_mask, "looks into the future"),
    ("10.2", head_with_the_wrong_root, "size of a query"),
    ("10.2", lambda x, q, k, v: x, "Expected the shape"),
    ("10.3", parameters_without_groups, "num_key_value_heads"),
    ("10.3", lambda c: solved.parameters(c) - c.hidden_size, "one more norm"),
    (
        "10.3",
        lambda c: (
            solved.parameters(c) + c.tie_word_embeddings * c.vocab_size * c.hidden_size
        ),
        "tie_word_embeddings",
    ),
    ("10.4", read_states(lambda n, total: False), "Norm?"),
    ("10.4", read_states(lambda n, total: True), "took it twice"),
    ("10.4", read_states(lambda n, total: n < total - 1, place=0), "Last token?"),
    ("10.5", swapped, "swapped"),
    ("10.5", of_the_future, "another head has"),
]
RIGHT = [
    ("10.1", solved.causal_mask),
    ("10.1", mask_in_a_loop),
    ("10.2", solved.attention_head),
    ("10.2", head_of_torch),
    ("10.3", solved.parameters),
    ("10.3", parameters_counted),
    ("10.4", solved.lens),
    ("10.4", read_states(lambda n, total: n < total - 1)),
    ("10.5", solved.strongest_head),
    ("10.5", head_by_head),
]


@pytest.mark.parametrize(("number", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_a_pointer(capsys, given, number, answer, words):
    check(number, answer, *given.get(number, ()))
    out = capsys.readouterr().out.strip()
    assert_pointer(out, number, words)


@pytest.mark.parametrize(("number", "answer"), RIGHT)
def test_a_right_answer_is_accepted(capsys, given, number, answer):
    check(number, answer, *given.get(number, ()))
    assert capsys.readouterr().out.strip() == f"{number}: right."


def test_what_is_said_of_t5_holds():
    import transformers

    t5 = transformers.T5Config()
    assert (t5.num_layers, t5.num_decoder_layers) == (6, 6)
    for name in ("Bert", "GPT2", "T5"):
        assert hasattr(transformers, f"{name}ForSequenceClassification")


def test_the_weights_of_a_text_are_one_row_per_token(llama):
    from experiments.heads import weights_of

    generator = SimpleNamespace(model=llama[0], tokenizer=llama[1])
    tokens, maps = weights_of(generator, "two and two")
    assert maps.shape == (3, 4, len(tokens), len(tokens))
    assert torch.allclose(maps.sum(dim=-1), torch.ones(maps.shape[:-1]))
    assert not maps.triu(1).any()


def test_switched_off_heads_add_nothing(llama):
    from experiments.heads import logits_without

    model, count = llama[0], llama[0].config.num_attention_heads
    ids = torch.arange(5).repeat(2)[None]
    before = model(ids).logits
    assert torch.equal(logits_without(model, torch.arange(0), ids), before)
    found = []
    block = model.model.layers[0].self_attn
    hook = block.register_forward_hook(lambda *call: found.append(call[2][0]))
    changed = logits_without(model, torch.arange(count), ids)  # all of the first block
    hook.remove()
    assert not found[0].any()
    assert not torch.allclose(changed, before)
    assert torch.equal(model(ids).logits, before)
