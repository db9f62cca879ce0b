"""The exercises of notebook 10: for each its solution, then its checker."""

from __future__ import annotations

import torch

from . import Wrong, exercise


def same_shape(found, shape) -> None:
    """Raise Wrong where an answer is no tensor of a shape."""
    if not isinstance(found, torch.Tensor):
        raise Wrong(f"Expected a tensor, got {type(found).__name__}.")
    if tuple(found.shape) != tuple(shape):
        raise Wrong(f"Expected the shape {tuple(shape)}, got {tuple(found.shape)}.")


def causal_mask(attention_mask: torch.Tensor) -> torch.Tensor:
    """The solution of 10.1: back, and not at padding, but always at oneself."""
    tokens = attention_mask.shape[1]
    pairs = attention_mask.new_ones(tokens, tokens, dtype=torch.bool)
    itself = torch.eye(tokens, dtype=torch.bool, device=pairs.device)
    allowed = pairs.tril() & attention_mask.bool()[:, None, None, :]
    return allowed | itself


@exercise(
    "10.1",
    "torch.ones(n, n, dtype=torch.bool).tril() is true on and below the diagonal.",
    "attention_mask[:, None, None, :] has the columns last: combine it with &.",
    "A row without any True becomes nan in softmax: | torch.eye(n, dtype=torch.bool).",
)
def check_causal_mask(answer) -> None:
    for rows in ([[1, 1, 1]], [[1, 1, 1, 0], [0, 0, 1, 1]], [[0, 1]], [[1]]):
        given = torch.tensor(rows)
        found, expected = answer(given.clone()), causal_mask(given)
        same_shape(found, expected.shape)
        if found.dtype != torch.bool:
            raise Wrong(f"Expected True and False, got numbers of {found.dtype}.")
        tokens = given.shape[1]
        if found.triu(1).any():
            raise Wrong(f"For {rows} a token looks into the future.")
        if not found.diagonal(dim1=-2, dim2=-1).all():
            raise Wrong(
                f"For {rows} a token may not look at itself: softmax gives nan."
            )
        hidden = (given == 0)[:, None, None, :].expand_as(found)
        others = ~torch.eye(tokens, dtype=torch.bool)
        if (found & hidden & others).any():
            raise Wrong(f"For {rows} a token looks at padding.")
        if not torch.equal(found, expected):
            raise Wrong(f"For {rows} a token of the past is hidden.")


def attention_head(x, w_q, w_k, w_v):
    """The solution of 10.2: three products, a mask, a softmax and a mean."""
    q, k, v = x @ w_q, x @ w_k, x @ w_v
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    future = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -torch.inf).softmax(dim=-1) @ v


@exercise(
    "10.2",
    "q = x @ w_q, and the same for k and v; then the page's attention(q, k, v, mask).",
    "The root is that of the size of a query, w_q.shape[1], not of the width.",
    "The mask is torch.ones(n, n, dtype=torch.bool).tril(), n = x.shape[1].",
)
def check_attention_head(answer) -> None:
    chance = torch.Generator().manual_seed(0)
    for batch, tokens, width, size in ((1, 3, 4, 2), (2, 5, 8, 8), (3, 1, 6, 4)):
        x = torch.randn(batch, tokens, width, generator=chance)
        w = [torch.randn(width, size, generator=chance) for _ in range(3)]
        found, expected = answer(x, *w), attention_head(x, *w)
        same_shape(found, expected.shape)
        if torch.allclose(found, expected, atol=1e-4):
            continue
        q, k, v = (x @ weight for weight in w)
        scores = q @ k.transpose(-2, -1)
        future = torch.ones_like(scores, dtype=torch.bool).triu(1)
        masked = scores.masked_fill(future, -torch.inf)
        if torch.allclose(found, (scores / size**0.5).softmax(-1) @ v, atol=1e-4):
            raise Wrong("Your head looks into the future: mask it.")
        for divisor in (1, width**0.5):
            if torch.allclose(found, (masked / divisor).softmax(-1) @ v, atol=1e-4):
                raise Wrong("Divide the scores by the root of the size of a query.")
        gap = (found - expected).abs().max()
        raise Wrong(f"For vectors of shape {tuple(x.shape)} it is off by {gap:.3f}.")


def parameters(config) -> int:
    """The solution of 10.3: the table, the blocks, the last norm, perhaps a head."""
    width, size = config.hidden_size, config.head_dim
    attention = 2 * width * config.num_attention_heads * size
    attention += 2 * width * config.num_key_value_heads * size
    feed_forward = 3 * width * config.intermediate_size
    blocks = config.num_hidden_layers * (attention + feed_forward + 2 * width)
    tables = 1 if config.tie_word_embeddings else 2
    return tables * config.vocab_size * width + blocks + width


