"""Attention heads switched off, for notebook 10: does a model need what they find?"""

from __future__ import annotations

from copy import deepcopy

import torch


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


@torch.no_grad()
def loss_without(model, heads, ids) -> float:
    """Return the loss on the second half of token ids (1, tokens) without some heads.

    The first token of the half is left out: nothing announces that the text begins
    again.
    """
    half = ids.shape[1] // 2
    labels = ids.clone()
    labels[:, : half + 1] = -100
    return without(model, heads)(ids, labels=labels).loss.item()
