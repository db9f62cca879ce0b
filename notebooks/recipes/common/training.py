"""What trainings have in common: a loop, checkpoints, averages, batches by length.

Schedules are torch's and transformers', the average is torch's AveragedModel. Here is
what joins them, so that a recipe has only settings, data and a loss:

    trainer = Trainer(model, optimizer, schedule, steps, WORK / "stage.pt")
    trainer.run(draw, loss_of)
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def moving_average(
    model: nn.Module, decay: float, young: int = 10, every: int = 1
) -> AveragedModel:
    """Return a moving average of a model's weights, for `update_parameters(model)`.

    After step s the average keeps min(decay, s / (s + young)) of itself, so that early
    weights are forgotten sooner. `every` is the number of steps between updates.
    """

    def blend(averaged: list, current: list, updates: torch.Tensor) -> None:
        step = updates.item() * every
        kept = min(decay, step / (step + young)) ** every
        torch._foreach_lerp_(averaged, current, 1 - kept)

    average = AveragedModel(model, multi_avg_fn=blend)
    average.update_parameters(model)  # the first call copies
    return average


class MasterWeights(nn.Module):
    """float32 copies of the weights that learn, for a model in 16 bits.

    Small steps vanish in bfloat16, so the optimizer adds them up in the copies:
    `take_gradients` before its step, `give_back` after it.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._theirs = [p for p in model.parameters() if p.requires_grad]
        self.ours = nn.ParameterList(p.detach().float().clone() for p in self._theirs)

    def take_gradients(self) -> None:
        """Move the model's gradients to the copies, in float32."""
        for weight, copy in zip(self._theirs, self.ours, strict=True):
            copy.grad, weight.grad = weight.grad.float(), None

    @torch.no_grad()
    def give_back(self, source: Iterable[torch.Tensor] | None = None) -> None:
        """Write the copies, or other weights of their shapes, into the model."""
        source = self.ours if source is None else source
        for weight, copy in zip(self._theirs, source, strict=True):
            weight.copy_(copy)


