"""Attention heads for notebook 10: where they look, and the model without some."""

from __future__ import annotations

import torch
from torch.func import functional_call


@torch.no_grad()
def weights_of(generator, text: str):
    """Return a text's tokens and where each looks: a list of strings, and a tensor
    (blocks, heads, tokens, tokens) on the CPU, whose rows look.

    `generator` is a text-generation pipeline with attn_implementation="eager".
    """
    model = generator.model
    inputs = generator.tokenizer(text, return_tensors="pt").to(model.device)
    maps = model(**inputs, output_attentions=True).attentions
    return inputs.tokens(), torch.cat(maps).cpu()


@torch.no_grad()
def logits_without(model, heads, ids):
    """Return a Llama's logits (batch, tokens, vocabulary) when some heads add nothing
    to the stream; the model itself stays as it is.

    `heads` numbers them through all blocks: block times heads per block plus head.
    What a head finds goes through its columns of the matrix `o_proj`; they become zero.
    """
    count, changed = model.config.num_attention_heads, {}
    for number in heads.tolist():
        name = f"model.layers.{number // count}.self_attn.o_proj.weight"
        if name not in changed:
            changed[name] = model.get_parameter(name).clone()
        changed[name].unflatten(1, (count, -1))[:, number % count] = 0
    return functional_call(model, changed, (ids,)).logits
