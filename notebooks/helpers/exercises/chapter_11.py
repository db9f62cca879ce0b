"""The exercises of notebook 11: for each its solution, then its checker."""

from __future__ import annotations

import copy
import math

import torch
from torch.nn.functional import cross_entropy

from . import Wrong, exercise


def causal_batch(ids: list[int], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The solution of 11.1: the same tokens twice, the second time one further."""
    rows = (len(ids) - 1) // length
    inputs = torch.tensor(ids[: rows * length]).view(rows, length)
    labels = torch.tensor(ids[1 : rows * length + 1]).view(rows, length)
    return inputs, labels


@exercise(
    "11.1",
    "The labels are the same list, begun one token later: ids[1:].",
    "One token has no label, so there are (len(ids) - 1) // length whole rows.",
)
def check_causal_batch(answer) -> None:
    chance = torch.Generator().manual_seed(0)
    for size, length in ((13, 4), (12, 4), (9, 3), (6, 5)):
        ids = torch.randperm(50, generator=chance)[:size].tolist()
        inputs, labels = (torch.as_tensor(part) for part in answer(list(ids), length))
        expected, following = causal_batch(ids, length)
        if inputs.shape != labels.shape or inputs.dim() != 2:
            raise Wrong("Expected two tensors of one shape, (rows, length).")
        if torch.equal(inputs, labels):
            raise Wrong("Input and label are the same token: shift the labels by one.")
        if len(inputs) != len(expected):
            raise Wrong(
                f"{size} tokens make {len(expected)} rows of {length} with a label at "
                f"each place; yours are {len(inputs)}."
            )
        if not torch.equal(inputs, expected):
            raise Wrong("The inputs should be the tokens from the first on, in order.")
        if not torch.equal(labels, following):
            wrong = (labels != following).nonzero()[0].tolist()
            raise Wrong(
                f"With rows of {length}, the label in row {wrong[0]}, place {wrong[1]} "
                "is not the token that comes next in the text."
            )


def repaired(gpt, batches, rate: float) -> list[float]:
    """The solution of 11.2: labels shifted by one, gradients set back to zero."""
    optimizer = torch.optim.SGD(gpt.parameters(), lr=rate)
    losses = []
    for batch in batches:
        logits = gpt(batch[:, :-1])
        loss = cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _faulty(gpt, batches, rate: float, shifted: bool, zeroed: bool) -> list[float]:
    """Return the losses of a loop with one fault, or with both."""
    optimizer, losses = torch.optim.SGD(gpt.parameters(), lr=rate), []
    for batch in batches:
        given, labels = (batch[:, :-1], batch[:, 1:]) if shifted else (batch, batch)
        loss = cross_entropy(gpt(given).flatten(0, 1), labels.flatten())
        if zeroed:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@exercise(
    "11.2",
    "What is the label of a place in `faulty`, and may the model see it?",
    "logits of batch[:, :-1] against the labels batch[:, 1:].",
    "backward() adds to the gradients that are there: optimizer.zero_grad() before it.",
)
def check_repaired(answer) -> None:
    from experiments.gpt import new_gpt

    chance = torch.Generator().manual_seed(0)
    batches = [torch.randint(20, (4, 9), generator=chance) for _ in range(6)]
    with torch.enable_grad():

        def losses(loop, *faults):
            gpt = new_gpt(vocabulary=20, places=9, width=32, layers=1)
            before = copy.deepcopy(gpt.state_dict())
            found = loop(gpt, [batch.clone() for batch in batches], 0.5, *faults)
            moved = any(
                not torch.equal(weight, before[name])
                for name, weight in gpt.state_dict().items()
            )
            return [float(loss) for loss in found], moved

        found, moved = losses(answer)
        if not moved:
            raise Wrong("The model is the same as before: where is optimizer.step()?")
        if len(found) != len(batches):
            raise Wrong(f"Expected a loss per batch, {len(batches)}, got {len(found)}.")

        def same(other):
            return all(map(_near, found, other[0]))

        if same(losses(repaired)):
            return
        if same(losses(_faulty, False, True)):
            raise Wrong("The label of each place stands in its input: it is leaked.")
        if same(losses(_faulty, True, False)):
            raise Wrong("The gradients of all batches before are still in each step.")
        if same(losses(_faulty, False, False)):
            raise Wrong("Both faults are still there.")
        place = next(
            n
            for n, pair in enumerate(zip(found, losses(repaired)[0]))
            if not _near(*pair)
        )
        raise Wrong(
            f"The loss of batch {place + 1} is {found[place]:.3f}, another one."
        )


def _near(one: float, other: float) -> bool:
    """Return whether two losses agree."""
    return math.isclose(one, other, abs_tol=1e-3)


@torch.no_grad()
def held_out_loss(model, batches) -> float:
    """The solution of 11.3: sums over tokens, in evaluation mode, and back."""
    was_training = model.training
    model.eval()
    total, tokens = 0.0, 0
    for batch in batches:
        predicted = batch[:, 1:].numel()
        total += model(batch, labels=batch).loss.item() * predicted
        tokens += predicted
    model.train(was_training)
    return total / tokens


@exercise(
    "11.3",
    "model.eval() and with torch.no_grad(); was_training = model.training before.",
    "outputs.loss is a mean: multiply it by batch[:, 1:].numel(), divide at the end.",
    "model.train(was_training) puts the mode back.",
)
def check_held_out_loss(answer) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    chance = torch.Generator().manual_seed(0)
    shapes = ((8, 4), (1, 16), (3, 9))
    batches = [torch.randint(30, shape, generator=chance) for shape in shapes]
    shape = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 16}
    config = GPT2Config(
        vocab_size=30, **shape, resid_pdrop=0.4, bos_token_id=0, eos_token_id=0
    )
    torch.manual_seed(0)
    model = GPT2LMHeadModel(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    expected = held_out_loss(model, batches)
    for training in (True, False):
        model.train(training)
        with torch.enable_grad():
            found = answer(model, [batch.clone() for batch in batches])
        if isinstance(found, torch.Tensor) and found.requires_grad:
            raise Wrong("The loss still holds gradients: torch.no_grad(), and .item().")
        if any(weight.grad is not None for weight in model.parameters()):
            raise Wrong("Evaluation does not train: no backward().")
        again = answer(model, [batch.clone() for batch in batches])
        if training and not _near(float(found), float(again)):
            raise Wrong("Two calls differ: dropout is on. Switch to evaluation mode.")
        if model.training != training:
            raise Wrong(f"Before, model.training was {training}; now it is not.")
        model.eval()
        with torch.no_grad():
            means = [model(batch, labels=batch).loss.item() for batch in batches]
        if _near(float(found), sum(means) / len(means)):
            raise Wrong("Your batches count alike; each predicted token should.")
        if not _near(float(found), expected):
            raise Wrong(f"Expected {expected:.3f}, got {float(found):.3f}.")


def read_curve(trained_on: list[float], held_out: list[float]) -> tuple[int, str]:
    """The solution of 11.4: the held-out loss decides, whatever the other does."""
    lowest = min(held_out)
    if held_out[-1] - lowest >= 0.1:
        word = "overfitting"
    elif len(held_out) > 1 and held_out[-2] - held_out[-1] >= 0.1:
        word = "underfitting"
    else:
        word = "done"
    return held_out.index(lowest) + 1, word


@exercise(
    "11.4",
    "The epoch to keep: held_out.index(min(held_out)) + 1.",
    "Ask for overfitting first: held_out[-1] - min(held_out) >= 0.1.",
)
def check_read_curve(answer) -> None:
    curves = (
        ([6.0, 5.0, 4.0, 3.0], [6.0, 5.2, 5.0, 5.6]),
        ([6.0, 5.0, 4.4, 4.0], [6.0, 5.1, 4.6, 4.3]),
        ([5.0, 4.2, 4.0, 3.9], [5.1, 4.4, 4.25, 4.22]),
        ([5.0, 4.2, 3.6, 3.0], [5.1, 4.4, 4.25, 4.28]),
        ([5.0, 4.0, 3.0, 2.0, 1.0], [5.1, 4.4, 5.9, 5.2, 4.9]),
    )
    for trained_on, held_out in curves:
        epoch, word = answer(list(trained_on), list(held_out))
        best, expected = read_curve(trained_on, held_out)
        shown = f"Held-out losses {held_out}"
        if epoch == best - 1:
            raise Wrong(f"{shown}: epochs are counted from 1.")
        if epoch == trained_on.index(min(trained_on)) + 1 != best:
            raise Wrong(f"{shown}: you chose by the rows that were trained on.")
        if epoch != best:
            raise Wrong(f"{shown}: not epoch {epoch}.")
        if word != expected:
            raise Wrong(f"{shown}: {word!r} is not the word; see the three rules.")