def random_states() -> dict[str, Any]:
    """Return where the random numbers of Python, numpy and torch are."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [name, keys.tolist(), *rest],
        "torch": torch.get_rng_state(),
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Go on with random numbers where `random_states` was called."""
    random.setstate(states["python"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(states["torch"])


class Learned:
    """The part of a module's state that changes: buffers, and what has gradients.

    What is frozen comes from elsewhere each time, so a checkpoint need not hold it.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the tensors by name."""
        frozen = {n for n, p in self.module.named_parameters() if not p.requires_grad}
        return {n: t for n, t in self.module.state_dict().items() if n not in frozen}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Load what `state_dict` gave; ValueError where it is another module's."""
        unknown = self.module.load_state_dict(state, strict=False).unexpected_keys
        if unknown or set(state) != set(self.state_dict()):
            raise ValueError(
                f"the checkpoint's {len(state)} tensors are not those that learn here"
            )


class Checkpoint:
    """A file with all that a training needs to go on: whole or not at all."""

    def __init__(self, path: Path, **parts: Any) -> None:
        """`parts` are what has `state_dict` and `load_state_dict`: the model, the
        optimizer, the schedule, an average. None is left out."""
        self.path = path
        self.parts = {name: part for name, part in parts.items() if part is not None}

    def save(self, **where: Any) -> None:
        """Write the parts, the random states, and where the training stands."""
        kept = {name: part.state_dict() for name, part in self.parts.items()}
        kept |= {"where": where, "random": random_states()}
        aside = self.path.with_suffix(".part")
        torch.save(kept, aside)
        aside.replace(self.path)

    def resume(self) -> dict[str, Any]:
        """Load what was saved; return what `save` was given, {} for a new start."""
        if not self.path.exists():
            return {}
        kept = torch.load(self.path, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(kept[name])
        set_random_states(kept["random"])
        return kept["where"]


class Trainer:
    """Take steps down a loss, print how it goes, and keep checkpoints.

    A run that was interrupted goes on from its last checkpoint, which is written
    between two calls of `draw`: it then ends with the weights of a run that was not.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Any,
        steps: float,
        path: Path | None = None,
        *,
        master: MasterWeights | None = None,
        average: AveragedModel | None = None,
        average_every: int = 1,
        clip: float | None = 1.0,
        every: int = 250,
        log: int = 50,
        smoothing: float = 0.02,
        seconds: float = math.inf,
    ) -> None:
        """`path` is the checkpoint's file, written `every` so many steps at least;
        None keeps none. `clip` bounds the norm of the gradients, `log` is the number
        of steps between two lines, `smoothing` what a new loss adds to their mean.
        After `seconds` of steps the training ends, however many `steps` are left."""
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.steps, self.every, self.log, self.clip = steps, every, log, clip
        self.master, self.average, self.average_every = master, average, average_every
        self.smoothing, self.seconds = smoothing, seconds
        self.step, self.rounds, self.spent, self.means = 0, 0, 0.0, {}
        self.name = path.stem if path else type(model).__name__
        self.checkpoint = path and Checkpoint(
            path,
            model=Learned(model),
            optimizer=optimizer,
            schedule=schedule,
            average=average,
            master=master,
        )

    def run(
        self,
        draw: Callable[[int], Iterable[Any]],
        loss_of: Callable[[Any], dict[str, torch.Tensor]],
        report: Callable[[int], None] | None = None,
    ) -> None:
        """Take steps until there are `steps`.

        `draw(step)` returns the next batches, one or many; at a given step and given
        random states always the same. How often it was called is in `rounds`.
        `loss_of(batch)` returns the losses by name; "loss" is what is minimised, or
        else their sum. `report(step)` is called before each checkpoint, or after each
        `draw` where none is kept.
        """
        where = self.checkpoint.resume() if self.checkpoint else {}
        self.step, self.rounds = where.get("step", 0), where.get("rounds", 0)
        self.spent, self.means = where.get("spent", 0.0), where.get("means", {})
        saved = self.step
        while not self.ended():
            for batch in draw(self.step):
                begun = time.monotonic()
                self._take(loss_of(batch))
                self.spent += time.monotonic() - begun
                self.schedule.step()
                if self.step % self.log == 0 or self.ended():
                    print(self.said(), flush=True)
                if self.ended():
                    break
            self.rounds += 1
            due = self.step - saved >= self.every or self.ended()
            if report and (due or not self.checkpoint):
                report(self.step)
            if self.checkpoint and due:
                self.checkpoint.save(
                    step=self.step,
                    rounds=self.rounds,
                    spent=self.spent,
                    means=self.means,
                )
                saved = self.step

    def ended(self) -> bool:
        """Return whether all steps were taken or the time is over."""
        return self.step >= self.steps or self.spent >= self.seconds

    def said(self) -> str:
        """Return a line for the log: the step, the means of the losses, the time."""
        means = " ".join(f"{name} {value:.4f}" for name, value in self.means.items())
        return f"{self.name} {self.step}: {means}, {self.spent:.0f} s"

    def _take(self, losses: dict[str, torch.Tensor]) -> None:
        """Take one step."""
        loss = losses["loss"] if "loss" in losses else sum(losses.values())
        self.optimizer.zero_grad()
        loss.backward()
        if self.master:
            self.master.take_gradients()
        weights = [p for g in self.optimizer.param_groups for p in g["params"]]
        if self.clip is not None:
            nn.utils.clip_grad_norm_(weights, self.clip)
        self.optimizer.step()
        if self.master:
            self.master.give_back()
        self.step += 1
        if self.average is not None and self.step % self.average_every == 0:
            self.average.update_parameters(self.master or self.model)
        for name, value in losses.items():
            new, share = value.item(), max(self.smoothing, 1 / self.step)
            self.means[name] = (1 - share) * self.means.get(name, new) + share * new


def by_length(
    order: Sequence[int], lengths: Sequence[int], size: int, bucket: int = 50
) -> list[list[int]]:
    """Return rows in batches of `size` and of similar length, to pad little.

    `order` gives the rows; within each `bucket * size` of them they are sorted by
    their lengths, so that a random order stays random.
    """
    batches = []
    for start in range(0, len(order), bucket * size):
        rows = sorted(order[start : start + bucket * size], key=lambda i: lengths[i])
        batches += [rows[i : i + size] for i in range(0, len(rows), size)]
    return batches


def decay_groups(
    parts: Iterable[tuple[nn.Module, float]], decay: float
) -> list[dict[str, Any]]:
    """Return an optimizer's groups for (module, learning rate) pairs: matrices decay,
    biases and norms do not. Weights without gradients are left out."""
    groups = []
    for part, lr in parts:
        found = [p for p in part.parameters() if p.requires_grad]
        for weight_decay, chosen in (
            (decay, [p for p in found if p.ndim > 1]),
            (0.0, [p for p in found if p.ndim < 2]),
        ):
            groups.append({"params": chosen, "lr": lr, "weight_decay": weight_decay})
    return groups
