"""Questions and answers about scenes, packed so that a language model learns from many
at once, and a probe that is asked where things are."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from recipes.common.scene_encoder import GRID
from recipes.datasets.scenes.compose import SIZE, Scene
from recipes.datasets.scenes.questions import ask

BEFORE, BETWEEN = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
END = "<|im_end|>"
PROBED = 12  # the layer that the probe reads
IGNORED = -100  # the label of a token that is not learned


@dataclass
class Turn:
    """A question and its answer as tokens, and where the question names a thing whose
    place is asked for: pairs of a token's position and the column of the grid."""

    question: list[int]
    answer: list[int]
    named: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.question) + len(self.answer)


def conversation(scene: Scene, rng: random.Random, tokenizer, how: dict) -> list[Turn]:
    """Return how["asked"] questions about a scene, of the kinds in how["weights"]."""
    turns = []
    while len(turns) < how["asked"]:
        (kind,) = rng.choices(list(how["weights"]), how["weights"].values())
        pair = ask(scene, kind, rng)
        if pair is None:
            continue
        question = tokenizer.encode(pair[0] + BETWEEN)
        named = []
        if kind in ("side", "where"):
            for thing in scene.things:
                at = end_of(tokenizer.encode(f" {thing.name}"), question)
                if at is not None and scene.count(thing.name) == 1:
                    named.append((at, int(thing.x / SIZE * GRID)))
        turns.append(Turn(question, tokenizer.encode(pair[1] + END), named))
    return turns


def end_of(part: list[int], whole: list[int]) -> int | None:
    """Return where in a list of tokens the last one of a part stands, or None."""
    for end in range(len(part), len(whole) + 1):
        if whole[end - len(part) : end] == part:
            return end - 1
    return None


@dataclass
class Packed:
    """Rows of one length: a picture's tokens, then all questions about it.

    `ids` (n, length - lead) are the tokens after the picture, `positions`, `segments`
    and `labels` (n, length) belong to all; `named` lists (row, token, column).
    """

    ids: torch.Tensor
    positions: torch.Tensor
    segments: torch.Tensor
    labels: torch.Tensor
    named: list[tuple[int, int, int]]

    def mask(self, dtype: torch.dtype) -> torch.Tensor:
        """Return what each token may look at, to be added, (n, 1, length, length): the
        picture and its own question, as if that were the only one."""
        mine = self.segments[:, :, None] == self.segments[:, None]
        looks = (mine | (self.segments[:, None] == 0)).tril()[:, None]
        weights = torch.zeros(looks.shape, dtype=dtype)
        return weights.masked_fill(~looks, torch.finfo(dtype).min)


def pack(talks: list[list[Turn]], lead: int, padding: int) -> Packed:
    """Return conversations as rows, after `lead` places for the picture each."""
    length = lead + max(sum(map(len, talk)) for talk in talks)
    rows, named = [], []
    for row, talk in enumerate(talks):
        ids, positions = [padding] * lead, list(range(lead))
        segments, labels = [0] * lead, [IGNORED] * lead
        for number, turn in enumerate(talk, 1):
            named += [(row, len(ids) + at, column) for at, column in turn.named]
            ids += turn.question + turn.answer
            positions += range(lead, lead + len(turn))
            segments += [number] * len(turn)
            labels += [IGNORED] * len(turn.question) + turn.answer
        room = length - len(ids)
        ids, positions = ids + [padding] * room, positions + [0] * room
        rows.append((ids, positions, segments + [-1] * room, labels + [IGNORED] * room))
    ids, *others = (torch.tensor(part) for part in zip(*rows, strict=True))
    return Packed(ids[:, lead:], *others, named)


def losses(
    grids: torch.Tensor, talks: list[list[Turn]], tokenizer, model, probe: nn.Linear
) -> dict[str, torch.Tensor]:
    """Return the loss over all `answers`, and that of the `probe`, which tells the
    column of a thing from the model's twelfth layer, where a question names it.

    `grids` (n, 25, 576) are the pictures, `talks` the conversations about them.
    """
    embed = model.get_input_embeddings()
    start = embed(torch.tensor(tokenizer.encode(BEFORE)))
    lead = len(start) + grids.shape[1]
    packed = pack(talks, lead, tokenizer.pad_token_id)
    before = start.expand(len(talks), -1, -1)
    states = model.get_base_model().model(
        inputs_embeds=torch.cat(
            [before, grids.to(start.dtype), embed(packed.ids)], dim=1
        ),
        attention_mask=packed.mask(start.dtype),
        position_ids=packed.positions,
        use_cache=False,
        output_hidden_states=True,
    )
    target = packed.labels[:, 1:]
    spoken = target != IGNORED  # the head is a fifth of the model: answers alone
    logits = model.get_base_model().lm_head(states.last_hidden_state[:, :-1][spoken])
    answers = cross_entropy(logits.float(), target[spoken])
    if not packed.named:
        return {"answers": answers, "probe": torch.zeros(())}
    row, token, column = torch.tensor(packed.named).unbind(1)
    told = probe(states.hidden_states[PROBED][row, token].float())
    return {"answers": answers, "probe": cross_entropy(told, column)}
