"""How fast does SmolLM2-135M write on a CPU? The library's own means first, then a loop
of our own, and llama.cpp beside them, in one run.

The library's: float32, bfloat16, sixteen texts at once, a static cache with
`model.compile()`, torchao's int8 weights by `quantization_config`, drafts from the
prompt. What lies under them, each step on top of the one before, for one text:

1. int8: every linear layer holds whole numbers of one byte (Int8Linear);
2. a loop of our own: the few operations that a layer needs, and a cache of fixed
   size, without what `generate` does around them (fast_greedy);
3. torch.compile: a layer becomes a few loops of C++, which turn the bytes into floats
   on their way through the processor (OneTokenLinear; needs g++).

    python -m experiments.int8_generation    # in notebooks/; ten minutes on two cores

writes int8_generation.csv beside it; notebook 07 draws it.
torchao and llama-cpp-python are measured where they are installed, llama.cpp with
`--gguf FILE`, the file from which the base was unpacked. Each figure is the best of
five runs of 40 tokens by the clock, prompt included, in two threads;
`gigabytes_per_second` is how fast two threads read memory just before, since that
bounds them all.
It wants two cores that do nothing else, and refuses to start where they do: on a busy
machine the figures are wrong. `--busy` only tries whether all of it runs: one thread,
five tokens, nothing written. `--anyway` measures on a busy machine all the same.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import itertools
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    LlamaForCausalLM,
)

from experiments.tables import write_table
from helpers.models import embedded

STORE = Path(__file__).with_suffix(".csv")
PROMPT = "So today, I just feel like"
TOKENS = 40
THREADS = 2
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

    # Compiled, the product of PyTorch 2.13 is quick and wrong.
    @torch.compiler.disable
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        step = x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-9) / 127
        whole = (x / step).round().to(torch.int8).flatten(0, -2)
        # PyTorch's product of two int8 matrices, summed in 32 bits.
        product = torch._int_mm(whole, self.whole.t()) * self.scale
        return product.view(*x.shape[:-1], -1) * step


class OneTokenLinear(Int8Linear):
    """The same weights, written for torch.compile: one token is not rounded.

    Uncompiled it is slow, as it makes a matrix of floats at each call.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.numel() > x.shape[-1]:  # a prompt
            return super().forward(x)
        # as_strided wants x in memory: else each row would compute it anew.
        x = x.as_strided((x.shape[-1],), (1,))
        return ((self.whole.float() * x).sum(dim=-1) * self.scale).view(1, 1, -1)


def to_int8(
    model: torch.nn.Module, kind: type[Int8Linear] = Int8Linear
) -> torch.nn.Module:
    """Return a copy of a model, on the CPU, with every linear layer in int8, of a kind
    above."""
    # The table of embeddings shares the last layer's weights, and stays as it is.
    small = copy.deepcopy(model).cpu()
    for name, module in list(small.named_modules()):
        if isinstance(module, torch.nn.Linear):
            small.set_submodule(name, kind(module))
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


def last_step(model: LlamaForCausalLM, x: torch.Tensor) -> torch.Tensor:
    """Return the likeliest token, (1, 1), from the last layer's x, (1, 1, width)."""
    return model.lm_head(model.model.norm(x)).argmax(-1)


@torch.inference_mode()
def fast_greedy(
    model: LlamaForCausalLM,
    ids: torch.Tensor,
    tokens: int,
    compiled: bool = False,
    room: int = ROOM,
) -> torch.Tensor:
    """Return ids (1, length) with the likeliest tokens appended, as greedy `generate`.

    `model` is a Llama: float32, or `to_int8` of one; compiled, to_int8 with
    OneTokenLinear. Raises ValueError where the text has no room in the cache.
    """
    length = ids.shape[1]
    if length + tokens > room:
        raise ValueError(f"{length} + {tokens} tokens need more room than {room}.")
    step, last = layer_step, last_step
    if compiled:  # once; later calls find what the first has made
        step, last = torch.compile(step), torch.compile(last)
    config, inner = model.config, model.model
    cache = DynamicCache(config=config)
    if length > 1:  # all but the last token, which the loop begins with
        inner(ids[:, :-1], past_key_values=cache)
    heads, size = config.num_key_value_heads, inner.layers[0].self_attn.head_dim
    kept = []
    for number in range(config.num_hidden_layers):
        # A tensor each: compiled code must not meet two views of one.
        keys, values = (torch.zeros(1, heads, room, size) for _ in range(2))
        if length > 1:
            read = cache.layers[number]
            keys[:, :, : length - 1] = read.keys
            values[:, :, : length - 1] = read.values
        kept.append((keys, values))
    cos, sin = inner.rotary_emb(keys, torch.arange(room)[None])
    made = [ids]
    for position in range(length - 1, length + tokens - 1):
        place = torch.tensor([position])
        seen = torch.arange(room)[None] <= position
        x = inner.embed_tokens(made[-1][:, -1:])
        turned = cos[:, place], sin[:, place]
        for layer, (keys, values) in zip(inner.layers, kept, strict=True):
            x = step(layer, x, *turned, keys, values, seen, place)
        made.append(last(model, x))
    return torch.cat(made, dim=1)


