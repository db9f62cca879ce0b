"""Attention heads for notebook 10: where they look, and the model without some."""

from __future__ import annotations

from copy import deepcopy

import torch


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
def without(model, heads):
    """Return a copy of a Llama in which some heads add nothing to the stream.

    `heads` numbers them through all blocks: block times heads per block plus head.
    What a head finds goes through its columns of the matrix `o_proj`; they become zero.
    """
    changed, count = deepcopy(model), model.config.num_attention_heads
    for number in heads.tolist():
        output = changed.model.layers[number // count].self_attn.o_proj
        output.weight.unflatten(1, (count, -1))[:, number % count] = 0
    return changed
