"""The model of marian-en-fr-ui and its loss."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy
from transformers import (
    GenerationConfig,
    MarianConfig,
    MarianMTModel,
    PreTrainedTokenizerFast,
)

# Small, because time is what is short: a model of twice the parameters sees half the
# text in it. A deeper encoder than decoder (Kasai et al., 2021) answers faster,
# because only the decoder runs once per token. 4.5 M parameters, 9 MB.
WIDTH, HEADS, FEED_FORWARD = 192, 4, 768
ENCODER, DECODER = 4, 2
# No dropout: in the few epochs that the time allows there is little to overfit, and
# its random numbers would cost a tenth of the time.
DROPOUT = 0.0
STEP = 4  # lengths are padded to multiples of it: new shapes cost time on a CPU


def new_model(tokenizer: PreTrainedTokenizerFast) -> MarianMTModel:
    """Return a Marian model with random weights, ready to train."""
    pad = tokenizer.pad_token_id
    config = MarianConfig(
        vocab_size=len(tokenizer),
        d_model=WIDTH,
        encoder_layers=ENCODER,
        decoder_layers=DECODER,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=FEED_FORWARD,
        decoder_ffn_dim=FEED_FORWARD,
        activation_function="relu",
        dropout=DROPOUT,
        scale_embedding=True,
        max_position_embeddings=256,
        share_encoder_decoder_embeddings=True,
        pad_token_id=pad,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=pad,
        forced_eos_token_id=tokenizer.eos_token_id,
    )
    # The fused attention is slow backwards on a CPU.
    model = MarianMTModel._from_config(config, attn_implementation="eager")
    # Embeddings are multiplied by the root of the width: start them small.
    torch.nn.init.normal_(model.model.shared.weight, std=WIDTH**-0.5)
    model.model.shared.weight.data[pad] = 0
    for name, weight in model.named_parameters():
        if weight.ndim == 2 and "shared" not in name and "embed" not in name:
            torch.nn.init.xavier_uniform_(weight)
    model.generation_config = GenerationConfig(
        num_beams=4,
        max_length=200,
        length_penalty=1.0,
        early_stopping=True,
        pad_token_id=pad,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=pad,
        forced_eos_token_id=tokenizer.eos_token_id,
        bad_words_ids=[[pad]],
    )
    return model


def padded(rows: list[list[int]], filler: int) -> torch.Tensor:
    """Return rows of tokens as one tensor, its length a multiple of STEP."""
    longest = -(-max(map(len, rows)) // STEP) * STEP
    return torch.tensor([row + [filler] * (longest - len(row)) for row in rows])


class SmoothedLoss(torch.autograd.Function):
    """Cross entropy with label smoothing, of states through the output matrix.

    The same as torch's `cross_entropy(..., label_smoothing=...)`. The gradient is found
    in the same pass, a few rows at a time, which stay in the processor's cache:
    torch's own took a third of the training time.
    """

    @staticmethod
    def forward(ctx, states, matrix, target, smoothing):
        gradient = states @ matrix.T
        total, size = 0.0, gradient.shape[1]
        for rows, right in zip(gradient.split(64), target.split(64), strict=True):
            logits = rows.float()
            chances = logits.softmax(dim=1)
            right = right[:, None]
            log_right = chances.gather(1, right).clamp_min(1e-30).log()
            # log-softmax is the logit less a constant of the row
            log_mean = logits.mean(1, keepdim=True) - logits.gather(1, right)
            total -= (log_right + smoothing * log_mean).sum().item()
            chances -= smoothing / size
            chances.scatter_add_(1, right, torch.full_like(log_right, smoothing - 1))
            rows.copy_(chances / len(target))
        ctx.save_for_backward(states, matrix, gradient)
        return torch.tensor(total / len(target))

    @staticmethod
    def backward(ctx, grad):
        states, matrix, gradient = ctx.saved_tensors
        return grad * (gradient @ matrix), grad * (gradient.T @ states), None, None


def loss_of(model, batch: list[tuple], smoothing: float) -> torch.Tensor:
    """Return the mean loss of a target token."""
    pad = model.config.pad_token_id
    source, target = (padded(list(side), pad) for side in zip(*batch, strict=True))
    start = torch.full((len(batch), 1), model.config.decoder_start_token_id)
    states = model.model(
        input_ids=source,
        attention_mask=(source != pad).long(),
        decoder_input_ids=torch.cat([start, target[:, :-1]], dim=1),
        use_cache=False,
    ).last_hidden_state
    # Only the real tokens go through the largest matrix of the model.
    states, target = states[target != pad], target[target != pad]
    if smoothing:
        return SmoothedLoss.apply(states, model.lm_head.weight, target, smoothing)
    return cross_entropy(model.lm_head(states).float(), target)
