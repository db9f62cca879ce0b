"""How fast does SmolLM2-135M write on a CPU, inside transformers and PyTorch alone?

Three steps, each on top of the one before, for one text at a time:

1. int8: every linear layer holds whole numbers of one byte (Int8Linear);
2. a loop of our own: the few operations that a layer needs, and a cache of fixed
   size, without what `generate` does around them (fast_greedy);
3. torch.compile: the small operations of a layer become a few of C++ (needs g++). The
   text may differ, as sums in another order are rounded elsewhere.

In float32, step 3 changes nothing, as memory sets the pace.

`python fast.py`, in this folder, measures them beside float32, bfloat16 and sixteen
texts at once, and writes speed.csv; notebook 04 draws it and runs step 2 again. Each
figure is the best of two runs of 20 tokens, prompt included, on one core, over the
seconds of its processor time: a busy machine slows those a little, but not by the share
of time that other programs get. It takes a minute of a core.
"""

from __future__ import annotations

import copy
import csv
import os
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

HERE = Path(__file__).resolve().parent
PROMPT = "So today, I just feel like"
TOKENS = 20
ROOM = 128  # positions of the cache of fixed size


class Int8Linear(torch.nn.Module):
    """A linear layer with weights of one byte and a scale for each row.

    The input is rounded likewise at each call, with a step for each token.
    """

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        scale = weight.abs().amax(dim=1) / 127
        self.register_buffer("scale", scale)
        whole = (weight / scale[:, None]).round().to(torch.int8)
        self.register_buffer("whole", whole)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        step = x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-9) / 127
        whole = (x / step).round().to(torch.int8)
        product = int8_product(whole.flatten(0, -2), self.whole, step, self.scale)
        return product.view(*x.shape[:-1], -1)


@torch.library.custom_op("learn::int8_product", mutates_args=())
def int8_product(
    x: torch.Tensor, weight: torch.Tensor, step: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Multiply int8 x (tokens, inputs) and weight (outputs, inputs), and scale back.

    An operation of our own, which torch.compile calls as it is: with the bare lines
    in its place it made 88 tokens a second, all of them wrong (torch 2.13, CPU).
    """
    # PyTorch's product of two int8 matrices, summed in 32 bits.
    return torch._int_mm(x, weight.t()) * (step.view(-1, 1) * scale)


@int8_product.register_fake
def _(x, weight, step, scale):
    """Tell torch.compile the shape and type of the result."""
    return scale.new_empty(x.shape[0], weight.shape[0])


def to_int8(model):
    """Return a copy of a model with every linear layer in int8."""
    # The table of embeddings shares the last layer's weights, and stays as it is.
    small = copy.deepcopy(model)
    for name, module in list(small.named_modules()):
        if isinstance(module, torch.nn.Linear):
            small.set_submodule(name, Int8Linear(module))
    return small


def turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn vectors by an angle that tells their position (Llama's rotation)."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), dim=-1) * sin


def layer_step(layer, x, cos, sin, keys, values, seen, place):
    """Run one Llama layer on one token, x of shape (1, 1, width).

    keys and values (1, heads, room, size) are the layer's cache, written at `place`;
    `seen` (1, room) is True where a token has been.
    """
    attention = layer.self_attn
    shape = (1, -1, 1, attention.head_dim)
    h = layer.input_layernorm(x)
    query = turn(attention.q_proj(h).view(shape), cos, sin)
    keys.index_copy_(2, place, turn(attention.k_proj(h).view(shape), cos, sin))
    values.index_copy_(2, place, attention.v_proj(h).view(shape))
    mixed = F.scaled_dot_product_attention(
        query, keys, values, attn_mask=seen, enable_gqa=True
    )
    x = x + attention.o_proj(mixed.view(1, 1, -1))
    return x + layer.mlp(layer.post_attention_layernorm(x))


@torch.inference_mode()
def fast_greedy(model, ids, tokens, step=layer_step, room=ROOM):
    """Return ids (1, length) with the likeliest tokens appended, as greedy `generate`.

    `model` is a Llama, float32 or `to_int8` of one; `step` is layer_step or its
    compiled form. Raises ValueError where the text has no room in the cache.
    """
    length = ids.shape[1]
    if length + tokens > room:
        raise ValueError(f"{length} + {tokens} tokens need more room than {room}.")
    config, inner = model.config, model.model
    cache = DynamicCache(config=config)
    out = model(ids, past_key_values=cache, logits_to_keep=1)
    made = [ids, out.logits.argmax(-1)]
    heads, size = config.num_key_value_heads, inner.layers[0].self_attn.head_dim
    kept = []
    for layer in cache.layers:
        # A tensor each: compiled code must not meet two views of one.
        keys, values = (torch.zeros(1, heads, room, size) for _ in range(2))
        keys[:, :, :length], values[:, :, :length] = layer.keys, layer.values
        kept.append((keys, values))
    cos, sin = inner.rotary_emb(keys, torch.arange(room)[None])
    for position in range(length, length + tokens - 1):
        place = torch.tensor([position])
        seen = torch.arange(room)[None] <= position
        x = inner.embed_tokens(made[-1])
        turned = cos[:, place], sin[:, place]
        for layer, (keys, values) in zip(inner.layers, kept, strict=True):
            x = step(layer, x, *turned, keys, values, seen, place)
        made.append(model.lm_head(inner.norm(x)).argmax(-1))
    return torch.cat(made, dim=1)


def speed(run, tokens: int, times: int = 2, clock=time.perf_counter) -> float:
    """Return tokens a second, the best of some runs."""
    seconds = []
    for _ in range(times):
        start = clock()
        run()
        seconds.append(clock() - start)
    return tokens / min(seconds)


def main() -> None:
    sys.path.insert(0, str(HERE.parent.parent))
    from helpers.models import embedded

    torch.set_num_threads(1)
    folder = embedded("SmolLM2-135M-Instruct")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"]

    def plain(model, texts=1):
        options = {"min_new_tokens": TOKENS, "max_new_tokens": TOKENS}
        many = ids.repeat(texts, 1)
        return lambda: model.generate(many, do_sample=False, **options)

    rows = []

    def note(way, run, texts=1):
        found = speed(run, TOKENS * texts, clock=time.process_time)
        rows.append((way, texts, round(found, 1)))
        print(*rows[-1], f"load {os.getloadavg()[0]:.1f}", flush=True)

    note("float32", plain(model))
    note("float32", plain(model, 16), 16)
    half = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    note("bfloat16", plain(half))
    small = to_int8(model)
    note("int8", plain(small))
    note("int8, own loop", lambda: fast_greedy(small, ids, TOKENS))
    step = torch.compile(layer_step)
    fast_greedy(small, ids, TOKENS, step)  # compiles
    note("int8, own loop, compiled", lambda: fast_greedy(small, ids, TOKENS, step))
    with (HERE / "speed.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["way", "texts", "tokens_a_second"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