def speed(run: Callable[[], object], tokens: int, times: int = 2) -> float:
    """Return tokens per second, the best of some runs; `run()` makes `tokens`."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        if torch.accelerator.is_available():  # which answers before it has finished
            torch.accelerator.synchronize()
        seconds.append(time.perf_counter() - start)
    return tokens / min(seconds)


def generates(
    model: LlamaForCausalLM, ids: torch.Tensor, tokens: int, **options: object
) -> Callable[[], torch.Tensor]:
    """Return a call of `generate` that appends so many tokens to ids (texts, n)."""
    options |= {
        "attention_mask": torch.ones_like(ids),
        "do_sample": False,
        "min_new_tokens": tokens,
        "max_new_tokens": tokens,
    }
    return lambda: model.generate(ids, **options)


def loaded(folder: Path, **options: object) -> LlamaForCausalLM:
    """Return the model in evaluation mode, loaded with options of from_pretrained."""
    return AutoModelForCausalLM.from_pretrained(folder, **options)


def in_torchao_int8(folder: Path) -> LlamaForCausalLM:
    """Return the model with torchao's int8 weights, computing in bfloat16."""
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    config = TorchAoConfig(Int8WeightOnlyConfig())
    return loaded(folder, dtype=torch.bfloat16, quantization_config=config)


def library_ways(folder: Path, ids: torch.Tensor, tokens: int) -> Iterator:
    """Give (name, texts, call) of each way that the library has, one after another:
    only the model that the current way needs is in memory."""
    model = loaded(folder, dtype=torch.float32)
    yield "float32", 1, generates(model, ids, tokens)
    drafts = {"prompt_lookup_num_tokens": 8}
    yield "float32, drafts from the text", 1, generates(model, ids, tokens, **drafts)
    yield "float32, 16 texts", 16, generates(model, ids.repeat(16, 1), tokens)
    model = loaded(folder, dtype=torch.bfloat16)
    yield "bfloat16", 1, generates(model, ids, tokens)
    if importlib.util.find_spec("torchao"):
        yield "torchao int8", 1, generates(in_torchao_int8(folder), ids, tokens)


def compiled_ways(folder: Path, ids: torch.Tensor, tokens: int) -> Iterator:
    """Give (name, texts, call) of the library's ways that compile the whole model,
    which takes minutes: they come last."""
    static = {"cache_implementation": "static"}
    model = loaded(folder, dtype=torch.bfloat16)
    model.compile()
    yield "bfloat16, compiled", 1, generates(model, ids, tokens, **static)
    if importlib.util.find_spec("torchao"):
        model = in_torchao_int8(folder)
        model.compile()
        yield "torchao int8, compiled", 1, generates(model, ids, tokens, **static)


def own_ways(folder: Path, ids: torch.Tensor, tokens: int) -> Iterator:
    """Give (name, texts, call) of each step of this module."""
    model = loaded(folder, dtype=torch.float32)
    small = to_int8(model)
    yield "own int8", 1, generates(small, ids, tokens)
    yield "own int8 and loop", 1, lambda: fast_greedy(small, ids, tokens)
    small = to_int8(model, OneTokenLinear)
    yield (
        "own int8 and loop, compiled",
        1,
        lambda: fast_greedy(small, ids, tokens, compiled=True),
    )


def llama_cpp_way(gguf: str, ids: torch.Tensor, tokens: int) -> Iterator:
    """Give (name, texts, call) of llama.cpp on the file of 4-bit weights."""
    from llama_cpp import Llama

    llama = Llama(gguf, n_threads=torch.get_num_threads(), n_ctx=ROOM, verbose=False)

    def run() -> torch.Tensor:
        made = ids[0].tolist()
        for token in llama.generate(ids[0].tolist(), temp=0.0):
            made.append(token)
            if len(made) == ids.shape[1] + tokens:
                return torch.tensor([made])

    yield "llama.cpp, 4 bits", 1, run


def reading_speed() -> float:
    """Return how many gigabytes per second two threads read, the best of five times."""
    numbers = torch.ones(100_000_000)
    return speed(numbers.sum, 4 * len(numbers), times=5) / 1e9


def main() -> None:
    """Measure each way and write the table, or only try them with --busy."""
    import psutil  # of the tests' packages; who imports this file needs it not

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--busy", action="store_true", help="try it; writes nothing")
    parser.add_argument("--anyway", action="store_true", help="on a busy machine too")
    parser.add_argument("--gguf", help="the file that llama.cpp reads")
    options = parser.parse_args()
    load = psutil.cpu_percent(interval=2)
    if load > 15 and not (options.busy or options.anyway):
        sys.exit(f"Other programs take {load:.0f} % of the processor: let them end.")
    torch.set_num_threads(1 if options.busy else THREADS)
    folder = embedded("SmolLM2-135M-Instruct")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    tokens, rows = 5 if options.busy else TOKENS, []
    sources = [library_ways(folder, ids, tokens), own_ways(folder, ids, tokens)]
    if options.gguf:
        sources.append(llama_cpp_way(options.gguf, ids, tokens))
    sources.append(compiled_ways(folder, ids, tokens))
    for way, texts, run in itertools.chain(*sources):
        start = time.perf_counter()
        run()  # what is done once: threads, buffers, the compiler
        once = time.perf_counter() - start
        memory = reading_speed()
        found = speed(run, tokens * texts, times=2 if options.busy else 5)
        rows.append(
            {
                "way": way,
                "texts": texts,
                "tokens per second": round(found, 1),
                "seconds of the first call": round(once, 1),
                "gigabytes_per_second": round(memory, 1),
                "cores": THREADS,
                "processor": processor(),
            }
        )
        print(*rows[-1].values(), tokenizer.decode(run()[0][-tokens:]), flush=True)
        if not options.busy:
            write_table(STORE, rows)
    best = max(row["tokens per second"] for row in rows if row["texts"] == 1)
    print(f"The fastest for one text: {best}.")


def processor() -> str:
    """Return the processor's name where Linux tells it, else its kind."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