@exercise(
    "10.3",
    "config.hidden_size is the width; keys: width * num_key_value_heads * head_dim.",
    "A block: 2 w w + 2 w (key-value heads * head size) + 3 w intermediate_size + 2 w.",
    "Outside the blocks: the table, one last norm, and the head if it is not tied.",
)
def check_parameters(answer) -> None:
    from transformers import AutoModelForCausalLM, LlamaConfig

    for width, heads, groups, inner, layers, vocabulary, tied in (
        (64, 4, 4, 96, 2, 100, True),
        (48, 6, 2, 80, 3, 50, True),
        (48, 6, 3, 80, 1, 50, False),
    ):
        config = LlamaConfig(
            hidden_size=width,
            num_attention_heads=heads,
            num_key_value_heads=groups,
            intermediate_size=inner,
            num_hidden_layers=layers,
            vocab_size=vocabulary,
            tie_word_embeddings=tied,
        )
        with torch.device("meta"):
            expected = AutoModelForCausalLM.from_config(config).num_parameters()
        found = answer(config)
        if found == expected:
            continue
        if abs(found - expected) == vocabulary * width:
            raise Wrong(
                "The head is the table itself if tie_word_embeddings is true, and has "
                "weights of its own if not."
            )
        if found - expected == layers * 2 * width * (width - groups * width // heads):
            raise Wrong("Keys and values have num_key_value_heads, which may be fewer.")
        if expected - found == width:
            raise Wrong("There is one more norm after the last block.")
        raise Wrong(
            f"A model {width} wide with {layers} blocks and tie_word_embeddings={tied} "
            f"has {expected:,} parameters; yours: {found:,}."
        )


@torch.no_grad()
def lens(model, tokenizer, text: str) -> list[str]:
    """The solution of 10.4: all but the last state need the model's norm."""
    inputs = tokenizer(text, return_tensors="pt").to(model.device)
    states = model(**inputs, output_hidden_states=True).hidden_states
    vectors = [model.model.norm(state[0, -1]) for state in states[:-1]]
    logits = model.get_output_embeddings()(torch.stack([*vectors, states[-1][0, -1]]))
    return [tokenizer.decode(token) for token in logits.argmax(dim=-1)]


@exercise(
    "10.4",
    "model(**inputs, output_hidden_states=True).hidden_states; the last token: [0, -1]",
    "model.get_output_embeddings()(model.model.norm(state)) gives logits.",
    "The last state has its norm already: leave it as it is.",
)
def check_lens(answer, model, tokenizer) -> None:
    for text in (
        "Two and two make",
        "Once upon a time there was a",
        "The opposite of up is",
    ):
        found, expected = answer(model, tokenizer, text), lens(model, tokenizer, text)
        if not isinstance(found, list) or len(found) != len(expected):
            raise Wrong(
                f"Expected a list of {len(expected)} strings: the beginning and one "
                "after each block."
            )
        if not all(isinstance(token, str) for token in found):
            raise Wrong("Expected strings: tokenizer.decode makes them of token ids.")
        wrong = [n for n, pair in enumerate(zip(found, expected)) if pair[0] != pair[1]]
        if wrong == [len(expected) - 1]:
            raise Wrong("The last state has its norm already; you took it twice.")
        if wrong:
            raise Wrong(
                f"For {text!r}, after {wrong[0]} blocks expected "
                f"{expected[wrong[0]]!r}, got {found[wrong[0]]!r}. Last token? Norm?"
            )


@torch.no_grad()
def strongest_head(model, ids: torch.Tensor, distance: int) -> tuple[int, int]:
    """The solution of 10.5: the mean of a diagonal, for all heads at once."""
    maps = torch.cat(model(ids, output_attentions=True).attentions)
    scores = maps.diagonal(-distance, dim1=-2, dim2=-1).mean(dim=-1)
    block, head = divmod(int(scores.argmax()), scores.shape[1])
    return block, head


@exercise(
    "10.5",
    "torch.cat(model(ids, output_attentions=True).attentions): blocks, heads, tokens.",
    "maps.diagonal(-distance, dim1=-2, dim2=-1) is below the main diagonal: the past.",
    "divmod(int(scores.argmax()), number of heads) gives block and head.",
)
def check_strongest_head(answer, model) -> None:
    chance = torch.Generator().manual_seed(1)
    for distance in (1, 2, 5):
        ids = torch.randint(model.config.vocab_size, (1, 24), generator=chance)
        ids = ids.to(model.device)
        block, head = (int(number) for number in answer(model, ids, distance))
        expected = strongest_head(model, ids, distance)
        if (block, head) == expected:
            continue
        if (head, block) == expected:
            raise Wrong("Block and head are swapped.")
        heads, blocks = model.config.num_attention_heads, model.config.num_hidden_layers
        if not (0 <= block < blocks and 0 <= head < heads):
            raise Wrong(
                f"There are {blocks} blocks with {heads} heads, counted from 0."
            )
        maps = torch.cat(model(ids, output_attentions=True).attentions)
        scores = maps.diagonal(-distance, dim1=-2, dim2=-1).mean(dim=-1)
        raise Wrong(
            f"At a distance of {distance}, head {head} of block {block} has a mean "
            f"weight of {scores[block, head]:.2f}; another head has {scores.max():.2f}."
        )
